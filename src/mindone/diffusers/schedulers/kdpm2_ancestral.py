"""DPM2 with ancestral sampling, as k-diffusion's ``sample_dpm_2_ancestral``: see ``kdpm2`` and ``euler_ancestral``."""

import itertools
import math

from ..utils.arrays import Array
from .arrays import Generators, Numbers, draw_noise
from .base import drawing_step
from .kdpm2 import KDPM2DiscreteScheduler
from .output import SchedulerOutput


class KDPM2AncestralDiscreteScheduler(KDPM2DiscreteScheduler):
    """A midpoint step to below the next noise level, then fresh noise up to it."""

    draws_noise = True

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        run = super()._run(timesteps, sigmas)
        levels = self._sigmas[::2]
        self._ups = [after * math.sqrt(1 - (after / before) ** 2) for before, after in itertools.pairwise(levels)]
        self.sigmas_up, self.sigmas_down = self._shown([*self._ups, 0.0]), self._shown([*self._ends, 0.0])
        self.sigmas_interpol = self._shown([*self._middles, 0.0])
        return run

    def _end(self, before: float, after: float) -> float:
        return after**2 / before

    step = drawing_step  # type: ignore[assignment]  # the published order of this scheduler

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators = None) -> SchedulerOutput:
        completes = not self.state_in_first_order
        output = super()._step(i, model_output, sample)
        if completes:
            output.prev_sample = output.prev_sample + self._ups[i // 2] * draw_noise(model_output, generator)
        return output
