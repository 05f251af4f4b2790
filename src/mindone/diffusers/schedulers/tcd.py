"""TCD: Trajectory Consistency Distillation (Zheng et al. 2024, arXiv 2402.19159)."""

import math
from dataclasses import dataclass

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers, draw_noise
from .base import Timestep
from .lcm import DISTILLED, Distilled
from .options import CLIPPING, SPACING, fields
from .output import SchedulerOutput, Stepped
from .spacing import pick_evenly


@dataclass(eq=False)
class TCDSchedulerOutput(SchedulerOutput):
    """A step's output that also holds the sample before fresh noise is added."""

    pred_noised_sample: Array | None = None
    """The sample at timestep (1 - γ) of the next one, x_s of algorithm 4."""


class TCDScheduler(Distilled):
    """Strategic stochastic sampling: jump to (1 - γ) of the next timestep, put noise back up to it (algorithm 4).

    The method has no spacings and no clipping.
    """

    defaults = DISTILLED
    idle = fields(
        SPACING, CLIPPING, timestep_spacing="leading", clip_sample=False, set_alpha_to_one=True, timestep_scaling=10.0
    )

    def _layout(self, steps: int) -> Numbers:
        if self._original_steps is None:
            return super()._layout(steps)
        # If the caller asks for it, the steps come from all training timesteps, not the distillation's.
        if steps > self._original_steps:
            raise ValueError(
                f"num_inference_steps must be at most original_inference_steps={self._original_steps}, got {steps}"
            )
        available = int(self._options["num_train_timesteps"] * self._strength)
        if steps > available:
            raise ValueError(f"num_inference_steps must be at most {available} with this strength, got {steps}")
        return pick_evenly(np.arange(available)[::-1], steps)

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        eta: float = 0.3,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Stepped:
        """One step.

        Args:
            model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
            eta: the paper's γ, from 0 (deterministic) to 1 (fresh noise at every step, as LCM).
        """
        if not 0 <= eta <= 1:
            raise ValueError(f"eta must be from 0 to 1, got {eta}")
        return self._advance(model_output, timestep, sample, return_dict, eta, generator)

    def _step(self, i: int, model_output: Array, sample: Array, eta: float, generator: Generators) -> SchedulerOutput:
        """From one timestep to the next; after the last, to timestep 0."""
        t = int(self.timesteps[i])
        last = i + 1 == len(self.timesteps)
        following = 0 if last else int(self.timesteps[i + 1])
        # In float32, as published: products close to a whole number fall on the same side of it.
        s = math.floor(np.float32(1 - eta) * np.float32(following))
        x0 = self.schedule.original(model_output, sample, *self._alpha_sigma(t))
        epsilon = self.schedule.epsilon(model_output, sample, *self._alpha_sigma(t))
        alpha_s, sigma_s = self._alpha_sigma(s)
        x = noised = alpha_s * x0 + sigma_s * epsilon
        if eta > 0 and not last:
            kept = self._alpha_bar(following) / self._alpha_bar(s)
            x = math.sqrt(kept) * x + math.sqrt(1 - kept) * draw_noise(model_output, generator)
        return TCDSchedulerOutput(x, x0, noised)
