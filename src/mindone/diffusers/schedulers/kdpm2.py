"""DPM2: the second-order steps of Karras et al. 2022 (arXiv 2206.00364), as in k-diffusion's ``sample_dpm_2``.

They are algorithm 2 with the midpoint method in place of Heun's; the midpoint lies in log σ, as in DPM-Solver-2
(Lu et al. 2022, arXiv 2206.00927).
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers
from .base import deterministic_step
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, fields
from .output import SchedulerOutput
from .sigma_space import VarianceExploding


class KDPM2DiscreteScheduler(VarianceExploding):
    """An Euler step to the midpoint, then the whole step with the slope that the model finds there.

    ``timesteps`` lists each call of the model: n steps call it 2n - 1 times, as the last goes straight to the image.
    """

    order = 2
    defaults = fields(NOISE_SCHEDULE, SPACING, SIGMA_SPACING, beta_start=0.00085, beta_end=0.012)
    choices = fields(prediction_type=("epsilon", "v_prediction"))
    needs_set_timesteps = True

    def _prepare(self) -> None:
        super()._prepare()
        self.log_sigmas = self._discrete.log_sigmas
        self._run(np.arange(len(self), dtype=np.float32)[::-1], self._discrete.sigmas[::-1])

    def _timesteps_of(self, sigmas: Numbers) -> Numbers:
        timesteps = super()._timesteps_of(sigmas)
        return timesteps.round() if self._options["use_karras_sigmas"] else timesteps

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        levels = [*sigmas.astype(np.float32).tolist(), 0.0]
        self._ends = [self._end(before, after) for before, after in itertools.pairwise(levels)]
        # The last step goes straight to σ = 0.
        self._middles = [*(math.sqrt(a * b) for a, b in zip(levels[:-2], self._ends)), 0.0]
        self._set_sigmas(np.repeat(levels, 2)[1:])
        self.sigmas_interpol = self._shown([math.nan, *self._middles])
        between = self._discrete.timesteps_of(np.array(self._middles[:-1], np.float32))
        interleaved = np.stack([between, timesteps[1:]], axis=1).ravel()
        run: Numbers = np.concatenate([timesteps[:1], interleaved]).astype(np.float32)
        return run

    def _end(self, before: float, after: float) -> float:
        """The noise level at which the deterministic part of a step ends."""
        return after

    @staticmethod
    def _shown(values: Sequence[float]) -> Numbers:
        """A value for each step, twice but for the first, in the published order of ``sigmas``."""
        shown: Numbers = np.concatenate([values[:1], np.repeat(values[1:], 2), values[-1:]]).astype(np.float32)
        return shown

    def _reset(self) -> None:
        self.sample: Array | None = None  # where a step began that still misses its second half

    @property
    def state_in_first_order(self) -> bool:
        """Whether the next call begins a step rather than completes one."""
        return self.sample is None

    def _level(self, i: int) -> float:
        return self._sigmas[i] if self.state_in_first_order else self._middles[i // 2]

    step = deterministic_step

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators = None) -> SchedulerOutput:
        """The timestep for the next call of the model."""
        level = self._level(i)
        x0 = self.schedule.denoised(model_output, sample, level)
        slope = (sample - x0) / level
        if self.state_in_first_order:
            self.sample = sample
            return SchedulerOutput(sample + (self._middles[i // 2] - level) * slope, x0)
        begun, self.sample = self.sample, None
        return SchedulerOutput(begun + (self._ends[i // 2] - self._sigmas[i - 1]) * slope, x0)
