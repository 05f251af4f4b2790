"""Heun's method for rectified flow: an Euler step, then the same step with the mean of the velocities at both its ends.

Karras et al. 2022 (arXiv 2206.00364), algorithm 1, on the straight paths of Esser et al. 2024 (arXiv 2403.03206).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers, draw_noise
from .euler import Churn, churning_step
from .flow_match_euler import FlowMatching
from .levels import FLOW
from .options import fields
from .output import SchedulerOutput


class FlowMatchHeunDiscreteScheduler(FlowMatching):
    """Two network calls a step: each timestep but the first comes twice in ``timesteps``."""

    order = 2
    defaults = fields(num_train_timesteps=1000, shift=1.0)

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """Flow matching's levels, if the shift is the same for all sizes."""
        return levels == FLOW and not config.get("use_dynamic_shifting")

    def _layout(self, steps: int) -> Numbers:
        sigmas = self.schedule.shifted(np.linspace(self.sigma_max, self.sigma_min, steps)).astype(np.float32)
        self._set_sigmas(np.repeat(sigmas, 2)[1:])
        return self.sigmas[:-1] * np.float32(len(self))

    def _reset(self) -> None:
        self.prev_derivative: Array | None = None  # dx/dσ at the start of a step still missing its second half
        self.dt: float | None = None
        self.sample: Array | None = None

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call begins a step rather than completes one."""
        return self.dt is None

    step = churning_step

    def _step(self, i: int, model_output: Array, sample: Array, churn: Churn, generator: Generators) -> SchedulerOutput:
        """The timestep for the next call of the model."""
        sigma = self._sigmas[i]
        if self.prev_derivative is not None and self.dt is not None:
            x = self.sample + (0.5 * self.dt) * (self.prev_derivative + model_output)
            self._reset()
            return SchedulerOutput(x)
        gamma = churn.gamma(sigma, len(self._sigmas) - 1)
        noisier = sigma * (1 + gamma)
        if gamma > 0:
            added = churn.s_noise * math.sqrt(noisier**2 - sigma**2)
            sample = sample + added * draw_noise(model_output, generator)
        # The published method multiplies by one level and divides by the other, the noisier one.
        self.prev_derivative, self.dt, self.sample = (
            (sigma / noisier) * model_output,
            self._sigmas[i + 1] - noisier,
            sample,
        )
        return SchedulerOutput(sample + self.dt * self.prev_derivative)
