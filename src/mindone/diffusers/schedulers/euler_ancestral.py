"""Ancestral sampling with Euler steps, as k-diffusion made popular.

It is the sampler of Song et al. 2021 ("Score-Based Generative Modeling through SDEs", arXiv 2011.13456, appendix F)
with the deterministic part of each step taken by Euler's method.
"""

import math
from typing import Any

from .arrays import Array
from .base import NOISE_SCHEDULE, SPACING, Generators, SchedulerOutput, draw_noise, fields
from .sigma_space import VarianceExploding


class EulerAncestralDiscreteScheduler(VarianceExploding):
    """An Euler step to below the next noise level, and fresh noise up to it."""

    defaults = fields(NOISE_SCHEDULE, SPACING, rescale_betas_zero_snr=False)
    choices = fields(prediction_type=("epsilon", "v_prediction"))

    def step(
        self,
        model_output: Array,
        timestep: Any,
        sample: Array,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """From σ_i to σ_(i+1).

        Args:
            model_output: what the model predicts, `(batch, channels, height, width)`.
            timestep: the next element of `timesteps`.
            sample: x at σ_i (not the scaled model input), of the same shape.
            generator: where the noise comes from.
            return_dict: accepted for scripts; the output is a tuple in any case.
        """
        i = self._index(timestep)
        sigma, target = self._sigmas[i], self._sigmas[i + 1]
        sigma_up = target * math.sqrt(sigma**2 - target**2) / sigma
        sigma_down = target**2 / sigma
        x0 = self._denoised(model_output, sample, sigma)
        ratio = sigma_down / sigma
        x = ratio * sample + (1 - ratio) * x0
        self._step_index = i + 1
        return SchedulerOutput(x + sigma_up * draw_noise(model_output, generator), x0)
