"""Heun's method over σ: Elucidating the Design Space (Karras et al. 2022, arXiv 2206.00364), algorithm 1."""

import numpy as np

from ..utils.arrays import Array
from .arrays import Numbers
from .base import deterministic_step
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, fields
from .output import SchedulerOutput
from .sigma_space import VarianceExploding


class HeunDiscreteScheduler(VarianceExploding):
    """An Euler step, then the same step again with the mean of the slopes at both its ends.

    Each timestep but the first comes twice in ``timesteps``: n steps call the model 2n - 1 times.
    """

    order = 2
    defaults = fields(
        NOISE_SCHEDULE,
        SPACING,
        SIGMA_SPACING,
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        clip_sample_range=1.0,
    )
    takes = ("timesteps",)

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        self._set_sigmas(np.repeat(sigmas, 2)[1:])
        return np.repeat(timesteps, 2)[1:].astype(np.float32)

    def _reset(self) -> None:
        self.prev_derivative: Array | None = None  # dx/dσ at the start of a step still missing its second half
        self._start: Array | None = None

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call begins a step rather than completes one."""
        return self.prev_derivative is None

    step = deterministic_step

    def _step(self, i: int, model_output: Array, sample: Array) -> SchedulerOutput:
        """The timestep for the next call of the model."""
        sigma = self._sigmas[i]
        x0 = self._clip(self.schedule.denoised(model_output, sample, sigma))
        slope = (sample - x0) / sigma
        if self.state_in_first_order:
            self.prev_derivative, self._start = slope, sample
            x = sample + (self._sigmas[i + 1] - sigma) * slope
        else:
            x = self._start + (0.5 * (sigma - self._sigmas[i - 1])) * (self.prev_derivative + slope)
            self._reset()
        return SchedulerOutput(x, x0)
