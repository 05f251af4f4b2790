"""One call of a pipeline: everything that changes while it draws. N threads have N runs of one pipeline."""

import copy
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..acceleration.speedup import Cache, RunFacts
from ..acceleration.steps import Step as Step
from ..engines import Array, Engine, Input
from ..schedulers.arrays import Numbers
from ..schedulers.base import Generators, Scheduler
from ..schedulers.schedules import shift_for
from ..utils import logging
from ..utils.types import Value
from .components import Component

logger = logging.get_logger(__name__)

Interval = tuple[float, float]


@dataclass
class Settings:
    """What a step callback may look at and change in the middle of a run."""

    guidance_scale: float = 1.0
    guidance_rescale: float = 0.0
    image_guidance_scale: float | None = None
    """The weight of a picture that the network sees beside the latents, for networks that edit pictures."""
    guidance_interval: Interval = (0.0, 1.0)
    interrupt: bool = False
    num_timesteps: int = 0
    num_inference_steps: int = 0
    steps_done: int = 0
    clip_skip: int | None = None
    cross_attention_kwargs: Mapping[str, object] | None = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    pred_original_sample: Array | None = None
    """What the scheduler made of the last step: an estimate of the clean latents."""


class Control(Protocol):
    """Adds inputs to calls of the network: a ControlNet's residuals, an image prompt's tokens."""

    def __call__(
        self, step: Step, sample: Array, timestep: NDArray[np.float32], inputs: Mapping[str, Input]
    ) -> Mapping[str, Input]:
        """What to add to a call of the network with ``inputs``, which name its ``method`` if it is not the whole."""


@dataclass
class Run:
    """The components as they were when the call began, a scheduler of its own, and the tensors of the loop.

    ``tensors`` holds the ``latents`` and what the network is conditioned on, under the names that callbacks use. Under
    guidance the conditions have two rows per image: all negative ones, then all positive ones.
    """

    pipe: Component
    engine: Engine
    denoiser: Component
    scheduler: Scheduler
    shown_scheduler: Scheduler
    """The pipeline's own, which scripts ask for the timesteps; no run steps with it."""
    settings: Settings
    tensors: dict[str, Array] = field(default_factory=dict)
    timesteps: Numbers = field(default_factory=lambda: np.empty(0))
    num_inference_steps: int = 0
    step_options: Mapping[str, Value] = field(default_factory=dict)
    extra_channels: Sequence[str] = ()
    """The tensors that the network gets beside the latents, as further channels: those of an inpainting network."""
    controls: list[Control] = field(default_factory=list)
    """Each is shown the text and what else the network is conditioned on, without what the others add."""
    caches: Sequence[Cache] = ()
    """They skip parts of the network, whole steps, or the half of them without the prompt."""
    after_step: Callable[[int, Array], Array] = lambda index, latents: latents
    """Given the number of a step and the latents that it leaves, what to go on with."""

    def call_network(self, step: Step, sample: Array, timestep: NDArray[np.float32], **inputs: Input) -> Array:
        """Run the network, or the ``method`` of it that is named, with what the run's controls add.

        Every call of the network comes through here, also those of a feature cache.
        """
        added = [control(step, sample, timestep, inputs) for control in self.controls]
        for each in added:
            inputs |= each
        return self.engine.run(self.denoiser, sample, timestep, **inputs)  # type: ignore[arg-type]

    @property
    def do_classifier_free_guidance(self) -> bool:
        """Whether there is guidance at all: a scale above 1, and a network that does not have it built in.

        Where a picture has a scale of its own, that must be at least 1.
        """
        picture = self.settings.image_guidance_scale
        strong = self.settings.guidance_scale > 1 and (picture is None or picture >= 1)
        return strong and self.denoiser.config.get("time_cond_proj_dim") is None

    @property
    def guided_rows(self) -> int:
        """How many rows an image has at guided steps: without the prompt and with it, and before these without both."""
        return 2 if self.settings.image_guidance_scale is None else 3

    def rows_of(self, text: Array, negative: Array) -> Array:
        """What the network is conditioned on at guided steps: the rows without the prompt, then those with it."""
        if not self.do_classifier_free_guidance:
            return text
        return self.engine.concat([negative] * (self.guided_rows - 1) + [text])

    def is_guided(self, step: Step) -> bool:
        """Whether this step is guided: inside the interval (Kynkäänniemi et al. 2024, §3), as a part of the steps."""
        start, stop = self.settings.guidance_interval
        inside = start * step.count <= step.index < stop * step.count
        return inside and self.do_classifier_free_guidance

    def guides(self, step: Step) -> bool:
        """Whether this step computes its guidance, for which the network runs with two rows per image."""
        number = step.index - math.ceil(self.settings.guidance_interval[0] * step.count)
        return self.is_guided(step) and all(cache.computes_guidance(number) for cache in self.caches)

    def check_caches(self) -> None:
        """Refuse, before any network runs, what contradicts the run.

        Raises:
            ValueError: a cache that would skip nothing, or that cannot work.
        """
        facts = RunFacts(
            steps=len(self.timesteps),
            branches=len(self.denoiser.cuts),
            is_guided=self.do_classifier_free_guidance,
            differences=self.guided_rows - 1,
            new_noise=type(self.scheduler).__name__ if getattr(self.scheduler, "distilled", False) else "",
        )
        for cache in self.caches:
            cache.check(facts)

    def conditions(self, step: Step) -> dict[str, Array]:
        """What the network is conditioned on at this step, by its own names; the positive half where none is guided.

        Raises:
            ValueError: a callback has left a number of rows that the step cannot do with.
        """
        names = self.pipe.family.inputs
        inputs = {theirs: self.tensors[ours] for ours, theirs in names.items() if ours in self.tensors}
        guided = self.guides(step)
        if self.do_classifier_free_guidance and not guided:
            inputs = {name: x[-(x.shape[0] // self.guided_rows) :] for name, x in inputs.items()}
        counted, images = next(iter(names)), self.tensors["latents"].shape[0]
        rows = inputs[names[counted]].shape[0]
        needed = images * (self.guided_rows if guided else 1)
        if rows != needed:
            raise ValueError(
                f"{counted} has {rows} rows, but {needed} are needed: one per image, {self.guided_rows} with "
                "guidance; a callback that switches guidance off keeps the last of them"
            )
        return inputs

    def set_timesteps(
        self,
        num_inference_steps: int,
        timesteps: Sequence[float] | None,
        sigmas: Sequence[float] | None,
        original_inference_steps: int | None = None,
        tokens: int | None = None,
    ) -> None:
        """Lay out the steps: a number of them, or the user's own; where their shift is dynamic, for so many ``tokens``.

        Raises:
            ValueError: fewer than one step, timesteps and sigmas both, or a kind that this scheduler does not take.
        """
        if timesteps is not None and sigmas is not None:
            raise ValueError("timesteps and sigmas were both given; pass one of them")
        given = {"timesteps": timesteps, "sigmas": sigmas}
        custom = {name: value for name, value in given.items() if value is not None}
        layout: dict[str, Value] = custom or {"num_inference_steps": num_inference_steps}
        if original_inference_steps is not None:
            if "original_inference_steps" not in inspect.signature(self.scheduler.set_timesteps).parameters:
                raise ValueError(
                    f"{type(self.scheduler).__name__} takes no original_inference_steps; LCMScheduler does"
                )
            layout["original_inference_steps"] = original_inference_steps
        if tokens is not None and getattr(getattr(self.scheduler, "schedule", None), "is_dynamic", False):
            layout["mu"] = shift_for(self.scheduler.config, tokens)
        self.scheduler.set_timesteps(**layout)
        self.shown_scheduler.set_timesteps(**layout)
        self.use_timesteps(self.scheduler.timesteps, len(self.scheduler.timesteps) if custom else num_inference_steps)

    def use_timesteps(self, timesteps: Numbers, num_inference_steps: int) -> None:
        """Visit these of the scheduler's timesteps, which a user counts as ``num_inference_steps``.

        Two timesteps of a scheduler of order 2 are one step.
        """
        self.timesteps = timesteps
        self.num_inference_steps = num_inference_steps = min(
            num_inference_steps, math.ceil(len(timesteps) / self.scheduler.order)
        )
        self.settings.num_timesteps, self.settings.num_inference_steps = len(timesteps), num_inference_steps

    def set_step_options(self, eta: float, generator: Generators) -> None:
        """What the steps of this run are called with."""
        self.step_options = step_options(self.scheduler, eta, generator)


def step_options(scheduler: Scheduler, eta: float, generator: Generators) -> dict[str, object]:
    """Which of these the scheduler's ``step`` takes. ``eta`` means something to DDIM and TCD only."""
    accepted = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in accepted:
        logger.warning(f"{type(scheduler).__name__} has no use for eta={eta}; DDIMScheduler and TCDScheduler have")
    given = {"eta": eta, "generator": generator}
    return {name: value for name, value in given.items() if name in accepted}


_current: ContextVar[tuple[Run, ...]] = ContextVar("mindone.diffusers.runs", default=())


class Runs:
    """The runs of a pipeline that are in progress, and the settings of the one that began last.

    Inside a run (a callback, say) settings are that run's; from elsewhere (a Stop button's thread) setting one sets it
    for all runs that are in progress, and reading one gives that of the run that began last.
    """

    def __init__(self) -> None:
        self._running: list[Run] = []
        self._latest = Settings()
        self._lock = threading.Lock()

    @contextmanager
    def begin(self, pipe: Component, settings: Settings) -> Iterator[Run]:
        """A run of the pipeline with its components as they are now."""
        scheduler, caches = pipe.scheduler, getattr(pipe.denoiser, "caches", ()) if pipe.caches is None else pipe.caches
        run = Run(pipe, pipe.engine, pipe.denoiser, copy.copy(scheduler), scheduler, settings, caches=caches)
        token = _current.set((*_current.get(), run))
        with self._lock:
            self._running.append(run)
            self._latest = settings
        try:
            yield run
        finally:
            with self._lock:
                self._running.remove(run)
            _current.reset(token)

    def own(self) -> Run | None:
        """The run that this is called from."""
        return next((run for run in reversed(_current.get()) if run.pipe.runs is self), None)

    def read(self, name: str) -> Value:
        """A setting, by its name in `Settings`."""
        run = self.own()
        return getattr(run.settings if run else self._latest, name)

    def write(self, name: str, value: object) -> None:
        """Change a setting for the steps to come."""
        run = self.own()
        with self._lock:
            for each in [run] if run else self._running:
                setattr(each.settings, name, value)


StepCallback = Callable[[Component, int, float, dict[str, Array]], dict[str, Array] | None]
"""Called as ``callback(pipe, step, timestep, tensors)``; the tensors that it returns replace those of the run."""
