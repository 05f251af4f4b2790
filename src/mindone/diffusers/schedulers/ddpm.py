"""DDPM: Denoising Diffusion Probabilistic Models (Ho, Jain & Abbeel 2020, arXiv 2006.11239)."""

import math

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, draw_noise
from .base import drawing_step
from .options import CLIPPING, NOISE_SCHEDULE, SPACING, fields
from .output import SchedulerOutput
from .variance_preserving import VariancePreserving


class DDPMScheduler(VariancePreserving):
    """Ancestral sampling: the posterior's mean, plus its noise."""

    defaults = fields(
        NOISE_SCHEDULE,
        SPACING,
        CLIPPING,
        timestep_spacing="leading",
        variance_type="fixed_small",
        clip_sample=True,
        rescale_betas_zero_snr=False,
    )
    choices = fields(variance_type=("fixed_small", "fixed_small_log", "fixed_large"))
    takes = ("timesteps",)
    draws_noise = True
    needs_set_timesteps = False

    def _prepare(self) -> None:
        super()._prepare()
        self.variance_type: str = self._options["variance_type"]

    step = drawing_step

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From x_t to the next timestep of the run, eq. 6 and 7."""
        t, previous = (int(timestep) for timestep in np.append(self.timesteps, -1)[i : i + 2])
        bar, bar_previous = self._alpha_bar(t), self._alpha_bar(previous)
        beta_bar, beta_bar_previous = 1 - bar, 1 - bar_previous
        alpha_t = bar / bar_previous
        beta_t = 1 - alpha_t

        x0 = self._clip(self.schedule.original(model_output, sample, *self._alpha_sigma(t)))
        mean = (math.sqrt(bar_previous) * beta_t / beta_bar) * x0
        mean = mean + (math.sqrt(alpha_t) * beta_bar_previous / beta_bar) * sample
        if t > 0:
            # The floor is part of the published sampler: it leaves a trace of noise on the last step.
            small = max(beta_bar_previous / beta_bar * beta_t, 1e-20)
            variance = beta_t if self.variance_type == "fixed_large" else small
            mean = mean + math.sqrt(variance) * draw_noise(model_output, generator)
        return SchedulerOutput(mean, x0)
