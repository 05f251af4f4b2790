"""PNDM: Pseudo Numerical Methods for Diffusion Models on Manifolds (Liu et al. 2022, arXiv 2202.09778)."""

import math
from itertools import pairwise

import numpy as np

from ..utils.arrays import Array
from .arrays import Numbers
from .base import deterministic_step
from .options import NOISE_SCHEDULE, SPACING, fields
from .output import SchedulerOutput
from .variance_preserving import VariancePreserving


class PNDMScheduler(VariancePreserving):
    """A linear multistep method over ε, with the transfer of eq. 11 in place of Euler's step.

    With ``skip_prk_steps`` (Stable Diffusion's setting, "PLMS") it starts itself with a lower order and visits the
    second timestep twice; without it, three Runge-Kutta steps of four model calls each come first. ``timesteps`` lists
    every call.
    """

    defaults = fields(
        NOISE_SCHEDULE,
        SPACING,
        timestep_spacing="leading",
        skip_prk_steps=False,
        set_alpha_to_one=False,
    )
    choices = fields(prediction_type=("epsilon", "v_prediction"))
    divides_by_signal = True  # eq. 11
    pndm_order = 4
    """How many slopes the multistep method uses."""
    _outputs: list[Array]  # ε of earlier timesteps, the latest first

    def _prepare(self) -> None:
        super()._prepare()
        self.prk_timesteps = np.array([], np.int64)

    def _layout(self, steps: int) -> Numbers:
        timesteps = super()._layout(steps)
        self._stride = self._options["num_train_timesteps"] // steps
        self.prk_timesteps = np.array([], np.int64)
        if self._options["skip_prk_steps"]:
            return np.concatenate([timesteps[:1], timesteps[1:2], timesteps[1:2], timesteps[2:]])
        if steps < 4:
            raise ValueError(f"PNDMScheduler without skip_prk_steps needs at least 4 steps, got {steps}")
        # Each Runge-Kutta step calls the model at its start, twice in its middle, and at its end.
        steps_of_four = [(t, end + self._stride // 2, end) for t, end in pairwise(timesteps[:4])]
        calls = [call for start, middle, end in steps_of_four for call in (start, middle, middle, end)]
        self.prk_timesteps = np.array(calls, np.int64)
        return np.concatenate([self.prk_timesteps, timesteps[3:]])

    @property
    def ets(self) -> list[Array]:
        """The predicted noise ε of the last timesteps, the latest last."""
        return self._outputs[::-1]

    @ets.setter
    def ets(self, ets: list[Array]) -> None:
        self._outputs = ets[::-1]

    @property
    def plms_timesteps(self) -> Numbers:
        """The timesteps of the multistep phase, those after ``prk_timesteps``."""
        return self.timesteps[len(self.prk_timesteps) :]

    def _reset(self) -> None:
        self.counter = 0
        self._outputs = []
        self.cur_sample: Array | None = None
        self._sum: Array | None = None

    step = deterministic_step
    step_prk = deterministic_step
    step_plms = deterministic_step
    """The calls of the two phases, by their published names; the calls made so far decide which is next."""

    def _step(self, i: int, model_output: Array, sample: Array) -> SchedulerOutput:
        """The timestep for the next call of the model; section 3.3 and algorithm 2."""
        in_runge_kutta = self.counter < len(self.prk_timesteps)
        x = (self._prk if in_runge_kutta else self._plms)(model_output, int(self.timesteps[i]), sample)
        self.counter += 1
        return SchedulerOutput(x)

    def _prk(self, model_output: Array, t: int, sample: Array) -> Array:
        """One of the four calls of a Runge-Kutta step, eq. 13."""
        call = self.counter % 4
        target = t - (0 if call % 2 else self._stride // 2)
        start = int(self.prk_timesteps[self.counter - call])
        if call == 0:
            self._outputs = [model_output, *self._outputs]
            self.cur_sample, self._sum = sample, model_output / 6
        elif call < 3:
            self._sum = self._sum + model_output / 3
        else:
            model_output = self._sum + model_output / 6
        assert self.cur_sample is not None  # kept by the first of the four calls
        return self._transfer(self.cur_sample, start, target, model_output)

    def _plms(self, model_output: Array, t: int, sample: Array) -> Array:
        """A linear multistep step, eq. 12; the first is taken twice, the second time with the mean of both slopes."""
        target = t - self._stride
        if self.counter == 1:
            t, target = t + self._stride, t
            assert self.cur_sample is not None  # kept by the call before
            sample = self.cur_sample
            slope = (model_output + self._outputs[0]) / 2
        else:
            self._outputs = [model_output, *self._outputs[:3]]
            self.cur_sample = sample
            slope = self._multistep(self._outputs)
        return self._transfer(sample, t, target, slope)

    @staticmethod
    def _multistep(e: list[Array]) -> Array:
        """The Adams-Bashforth slope from up to four ε, the latest first."""
        if len(e) == 1:
            return e[0]
        if len(e) == 2:
            return (3 * e[0] - e[1]) / 2
        if len(e) == 3:
            return (23 * e[0] - 16 * e[1] + 5 * e[2]) / 12
        return (55 * e[0] - 59 * e[1] + 37 * e[2] - 9 * e[3]) / 24

    def _transfer(self, sample: Array, t: int, target: int, model_output: Array) -> Array:
        """φ(x_t, ε, t, t-δ), eq. 11."""
        bar, bar_target = self._alpha_bar(t), self._alpha_bar(target)
        epsilon = self.schedule.epsilon(model_output, sample, *self._alpha_sigma(t))
        denominator = bar * math.sqrt(1 - bar_target) + math.sqrt(bar * (1 - bar) * bar_target)
        return math.sqrt(bar_target / bar) * sample - ((bar_target - bar) / denominator) * epsilon
