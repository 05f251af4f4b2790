"""Euler's method for rectified flow: Flow Matching (Lipman et al. 2022, arXiv 2210.02747), as Esser et al. 2024 sample.

The straight path x = (1 - σ) x₀ + σ ε has the slope v = ε - x₀, which the network predicts (arXiv 2403.03206).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..utils.arrays import Array
from ..utils.printable import shown
from .arrays import Generators, Numbers, as_numbers, draw_noise
from .base import Timestep
from .levels import FLOW
from .options import SIGMA_SPACING, fields
from .output import SchedulerOutput, Stepped
from .schedules import FlowSchedule
from .sigma_space import SigmaSpace
from .spacing import sigma_spacing, spaced_sigmas


class FlowMatching(SigmaSpace):
    """What Euler's and Heun's method for flow matching share. ``timesteps`` are σ times ``num_train_timesteps``."""

    unpublished = fields()
    schedule: FlowSchedule

    def _prepare(self) -> None:
        trained = self.schedule.sigmas
        self.sigma_max, self.sigma_min = float(trained[0]), float(trained[-1])
        self._set_sigmas(trained, final=None)

    def _trained_timesteps(self) -> Numbers:
        return self.sigmas * np.float32(len(self))

    def scale_noise(self, sample: Array, timestep: Sequence[float] | Numbers, noise: Array) -> Array:
        """``add_noise`` by its published name here: (1 - σ) x₀ + σ ε."""
        return self.add_noise(sample, noise, timestep)


class FlowMatchEulerDiscreteScheduler(FlowMatching):
    """One Euler step for each noise level."""

    defaults = fields(
        SIGMA_SPACING,
        num_train_timesteps=1000,
        shift=1.0,
        use_dynamic_shifting=False,
        base_shift=0.5,
        max_shift=1.15,
        base_image_seq_len=256,
        max_image_seq_len=4096,
        invert_sigmas=False,
        shift_terminal=None,
        time_shift_type="exponential",
        stochastic_sampling=False,
    )
    choices = fields(time_shift_type=("exponential", "linear"))
    takes = ("timesteps", "sigmas")

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """Flow matching's levels."""
        return levels == FLOW

    @property
    def shift(self) -> float:
        """How far to move the noise levels towards noise, unless a run brings its own shift."""
        return self.schedule.shift

    def set_shift(self, shift: float) -> None:
        """Set another shift for the runs that follow; ``sigma_min`` and ``sigma_max`` stay as in the config."""
        self.schedule = FlowSchedule(self._options, shift)

    @property
    def draws_noise(self) -> bool:
        return bool(self._options["stochastic_sampling"])

    def set_timesteps(  # type: ignore[override]  # the published order of this scheduler
        self,
        num_inference_steps: int | None = None,
        device: object = None,
        sigmas: Sequence[float] | Numbers | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | Numbers | None = None,
    ) -> None:
        """Lay out a sampling run and forget the last one.

        Args:
            num_inference_steps: how many steps; if given with ``sigmas`` or ``timesteps``, it must equal their number.
            device: as in ``Scheduler.set_timesteps``.
            sigmas: the noise levels, descending, without the final 0; they are shifted, too.
            mu: the run's shift with ``use_dynamic_shifting``, ignored otherwise.
            timesteps: the same as ``sigmas``, times ``num_train_timesteps``. With both, the network gets these.

        Raises:
            ValueError: none given, lists of different lengths, values out of order, or ``mu`` missing.
        """
        if self.schedule.is_dynamic and mu is None:
            raise ValueError("use_dynamic_shifting needs mu, the shift for the picture's size")
        self._mu = mu if self.schedule.is_dynamic else None
        labels = None if timesteps is None else self._checked_levels("timesteps", timesteps, len(self))
        if sigmas is not None:
            levels = self._checked_levels("sigmas", sigmas, 1)
        elif labels is not None:
            levels = labels / len(self)
        else:
            steps = self._checked_steps(num_inference_steps)
            levels = np.linspace(self.sigma_max * len(self), self.sigma_min * len(self), steps) / len(self)
        counts = [len(levels), len(levels if labels is None else labels), num_inference_steps or len(levels)]
        if len(set(counts)) > 1:
            raise ValueError(
                "sigmas, timesteps and num_inference_steps must agree in number where several are given, got "
                f"{', '.join(map(str, counts))}"
            )
        self._lay_out(levels, labels)
        self.num_inference_steps = len(levels)
        self.custom_timesteps = timesteps is not None

    def _checked_levels(self, name: str, given: Sequence[float] | Numbers, most: float) -> Numbers:
        values = as_numbers(given)
        if values is None or not len(values) or not (np.diff(values) < 0).all() or values[-1] <= 0 or values[0] > most:
            raise ValueError(f"{name} must be descending numbers above 0, at most {most}; got {shown(given)}")
        return values

    def _lay_out(self, levels: Numbers, labels: Numbers | None) -> None:
        options = self._options
        sigmas = self.schedule.shifted(levels, self._mu)
        if options["shift_terminal"] and sigmas[-1] < 1:
            sigmas = self.stretch_shift_to_terminal(sigmas)
        if sigma_spacing(options):
            sigmas = spaced_sigmas(options, float(sigmas[-1]), float(sigmas[0]), len(sigmas))
        sigmas = sigmas.astype(np.float32)
        if options["invert_sigmas"]:  # Mochi's network counts the other way round
            sigmas, labels = 1 - sigmas, None
        self._set_sigmas(sigmas, final=1.0 if options["invert_sigmas"] else 0.0)
        self._begin((sigmas * np.float32(len(self)) if labels is None else labels).astype(np.float32))

    def time_shift(self, mu: float, sigma: float, t: Numbers) -> Numbers:
        """Levels t shifted by μ, with their odds raised to the power ``sigma``."""
        shift = self.schedule.shift_of(mu)
        return shift / (shift + (1 / t - 1) ** sigma)

    def stretch_shift_to_terminal(self, t: Numbers) -> Numbers:
        """Levels stretched so that the last one is ``shift_terminal``."""
        rest = 1 - t
        stretched: Numbers = 1 - rest * ((1 - self._options["shift_terminal"]) / rest[-1])
        return stretched

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
        generator: Generators = None,
        per_token_timesteps: Array | None = None,
        return_dict: bool = True,
    ) -> Stepped:
        """One step.

        Args:
            model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
            s_churn, s_tmin, s_tmax, s_noise: ignored, as in the published method.
            per_token_timesteps: refused; it is for video models, whose frames have noise levels of their own.
        """
        if per_token_timesteps is not None:
            raise ValueError("per_token_timesteps is for video models; leave it out")
        return self._advance(model_output, timestep, sample, return_dict, generator)

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From σ_i to σ_(i+1)."""
        sigma, target = self._sigmas[i], self._sigmas[i + 1]
        if not self.draws_noise:
            return SchedulerOutput(sample + (target - sigma) * model_output)
        x0 = sample - sigma * model_output
        return SchedulerOutput((1 - target) * x0 + target * draw_noise(model_output, generator), x0)
