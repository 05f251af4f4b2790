"""Noise schedules: what a network was trained on, separate from the samplers that walk it.

At each noise level a sample is x = α x₀ + σ ε. A schedule knows the levels, α and σ of each, and how the network's
prediction gives x₀ and ε there; a sampler goes from level to level. Levels are numbers: Karras's σ/α in the discrete
and the EDM schedule, σ itself in flow matching.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from ..utils.arrays import Array
from ..utils.finite import is_scale, is_whole
from ..utils.printable import shown
from . import betas
from .arrays import Numbers
from .levels import DISCRETE, EDM, FLOW, TRIGFLOW, Options
from .spacing import sigma_table, sigma_to_timestep

_LARGEST_SHIFT = 100
"""The largest exponent of a shift; those of published sizes are below 3."""


def schedule_of(options: Options, has_last_signal: bool) -> Schedule:
    """The schedule that a sampler's options describe.

    Args:
        options: the sampler's.
        has_last_signal: the sampler divides by ᾱ, so the last one must be above 0 (`betas.SMALLEST_ALPHA`).

    Raises:
        ValueError: the schedule cannot be sampled.
    """
    if options.get("prediction_type") == "trigflow":
        return ArcSchedule(options)
    if "shift" in options:
        return FlowSchedule(options, options["shift"])
    if options.get("use_flow_sigmas"):
        return FlowSchedule(options, options["flow_shift"])
    if "sigma_data" in options:
        return EDMSchedule(options)
    return DiscreteSchedule(options, has_last_signal)


class Schedule:
    """Base of the schedules."""

    kind: ClassVar[str]

    def __init__(self, options: Options):
        self.prediction: str = options.get("prediction_type", "flow_prediction")
        self.num_train_timesteps: int = options["num_train_timesteps"]

    def alpha_sigma(self, level: float) -> tuple[float, float]:
        """α and σ of a level."""
        raise NotImplementedError

    def ratio(self, level: float) -> float:
        """σ/α of a level, the σ of Karras et al. 2022; its logarithm is -λ."""
        return level

    def original(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        """x₀ from what the network predicts at x = α x₀ + σ ε."""
        raise NotImplementedError

    def epsilon(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        """ε from what the network predicts at x = α x₀ + σ ε."""
        raise NotImplementedError

    def input_scale(self, level: float) -> float:
        """The factor applied to x₀ + (σ/α) ε before the network sees it."""
        return self.alpha_sigma(level)[0]

    def denoised(self, output: Array, sample: Array, level: float) -> Array:
        """x₀ from what the network predicts, where the sample is x₀ + (σ/α) ε."""
        alpha, sigma = self.alpha_sigma(level)
        return self.original(output, sample * alpha, alpha, sigma)


class DiscreteSchedule(Schedule):
    """β and ᾱ of every training timestep: α = √ᾱ, σ = √(1 - ᾱ). The network predicts ε, v = α ε - σ x₀, or x₀.

    Raises:
        ValueError: the β leave no noise at the first timestep or no signal at the last.
    """

    kind = DISCRETE

    def __init__(self, options: Options, has_last_signal: bool):
        super().__init__(options)
        self.betas = betas.training_betas(options)
        self.alphas = np.float32(1) - self.betas
        self.alphas_cumprod = betas.running_product(self.alphas)
        rescaled = bool(options["rescale_betas_zero_snr"])
        bars = self.alphas_cumprod[:-1] if rescaled else self.alphas_cumprod
        if len(bars) and not (bars[0] < 1 and bars[-1] > 0):
            raise ValueError(
                f"cannot sample this noise schedule: in float32 its ᾱ runs from {bars[0]:g} to {bars[-1]:g}, and there "
                "must be noise at its first timestep and a signal at its last; see beta_start, beta_end, beta_schedule "
                "and trained_betas"
            )
        if rescaled and has_last_signal:
            self.alphas_cumprod[-1] = betas.SMALLEST_ALPHA
        self.alpha_bars: list[float] = self.alphas_cumprod.tolist()

    @cached_property
    def sigmas(self) -> Numbers:
        """σ/α of every training timestep, ascending, float32."""
        return sigma_table(self.alphas_cumprod)

    @cached_property
    def log_sigmas(self) -> Numbers:
        """log(σ/α) of every training timestep."""
        logarithms: Numbers = np.log(self.sigmas)
        return logarithms

    def sigmas_at(self, timesteps: Numbers) -> Numbers:
        """σ/α at fractional timesteps, interpolated linearly."""
        return np.interp(timesteps, np.arange(len(self.sigmas)), self.sigmas)

    def timesteps_of(self, sigmas: Numbers) -> Numbers:
        """The fractional timesteps at which training used these σ/α."""
        return sigma_to_timestep(sigmas, self.log_sigmas)

    def alpha_sigma(self, level: float) -> tuple[float, float]:
        alpha = 1 / math.sqrt(level**2 + 1)
        return alpha, level * alpha

    def original(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        """v: Salimans & Ho 2022 (arXiv 2202.00512), appendix D."""
        if self.prediction == "sample":
            return output
        if self.prediction == "v_prediction":
            return alpha * sample - sigma * output
        if alpha == 0:
            raise ValueError(
                "epsilon prediction says nothing where the sample is pure noise (rescale_betas_zero_snr at the last "
                "training timestep); use v_prediction, or timestep_spacing leading"
            )
        return (sample - sigma * output) / alpha

    def epsilon(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        if self.prediction == "epsilon":
            return output
        if self.prediction == "v_prediction":
            return alpha * output + sigma * sample
        return (sample - alpha * output) / sigma

    def denoised(self, output: Array, sample: Array, level: float) -> Array:
        if self.prediction == "epsilon":
            return sample - level * output
        return super().denoised(output, sample, level)


class EDMSchedule(Schedule):
    """All σ, in the preconditioning of Karras et al. 2022 (arXiv 2206.00364), table 1: α = 1."""

    kind = EDM

    def __init__(self, options: Options):
        super().__init__(options)
        self.sigma_data: float = options["sigma_data"]

    def alpha_sigma(self, level: float) -> tuple[float, float]:
        return 1.0, level

    def input_scale(self, level: float) -> float:
        """c_in."""
        return 1 / math.hypot(level, self.sigma_data)

    def denoised(self, output: Array, sample: Array, level: float) -> Array:
        """c_skip x + c_out F(…); a v-prediction has the other sign."""
        total = math.hypot(level, self.sigma_data)
        c_out = level * self.sigma_data / total
        sign = -1 if self.prediction == "v_prediction" else 1
        return (self.sigma_data / total) ** 2 * sample + sign * c_out * output


class FlowSchedule(Schedule):
    """Rectified flow (Liu et al. 2022, arXiv 2209.03003): α = 1 - σ, and the network predicts v = ε - x₀.

    A ``shift`` s moves the levels towards noise, σ' = s σ / (1 + (s - 1) σ), which larger pictures need (Esser et al.
    2024, arXiv 2403.03206, eq. 23). With dynamic shifting a run brings its own, e^μ or μ.
    """

    kind = FLOW

    def __init__(self, options: Options, shift: float):
        super().__init__(options)
        self.shift = shift
        self.is_dynamic = bool(options.get("use_dynamic_shifting"))
        self.time_shift_type: str = options.get("time_shift_type", "exponential")

    @property
    def sigmas(self) -> Numbers:
        """σ of every training timestep, descending, float32; not yet shifted if shifting is dynamic."""
        levels = np.arange(self.num_train_timesteps, 0, -1, dtype=np.float32) / np.float32(self.num_train_timesteps)
        return levels if self.is_dynamic else self.shifted(levels)

    def shifted(self, sigmas: Numbers, mu: float | None = None) -> Numbers:
        """Levels moved by the schedule's shift, or by a run's μ."""
        shift = self.shift if mu is None else self.shift_of(mu)
        return shift * sigmas / (1 + (shift - 1) * sigmas)

    def shift_of(self, mu: float) -> float:
        """The shift that μ stands for."""
        if not is_scale(mu) or abs(mu) > _LARGEST_SHIFT:
            raise ValueError(f"mu must be a number from -{_LARGEST_SHIFT} to {_LARGEST_SHIFT}, got {shown(mu)}")
        return math.exp(mu) if self.time_shift_type == "exponential" else mu

    def alpha_sigma(self, level: float) -> tuple[float, float]:
        return 1 - level, level

    def ratio(self, level: float) -> float:
        return level / (1 - level) if level < 1 else math.inf

    def original(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        return sample - sigma * output

    def epsilon(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        return sample + alpha * output


class ArcSchedule(Schedule):
    """TrigFlow (Lu & Song 2024, arXiv 2410.11081, §3.1): α = cos t, σ = σ_d sin t; the network predicts dx/dt.

    Levels are t, from π/2 to 0.
    """

    kind = TRIGFLOW

    def __init__(self, options: Options):
        super().__init__(options)
        self.sigma_data: float = options["sigma_data"]

    def alpha_sigma(self, level: float) -> tuple[float, float]:
        return math.cos(level), self.sigma_data * math.sin(level)

    def ratio(self, level: float) -> float:
        return self.sigma_data * math.tan(level)

    def original(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        return alpha * sample - (sigma / self.sigma_data) * output

    def epsilon(self, output: Array, sample: Array, alpha: float, sigma: float) -> Array:
        return (sigma / self.sigma_data * sample + alpha * output) / self.sigma_data


def shift_for(config: Mapping[str, Any], tokens: int) -> float:
    """μ for an image of ``tokens`` tokens, of a flow with ``use_dynamic_shifting``.

    It lies on the line from ``base_shift`` at ``base_image_seq_len`` tokens to ``max_shift`` at ``max_image_seq_len``;
    the defaults are FLUX.1's.
    """
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(least + (most - least) * (tokens - few) / (many - few))


def _takes_steps(scheduler: Any, steps: object) -> bool:
    """Whether a scheduler takes this number of steps; it says itself what is wrong with another."""
    most = scheduler.config.get("num_train_timesteps", math.inf)
    return is_whole(steps) and 1 <= steps <= most


def even_levels(scheduler: Any, steps: int) -> dict[str, list[float]]:
    """The noise levels of a flow's run of this many steps, evenly from 1 to 1 / steps, as ``set_timesteps`` takes them.

    Nothing where a scheduler takes none, or has flow's levels of its own.
    """
    takes_sigmas = "sigmas" in inspect.signature(scheduler.set_timesteps).parameters
    if not takes_sigmas or scheduler.config.get("use_flow_sigmas") or not _takes_steps(scheduler, steps):
        return {}
    return {"sigmas": [1 - i / steps for i in range(steps)]}
