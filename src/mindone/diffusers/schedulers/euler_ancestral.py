"""Ancestral sampling with Euler steps, as k-diffusion made popular.

It is the sampler of Song et al. 2021 ("Score-Based Generative Modeling through SDEs", arXiv 2011.13456, appendix F)
with Euler's method for the deterministic part of each step.
"""

import math

from ..utils.arrays import Array
from .arrays import Generators, draw_noise
from .base import drawing_step
from .options import NOISE_SCHEDULE, SPACING, fields
from .output import SchedulerOutput
from .sigma_space import VarianceExploding


class EulerAncestralDiscreteScheduler(VarianceExploding):
    """An Euler step to below the next noise level, then fresh noise up to it."""

    defaults = fields(NOISE_SCHEDULE, SPACING, rescale_betas_zero_snr=False)
    choices = fields(prediction_type=("epsilon", "v_prediction"))
    draws_noise = True

    step = drawing_step

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From σ_i to σ_(i+1)."""
        sigma, target = self._sigmas[i], self._sigmas[i + 1]
        sigma_up = target * math.sqrt(sigma**2 - target**2) / sigma
        sigma_down = target**2 / sigma
        x0 = self.schedule.denoised(model_output, sample, sigma)
        ratio = sigma_down / sigma
        x = ratio * sample + (1 - ratio) * x0
        return SchedulerOutput(x + sigma_up * draw_noise(model_output, generator), x0)
