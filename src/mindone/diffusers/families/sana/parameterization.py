"""The translation between schedulers and Sana's transformers."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...schedulers.base import Array, Scheduler
from ...schedulers.parameterization import Parameterization, WithoutVariance


class Velocity(WithoutVariance):
    """Sana predicts flow matching's velocity and reads timesteps times ``timestep_scale``."""

    def __init__(self, scheduler: Scheduler, config: Mapping[str, object]):
        super().__init__(scheduler, config)
        self.time_scale = float(str(config.get("timestep_scale") or 1.0))

    def enter(self, latents: Array, timestep: float) -> tuple[Array, float]:
        """See `Parameterization`."""
        sample, time = super().enter(latents, timestep)
        return sample, time * self.time_scale


class TrigFlow(Parameterization):
    """SANA-Sprint's flow network under a scheduler that walks an arc: x_t = cos(t)·x₀ + sin(t)·σ_d·ε.

    The flow's time with the same noise-to-signal ratio is s = sin t / (cos t + sin t), and its latents are the arc's,
    of unit variance, times √(s² + (1 - s)²) (Chen et al. 2025, arXiv 2503.09641, §3.1, eq. 6 to 8).
    """

    def __init__(self, scheduler: Scheduler, config: Mapping[str, object]):
        super().__init__(scheduler, config)
        self.sigma_data = float(scheduler.config["sigma_data"])

    def enter(self, latents: Array, timestep: float) -> tuple[Array, float]:
        """See `Parameterization`."""
        s = _flow_time(timestep)
        return latents * (math.hypot(s, 1 - s) / self.sigma_data), s

    def leave(self, prediction: Array, sample: Array, timestep: float) -> Array:
        """See `Parameterization`: dx/dt on the arc, from the flow's velocity."""
        s = _flow_time(timestep)
        factor = self.sigma_data / math.hypot(s, 1 - s)
        return sample * ((1 - 2 * s) * factor) + prediction * ((1 - 2 * s + 2 * s * s) * factor)

    def clean(self, estimate: Array) -> Array:
        """See `Parameterization`."""
        return estimate * (1 / self.sigma_data)

    def finished(self, latents: Array, estimate: Array | None) -> Array:
        """See `Parameterization`: the estimate, which is the result of a last step that ends at t = 0."""
        return self.clean(latents) if estimate is None else estimate


def _flow_time(timestep: float) -> float:
    sine, cosine = math.sin(timestep), math.cos(timestep)
    return sine / (cosine + sine)
