"""LCM: Latent Consistency Models (Luo et al. 2023, arXiv 2310.04378)."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import Array
from .base import CLIPPING, NOISE_SCHEDULE, Generators, Scheduler, SchedulerOutput, draw_noise, fields
from .spacing import distilled_timesteps
from .variance_preserving import VariancePreserving

DISTILLED: dict[str, Any] = {
    **NOISE_SCHEDULE,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "original_inference_steps": 50,
    "rescale_betas_zero_snr": False,
}


class Distilled(VariancePreserving):
    """Schedulers of models distilled to jump along the trajectory: their steps are some of the distillation's."""

    takes = ("timesteps",)

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        timesteps: Sequence[float] | np.ndarray | None = None,
        sigmas: Sequence[float] | np.ndarray | None = None,
        original_inference_steps: int | None = None,
        strength: float = 1.0,
    ) -> None:
        """As `Scheduler.set_timesteps`, with two arguments more.

        Args:
            num_inference_steps: how many steps.
            timesteps: the timesteps themselves.
            sigmas: not taken by these schedulers.
            original_inference_steps: the distillation's steps, where they are not those of the config.
            strength: the part of the trajectory to run, above 0 to 1; below 1 for runs that start from an image.
        """
        self._original_steps, self._strength = original_inference_steps, strength
        Scheduler.set_timesteps(self, num_inference_steps, timesteps, sigmas)

    def _layout(self, steps: int) -> np.ndarray:
        original = self._original_steps or self._options["original_inference_steps"]
        return distilled_timesteps(steps, self._options["num_train_timesteps"], original, self._strength)

    def _layout_at(self, timesteps: np.ndarray) -> np.ndarray:
        run = min(int(len(timesteps) * self._strength), len(timesteps))
        return super()._layout_at(timesteps)[len(timesteps) - run :]


class LCMSchedulerOutput(SchedulerOutput):
    """A step's output whose predicted x₀ is the value of the consistency function, `denoised`."""

    @property
    def denoised(self) -> Array:
        return self.pred_original_sample


class LCMScheduler(Distilled):
    """Multistep consistency sampling: jump to clean, put noise back, jump again (algorithm 3).

    The timesteps come from the distillation alone: a config's `timestep_spacing` and `steps_offset` are kept, not used.
    """

    defaults = fields(DISTILLED, CLIPPING, clip_sample=False, timestep_scaling=10.0)

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From one timestep to the next; after the last, clean."""
        t = int(self.timesteps[i])
        x0 = self._clip(self._predict_original(model_output, sample, *self._alpha_sigma(t)))
        # The boundary condition f(x, 0) = x of section 4.1, with σ_data = 0.5.
        scaled, sigma_data = t * self._options["timestep_scaling"], 0.5
        c_skip = sigma_data**2 / (scaled**2 + sigma_data**2)
        c_out = scaled / math.sqrt(scaled**2 + sigma_data**2)
        denoised = c_out * x0 + c_skip * sample
        if i + 1 == len(self.timesteps):
            return LCMSchedulerOutput(denoised, denoised)
        alpha, sigma = self._alpha_sigma(int(self.timesteps[i + 1]))
        return LCMSchedulerOutput(alpha * denoised + sigma * draw_noise(model_output, generator), denoised)
