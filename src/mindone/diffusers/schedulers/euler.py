"""Euler's method over σ: Elucidating the Design Space (Karras et al. 2022, arXiv 2206.00364), algorithm 2."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers, coefficients, draw_noise
from .base import Scheduler, Timestep
from .levels import DISCRETE, EDM, is_continuous
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, fields
from .output import SchedulerOutput, Stepped
from .sigma_space import VarianceExploding
from .spacing import FINAL_SIGMAS, log_sigma_label


@dataclass(frozen=True)
class Churn:
    """How much noise a run puts back, under the names of algorithm 2."""

    s_churn: float
    s_tmin: float
    s_tmax: float
    s_noise: float

    def gamma(self, sigma: float, steps: int) -> float:
        """γ_i: how much of σ_i to add to it, given one step's share of the churn."""
        return min(self.s_churn / steps, math.sqrt(2) - 1) if self.s_tmin <= sigma <= self.s_tmax else 0.0


def churning_step(
    self: Scheduler,
    model_output: Array,
    timestep: Timestep,
    sample: Array,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = math.inf,
    s_noise: float = 1.0,
    generator: Generators = None,
    return_dict: bool = True,
) -> Stepped:
    """The ``step`` of methods that may put noise back.

    Args:
        model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
        s_churn: how much noise to put back over the run, S_churn of algorithm 2; 0 is deterministic.
        s_tmin: the lowest σ at which noise is put back.
        s_tmax: the highest.
        s_noise: the standard deviation of that noise.
    """
    churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
    return self._advance(model_output, timestep, sample, return_dict, churn, generator)


class EulerMethod(VarianceExploding):
    """One Euler step for each timestep, with noise added before it if the caller asks for churn."""

    step = churning_step

    def _step(
        self,
        i: int,
        model_output: Array,
        sample: Array,
        churn: Churn,
        generator: Generators,
        x0: Array | None = None,
    ) -> SchedulerOutput:
        """From σ_i to σ_(i+1), the first-order part of algorithm 2; takes x₀ if something else predicted it."""
        sigma, target = self._sigmas[i], self._sigmas[i + 1]
        gamma = churn.gamma(sigma, len(self._sigmas) - 1)
        sigma_hat = sigma * (1 + gamma)
        x = sample
        if gamma > 0:
            x = x + (churn.s_noise * math.sqrt(sigma_hat**2 - sigma**2)) * draw_noise(model_output, generator)
        if x0 is None:
            x0 = self.schedule.denoised(model_output, x, sigma_hat)
        ratio = target / sigma_hat
        return SchedulerOutput(ratio * x + (1 - ratio) * x0, x0)


class EulerDiscreteScheduler(EulerMethod):
    """One Euler step for each timestep. SDXL's default and, with trailing spacing, the turbo models'."""

    defaults = fields(
        NOISE_SCHEDULE,
        SPACING,
        SIGMA_SPACING,
        interpolation_type="linear",
        sigma_min=None,
        sigma_max=None,
        timestep_type="discrete",
        rescale_betas_zero_snr=False,
        final_sigmas_type="zero",
    )
    choices = fields(
        interpolation_type=("linear", "log_linear"),
        timestep_type=("discrete", "continuous"),
        final_sigmas_type=FINAL_SIGMAS,
    )
    takes = ("timesteps", "sigmas")

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """Discrete levels, and EDM's if the config states them in this class's options, which assume σ_data = 1."""
        return levels == DISCRETE or (levels == EDM and is_continuous(config) and config.get("sigma_data", 1) == 1)

    def _interpolated(self, timesteps: Numbers) -> Numbers:
        if self._options["interpolation_type"] == "linear":
            return super()._interpolated(timesteps)
        logs = np.linspace(self._discrete.log_sigmas[-1], self._discrete.log_sigmas[0], len(timesteps) + 1)
        sigmas: Numbers = np.exp(logs)
        return sigmas

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        if is_continuous(self._options):
            raise ValueError("timesteps mean nothing with timestep_type continuous and v_prediction; give sigmas")
        return super()._layout_at(timesteps)

    def _layout_sigmas(self, sigmas: Numbers) -> Numbers:
        sigmas = sigmas.astype(np.float32)
        return self._label(self._discrete.timesteps_of(sigmas[:-1]), sigmas)

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        return self._label(timesteps, np.append(sigmas, self._final_sigma()))

    def _label(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        self._set_sigmas(sigmas, final=None)
        return log_sigma_label(self.sigmas[:-1]) if is_continuous(self._options) else timesteps.astype(np.float32)

    def get_velocity(self, sample: Array, noise: Array, timesteps: Sequence[float] | Numbers) -> Array:
        """v = α ε - σ x₀ with α² + σ² = 1 (Salimans & Ho 2022, appendix D), for elements of ``timesteps``."""
        levels = [self._sigma_of(timestep) for timestep in self._given(timesteps)]
        alpha, sigma = coefficients([self.schedule.alpha_sigma(level) for level in levels], sample)
        return alpha * noise - sigma * sample
