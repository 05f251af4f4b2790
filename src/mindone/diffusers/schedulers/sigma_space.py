"""Schedulers that integrate over the noise level σ = √((1-ᾱ)/ᾱ): what their two families share.

Their run is a list of ``sigmas``, one more than the steps; step i goes from ``sigmas[i]`` to ``sigmas[i + 1]``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..utils.arrays import Array
from .arrays import Numbers, check_alike
from .base import Scheduler, Timestep
from .levels import DISCRETE, FLOW as FLOW_LEVELS
from .options import NOISE_SCHEDULE, PREDICTION_TYPES, SIGMA_SPACING, SPACING, THRESHOLDING, Options, fields
from .schedules import FlowSchedule
from .spacing import (
    FINAL_SIGMAS,
    SIGMA_SPACINGS,
    sigma_spacing,
    spaced_sigmas,
    spaced_timesteps,
)

FLOW: Options = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
FLOW_CHOICES = fields(prediction_type=(*PREDICTION_TYPES, "flow_prediction"))
# What DPM-Solver and UniPC share.
MULTISTEP = fields(
    NOISE_SCHEDULE,
    SPACING,
    SIGMA_SPACING,
    THRESHOLDING,
    FLOW,
    solver_order=2,
    lower_order_final=True,
    final_sigmas_type="zero",
    rescale_betas_zero_snr=False,
)
MULTISTEP_CHOICES = fields(FLOW_CHOICES, final_sigmas_type=FINAL_SIGMAS)


class SigmaSpace(Scheduler):
    """The run through noise levels."""

    divides_by_signal = True

    def _prepare(self) -> None:
        self._set_sigmas(self._discrete.sigmas[::-1])

    def _set_sigmas(self, sigmas: Numbers, final: float | None = 0.0) -> None:
        """Store the noise levels of a run, float32 as published, followed by ``final``."""
        self.sigmas = np.append(sigmas, [] if final is None else [final]).astype(np.float32)
        self._sigmas: list[float] = self.sigmas.tolist()

    def _final_sigma(self) -> float:
        """Where the run ends: clean, or at training's lowest noise level."""
        return self._discrete.sigmas[0] if self._options.get("final_sigmas_type") == "sigma_min" else 0.0

    def _sigma_of(self, timestep: Timestep) -> float:
        return self._sigmas[self.index_for_timestep(timestep)]

    def _alpha_sigma(self, timestep: Timestep) -> tuple[float, float]:
        return self.schedule.alpha_sigma(self._sigma_of(timestep))

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        level = self._sigmas[self._current_index(timestep)]
        return self._clip(self.schedule.original(model_output, sample, *self.schedule.alpha_sigma(level)))


class VarianceExploding(SigmaSpace):
    """Schedulers in the coordinates of Karras et al. 2022 (arXiv 2206.00364), x = x₀ + σ ε: Euler, Heun, DPM2 and LMS.

    The model was trained on x / √(σ² + 1), so call ``scale_model_input`` before the model.
    ``timesteps`` are float32 and may lie between whole ones.
    """

    needs_set_timesteps = False

    def _prepare(self) -> None:
        super()._prepare()
        for name in SIGMA_SPACINGS:
            if name in self._options:
                setattr(self, name, self._options[name])

    @property
    def init_noise_sigma(self) -> float:
        """The largest σ; with leading spacing √(σ² + 1), as those runs do not begin at the noisiest timestep."""
        largest = max(self._sigmas)
        exact = self._options["timestep_spacing"] in ("linspace", "trailing")
        return largest if exact else math.sqrt(largest**2 + 1)

    def _layout(self, steps: int) -> Numbers:
        options = self._options
        timesteps = spaced_timesteps(options, steps).astype(np.float32)
        sigmas = self._interpolated(timesteps)
        if sigma_spacing(options):
            sigmas = spaced_sigmas(options, float(sigmas[-1]), float(sigmas[0]), steps)
            timesteps = self._timesteps_of(sigmas)
        return self._run(timesteps, sigmas)

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        timesteps = timesteps.astype(np.float32)
        return self._run(timesteps, self._interpolated(timesteps))

    def _interpolated(self, timesteps: Numbers) -> Numbers:
        return self._discrete.sigmas_at(timesteps)

    def _timesteps_of(self, sigmas: Numbers) -> Numbers:
        return self._discrete.timesteps_of(sigmas)

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        self._set_sigmas(sigmas, self._final_sigma())
        return timesteps.astype(np.float32)

    def scale_model_input(self, sample: Array, timestep: Timestep | None = None) -> Array:
        """x / √(σ² + 1), of unit variance, as the model was trained."""
        check_alike(sample=sample)
        return sample * self.schedule.input_scale(self._level(self._index(timestep)))

    def _level(self, i: int) -> float:
        """σ of the sample that the model sees at ``timesteps[i]``."""
        return self._sigmas[i]

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        return self._clip(self.schedule.denoised(model_output, sample, self._level(self._current_index(timestep))))

    def _alpha_sigma(self, timestep: Timestep) -> tuple[float, float]:
        return 1.0, self._sigma_of(timestep)


class ExponentialIntegrator(SigmaSpace):
    """Solvers over λ = log(α/σ) in the model's own coordinates: DPM-Solver, DEIS and UniPC.

    ``timesteps`` are whole numbers. With ς the run's noise level, α = 1/√(ς² + 1), σ = ς α and λ = -log ς.
    """

    def _layout(self, steps: int) -> Numbers:
        if self._is_spaced:
            return self._run(*self._spaced_run(steps))
        timesteps = self._whole_timesteps(steps)
        return self._run(timesteps, self._discrete.sigmas_at(timesteps))

    def _whole_timesteps(self, steps: int, last: int | None = None) -> Numbers:
        return spaced_timesteps({**SPACING, **self._options}, steps, drop_last=True, last=last).round()

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        # Classes without a ``final_sigmas_type`` end at the lowest noise level.
        ends_low = self._options.get("final_sigmas_type", "sigma_min") == "sigma_min"
        self._set_sigmas(sigmas, self._lowest(sigmas) if ends_low else 0.0)
        return timesteps.astype(np.int64)

    def _lowest(self, sigmas: Numbers) -> float:
        """The last noise level of a run that does not end clean."""
        return float(sigmas[-1] if self._is_spaced else self._discrete.sigmas[0])

    def _reset(self) -> None:
        self._outputs = []

    def _remember(self, m: Array) -> None:
        self._outputs = [m, *self._outputs[: self._options["solver_order"] - 1]]

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """Discrete levels and flow matching's."""
        return levels in (DISCRETE, FLOW_LEVELS)

    def _check(self) -> None:
        super()._check()
        options, spacing = self._options, sigma_spacing(self._options)
        if bool(options["use_flow_sigmas"]) != (options["prediction_type"] == "flow_prediction"):
            raise ValueError(
                f"{type(self).__name__}: use_flow_sigmas and prediction_type 'flow_prediction' go together; got "
                f"{options['use_flow_sigmas']!r} and {options['prediction_type']!r}"
            )
        if options["use_flow_sigmas"] and spacing:
            raise ValueError(f"only one spacing of σ can be used, got use_flow_sigmas and {spacing}; turn one off")

    @property
    def _is_spaced(self) -> bool:
        """Whether a run is laid out in σ, not in timesteps."""
        return isinstance(self.schedule, FlowSchedule) or sigma_spacing(self._options) is not None

    def _spaced_run(self, steps: int) -> tuple[Numbers, Numbers]:
        """Fractional timesteps and noise levels from the schedule's top to its bottom, spaced as the options say."""
        if isinstance(self.schedule, FlowSchedule):
            train_steps = self.schedule.num_train_timesteps
            evenly = 1 - np.linspace(1, 1 / train_steps, steps + 1)
            sigmas = self.schedule.shifted(evenly, self._mu)[:0:-1]
            return sigmas * train_steps, sigmas
        table = self._discrete.sigmas
        sigmas = spaced_sigmas(self._options, float(table[0]), float(table[-1]), steps)
        timesteps = self._discrete.timesteps_of(sigmas)
        # Fractional timesteps are cut off to whole ones.
        return (timesteps.round() if self._rounds_timesteps else timesteps), sigmas

    @property
    def _rounds_timesteps(self) -> bool:
        return bool(self._options["use_karras_sigmas"])

    def _prepare(self) -> None:
        if isinstance(self.schedule, FlowSchedule):
            return self._set_sigmas(self.schedule.sigmas)
        super()._prepare()
        self.alpha_t = np.sqrt(self.alphas_cumprod)
        self.sigma_t = np.sqrt(np.float32(1) - self.alphas_cumprod)
        self.lambda_t = np.log(self.alpha_t) - np.log(self.sigma_t)

    _outputs: list[Array]  # the values that the solver integrated so far, the latest first

    @property
    def lower_order_nums(self) -> int:
        """How many recent timesteps the solver remembers, up to its order."""
        return len(self._outputs)

    @property
    def model_outputs(self) -> list[Array | None]:
        """What the solver integrates at the last timesteps, the latest last; None for those it has not seen yet."""
        unseen = int(self._options["solver_order"]) - len(self._outputs)
        return [*[None] * unseen, *reversed(self._outputs)]

    @model_outputs.setter
    def model_outputs(self, outputs: Sequence[Array | None]) -> None:
        self._outputs = [output for output in reversed(outputs) if output is not None]

    def convert_model_output(self, model_output: Array, sample: Array) -> Array:
        """What the solver integrates, from what the model predicts at the next step of the run.

        Raises:
            ValueError: the run has not begun; ``step`` or ``set_begin_index`` begins it.
        """
        at = self._begin_index if self._step_index is None else self._step_index
        if at is None:
            raise ValueError("the run has not begun: call set_begin_index before convert_model_output")
        return self._convert(model_output, sample, self._sigmas[at])

    def _convert(self, model_output: Array, sample: Array, level: float) -> Array:
        """What the solver integrates, at a noise level: x₀ or ε."""
        raise NotImplementedError

    def _log_snr_step(self, before: float, after: float) -> float:
        """h = λ(after) - λ(before); infinite when it ends clean."""
        ratio = self.schedule.ratio
        return math.log(ratio(before) / ratio(after)) if after > 0 else math.inf
