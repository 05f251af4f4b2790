"""Linear multistep method over σ (Adams-Bashforth with uneven steps), as k-diffusion's LMS.

For the method see Hairer, Nørsett & Wanner, "Solving Ordinary Differential Equations I", section III.5.
"""

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, combination
from .base import Timestep
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, fields
from .output import SchedulerOutput, Stepped
from .sigma_space import VarianceExploding


class LMSDiscreteScheduler(VarianceExploding):
    """Follows the polynomial through the last slopes dx/dσ, four of them by default."""

    defaults = fields(NOISE_SCHEDULE, SPACING, SIGMA_SPACING)

    def _reset(self) -> None:
        self._slopes: list[Array] = []  # the latest first

    @property
    def derivatives(self) -> list[Array]:
        """The slopes dx/dσ of the last timesteps, the latest last."""
        return self._slopes[::-1]

    @derivatives.setter
    def derivatives(self, derivatives: list[Array]) -> None:
        self._slopes = derivatives[::-1]

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        order: int = 4,
        return_dict: bool = True,
        *,
        generator: Generators = None,
    ) -> Stepped:
        """One step.

        Args:
            model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
            order: how many slopes to use, once there are that many.
        """
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        return self._advance(model_output, timestep, sample, return_dict, order)

    def _step(self, i: int, model_output: Array, sample: Array, order: int) -> SchedulerOutput:
        """From σ_i to σ_(i+1)."""
        sigma = self._sigmas[i]
        x0 = self.schedule.denoised(model_output, sample, sigma)
        self._slopes = [(sample - x0) / sigma, *self._slopes[: order - 1]]
        weights = self._weights(i, len(self._slopes))
        return SchedulerOutput(combination([1.0, *weights], [sample, *self._slopes]), x0)

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """The weight of the slope ``current_order`` steps back, in a step of ``order`` slopes from ``sigmas[t]``."""
        return self._weights(t, order)[current_order]

    def _weights(self, i: int, order: int) -> list[float]:
        """∫ from σ_i to σ_(i+1) of each Lagrange polynomial over σ_i, σ_(i-1), …"""
        nodes, start, end = self._sigmas[i - order + 1 : i + 1][::-1], self._sigmas[i], self._sigmas[i + 1]
        weights = []
        for node in nodes:
            others = [other for other in nodes if other != node]
            # Measured in steps from the step's start, so that no digits cancel.
            basis = np.poly1d(np.poly([(other - start) / (end - start) for other in others]))
            scale = np.prod([(node - other) / (end - start) for other in others])
            weights.append(float((end - start) * basis.integ()(1.0) / scale))
        return weights
