"""LCM: Latent Consistency Models (Luo et al. 2023, arXiv 2310.04378)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..utils.arrays import Array
from .arrays import Generators, Numbers, draw_noise
from .base import Timestep, drawing_step
from .options import CLIPPING, NOISE_SCHEDULE, SPACING, Options, fields
from .output import SchedulerOutput
from .spacing import distilled_timesteps
from .variance_preserving import VariancePreserving

DISTILLED: Options = {
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
    distilled = True
    draws_noise = True

    def set_timesteps(  # type: ignore[override]  # the published order of these schedulers
        self,
        num_inference_steps: int | None = None,
        device: object = None,
        original_inference_steps: int | None = None,
        timesteps: Sequence[float] | Numbers | None = None,
        strength: float = 1.0,
        sigmas: Sequence[float] | Numbers | None = None,
    ) -> None:
        """As ``Scheduler.set_timesteps``, with two more arguments.

        Args:
            num_inference_steps: how many steps.
            device: as in ``Scheduler.set_timesteps``.
            original_inference_steps: the distillation's steps, if they differ from the config's.
            timesteps: the timesteps themselves.
            strength: the part of the trajectory to run, above 0 and up to 1; below 1 for runs that start from an image.
            sigmas: refused; these schedulers take none.
        """
        self._original_steps, self._strength = original_inference_steps, strength
        super().set_timesteps(num_inference_steps, timesteps=timesteps, sigmas=sigmas)

    def _layout(self, steps: int) -> Numbers:
        original = self._original_steps or self._options["original_inference_steps"]
        return distilled_timesteps(steps, self._options["num_train_timesteps"], original, self._strength)

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        run = min(int(len(timesteps) * self._strength), len(timesteps))
        return super()._layout_at(timesteps)[len(timesteps) - run :]


@dataclass(eq=False)
class LCMSchedulerOutput(SchedulerOutput):
    """A step's output with the consistency function's value as predicted x₀."""

    denoised: Array | None = None
    """The same as ``pred_original_sample``, by its published name."""


class LCMScheduler(Distilled):
    """Multistep consistency sampling: jump to clean, put noise back, jump again (algorithm 3).

    The timesteps come only from the distillation, whatever ``timestep_spacing`` and ``steps_offset`` say.
    """

    defaults = fields(DISTILLED, CLIPPING, clip_sample=False, timestep_scaling=10.0)
    idle = fields(SPACING, timestep_spacing="leading", set_alpha_to_one=True)

    def get_scalings_for_boundary_condition_discrete(self, timestep: Timestep) -> tuple[float, float]:
        """(c_skip, c_out) of the boundary condition f(x, 0) = x, section 4.1, with σ_data = 0.5."""
        scaled, sigma_data = float(timestep) * self._options["timestep_scaling"], 0.5
        return sigma_data**2 / (scaled**2 + sigma_data**2), scaled / math.sqrt(scaled**2 + sigma_data**2)

    step = drawing_step

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From one timestep to the next; the last step ends clean."""
        t = int(self.timesteps[i])
        x0 = self._clip(self.schedule.original(model_output, sample, *self._alpha_sigma(t)))
        c_skip, c_out = self.get_scalings_for_boundary_condition_discrete(t)
        denoised = c_out * x0 + c_skip * sample
        if i + 1 == len(self.timesteps):
            return LCMSchedulerOutput(denoised, denoised, denoised)
        alpha, sigma = self._alpha_sigma(int(self.timesteps[i + 1]))
        x = alpha * denoised + sigma * draw_noise(model_output, generator)
        return LCMSchedulerOutput(x, denoised, denoised)
