"""Calibrated steps: weights for a few steps that bring a model's samples to the result of many steps.

S4S (Frankel et al. 2025, arXiv 2502.17423) learns the weights of a multistep solver by descent through the whole run.
Here each step's weights are the least-squares fit to the long run's sample at the step's target timestep, given the
samples of the steps before it. This takes one run and no gradients: there are a handful of weights and some ten
thousand latents, so one or two prompts are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engines.base import single
from ..schedulers.arrays import Generators, Numbers, as_array_like, to_numpy
from ..schedulers.calibrated import SOLVER, CalibratedMultistepScheduler, calibrated
from ..schedulers.dpm_solver import DPMSolverMultistepScheduler
from ..schedulers.output import SchedulerOutput
from ..schedulers.spacing import closing_in
from ..utils.arrays import Array
from ..utils.combination import combination
from .speedup import View

if TYPE_CHECKING:
    from typing_extensions import Self

PROMPTS = ("a rocket on a blue background", "a small house under a tree")
"""Simple subjects that every model knows."""
REFERENCE_STEPS = 100
"""The number of steps of the reference run."""
_POWER = 1.1
"""The power of `closing_in`: calibrated steps are almost evenly spaced. On ``icons`` 1 and 1.25 are within half a
decibel."""
_DAMPING = 1e-6
"""Damping relative to the terms' mean square: it keeps weights small if terms are alike, so that rounding stays small
too."""
_DIGITS = 9

Latents = NDArray[np.float64]


class Drawn(Protocol):
    """The result of a call."""

    @property
    def images(self) -> Array:
        """Latents, if the call requests them."""


class Drawing(View, Protocol):
    """A callable pipeline: pipelines lie above."""

    def set_progress_bar_config(self, **options: object) -> None:
        """Options of a call's progress bar."""

    def view(self) -> Self:
        """Another pipeline with the same components."""

    def __call__(self, *arguments: object, **options: object) -> Drawn:
        """Generate images."""


@dataclass(frozen=True)
class ReferencePath:
    """The path of a long run: samples (images, channels, height, width) by timestep."""

    first: int
    """The timestep of the initial noise."""
    samples: dict[int, Latents]
    """Samples at all timesteps but the first; the clean ones are at -1."""

    @classmethod
    def joined(cls, paths: Sequence[ReferencePath]) -> ReferencePath:
        """One path of several images, from each one's path."""
        samples = {t: np.concatenate([path.samples[t] for path in paths]) for t in paths[0].samples}
        return cls(paths[0].first, samples)

    def timesteps(self, steps: int, last: int) -> list[int]:
        """``steps`` of its timesteps, from the first down to the one nearest to ``last``.

        Raises:
            ValueError: it has fewer.
        """
        own = np.array([t for t in self.samples if t >= 0])
        wanted = closing_in(self.first, last, steps, _POWER)[1:]
        near = [self.first, *(int(own[np.abs(own - each).argmin()]) for each in wanted)]
        if len(set(near)) < steps:
            raise ValueError(f"a reference of {len(self.samples)} steps is too short to calibrate {steps} steps")
        return near


def recorded(pipe: Drawing, *arguments: object, **options: object) -> tuple[Drawn, ReferencePath]:
    """Call a pipeline and record its run: the call's output, and the path.

    The pipeline's scheduler must be a DPM-Solver++, and the call must request latents.
    """
    record = _Record(pipe)
    output = pipe(*arguments, **options, callback_on_step_end=record)
    after = record.after
    leads_to = [*(timestep for timestep, _ in after[1:]), -1]
    return output, ReferencePath(after[0][0], {t: latents for t, (_, latents) in zip(leads_to, after)})


def fitted(
    pipe: Drawing, path: ReferencePath, timesteps: Sequence[int], *arguments: object, **options: object
) -> tuple[CalibratedMultistepScheduler, Array]:
    """A scheduler whose steps at ``timesteps`` follow the path as closely as possible.

    Args:
        pipe: has the speed-ups that the steps are meant for; it stays unchanged.
        path: the path of the same prompts from the same noise.
        timesteps: some of the path's, descending.
        arguments, options: the arguments of the pipeline's call, with the path's prompts and generators.

    Returns:
        The scheduler, and its latents of the prompts.
    """
    config = pipe.scheduler.config
    view = pipe.view()
    view.scheduler = follower = _Follower.from_config(config, **SOLVER)
    follower.path, follower.wanted, follower.rows = path, timesteps, []
    view.set_progress_bar_config(disable=True)
    output = view(*arguments, **{**options, "num_inference_steps": len(timesteps), "output_type": "latent"})
    return calibrated(config, follower.rows), output.images


def calibrated_scheduler(
    pipe: Drawing,
    num_inference_steps: int,
    prompts: Sequence[str] = PROMPTS,
    *,
    last_timestep: int = 40,
    reference_steps: int = REFERENCE_STEPS,
    seed: int = 0,
    **options: object,
) -> CalibratedMultistepScheduler:
    """A scheduler for a few steps of this pipeline, with its caches, its precision and its adapters.

    It generates the prompts once in ``reference_steps`` steps of DPM-Solver++, without the caches, and once in the few.

    Args:
        pipe: a text-to-image pipeline.
        num_inference_steps: the scheduler's number of steps, at least 2.
        prompts: what to generate, in one batch.
        last_timestep: the timestep of the last step.
        reference_steps: the steps of the run to follow.
        seed: prompt i has the noise of ``seed + i``.
        options: options of the pipeline's calls, such as ``guidance_scale``, ``height`` or ``guidance_interval``. The
            last applies only to the few steps; the reference is guided throughout.

    Raises:
        ValueError: fewer than two steps, the reference is too short for them, or prompts is a text, not a list.
    """
    if num_inference_steps < 2:
        raise ValueError(f"num_inference_steps must be at least 2 to be calibrated, got {num_inference_steps}")
    if isinstance(prompts, str):
        raise ValueError(f"prompts must be a list of texts, got {prompts!r}")

    def noise() -> Generators:
        return [np.random.Generator(np.random.PCG64(seed + i)) for i in range(len(prompts))]

    view = pipe.view()
    CalibratedMultistepScheduler.from_config(pipe.scheduler.config)  # refuses noise levels that it does not support
    view.scheduler, view.caches = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config), ()
    long = {name: value for name, value in options.items() if name != "guidance_interval"}
    long |= {"num_inference_steps": reference_steps, "guidance_interval": (0.0, 1.0), "output_type": "latent"}
    _, path = recorded(view, list(prompts), **long, generator=noise())
    timesteps = path.timesteps(num_inference_steps, last_timestep)
    scheduler, _ = fitted(pipe, path, timesteps, list(prompts), **options, generator=noise())
    return scheduler


class _Record:
    """A step callback that keeps the latents after each step, in ``after``."""

    reads_runs = True
    """It gets latents in the form of runs (`pipelines.loop.call_back`)."""

    def __init__(self, pipe: Drawing):
        self.engine = pipe.engine
        self.after: list[tuple[int, Latents]] = []

    def __call__(
        self, pipe: object, index: int, timestep: float, tensors: dict[str, Array | None]
    ) -> dict[str, Array | None]:
        """Keep the latents of the step."""
        self.after.append((int(timestep), self.engine.numpy(single(tensors["latents"])).astype(np.float64)))
        return {}


class _Follower(DPMSolverMultistepScheduler):
    """Takes each step with the weights closest to the path, and keeps them in ``rows``."""

    path: ReferencePath
    wanted: Sequence[int]
    rows: list[list[float]]

    def _layout(self, steps: int) -> Numbers:
        return self._layout_at(np.array(self.wanted, np.float64))

    def _step(
        self, i: int, model_output: Array, sample: Array, generator: Generators, variance_noise: Array | None
    ) -> SchedulerOutput:
        x0 = self._convert(model_output, sample, self._sigmas[i])
        self._outputs = [x0, *self._outputs]
        terms = [to_numpy(term).astype(np.float64) for term in (sample, *self._outputs)]
        after = int(self.timesteps[i + 1]) if i + 1 < len(self.timesteps) else -1
        weights = [float(f"{weight:.{_DIGITS}g}") for weight in _least_squares(terms, self.path.samples[after])]
        self.rows.append([int(self.timesteps[i]), *weights])
        return SchedulerOutput(as_array_like(to_numpy(combination(weights, terms)), sample), x0)


def _least_squares(terms: Sequence[Latents], target: Latents) -> Latents:
    """The slightly damped weights that bring the sum of the terms closest to the target."""
    columns = np.stack([term.ravel() for term in terms], axis=1)
    products = columns.T @ columns
    damping = _DAMPING * np.trace(products) / len(terms)
    solution: Latents = np.linalg.solve(products + damping * np.eye(len(terms)), columns.T @ target.ravel())
    return solution
