"""DDIM: Denoising Diffusion Implicit Models (Song, Meng & Ermon 2020, arXiv 2010.02502)."""

import math

from ..utils.arrays import Array
from .arrays import Generators, given_or_drawn
from .base import Timestep
from .options import CLIPPING, NOISE_SCHEDULE, SPACING, fields
from .output import SchedulerOutput, Stepped
from .variance_preserving import VariancePreserving


class DDIMScheduler(VariancePreserving):
    """One Euler step of the probability flow for each timestep; with ``eta`` above 0 it adds noise after each."""

    defaults = fields(
        NOISE_SCHEDULE,
        SPACING,
        CLIPPING,
        timestep_spacing="leading",
        clip_sample=True,
        set_alpha_to_one=True,
        rescale_betas_zero_snr=False,
    )

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators = None,
        variance_noise: Array | None = None,
        return_dict: bool = True,
    ) -> Stepped:
        """From x_t to x_(t-1), eq. 12.

        Args:
            model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
            eta: η of eq. 16, from 0 (deterministic) to 1 (as noisy as DDPM).
            use_clipped_model_output: derive ε again from the clipped x₀.
            variance_noise: the noise itself, instead of a generator.
        """
        self._require_run(model_output, sample)
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must be from 0 to 1, got {eta}")
        t = int(timestep)
        previous = t - self._options["num_train_timesteps"] // int(self.num_inference_steps or 1)
        alpha, sigma = self._alpha_sigma(t)
        bar, bar_previous = self._alpha_bar(t), self._alpha_bar(previous)

        x0 = self._clip(self.schedule.original(model_output, sample, alpha, sigma))
        if use_clipped_model_output:
            epsilon = (sample - alpha * x0) / sigma
        else:
            epsilon = self.schedule.epsilon(model_output, sample, alpha, sigma)
        sigma_t = eta * math.sqrt((1 - bar_previous) / (1 - bar) * (1 - bar / bar_previous))
        direction = math.sqrt(max(1 - bar_previous - sigma_t**2, 0.0))
        x = math.sqrt(bar_previous) * x0 + direction * epsilon
        if eta > 0:
            x = x + sigma_t * given_or_drawn(variance_noise, model_output, generator)
        output = SchedulerOutput(x, x0)
        return output if return_dict else output.to_tuple()
