"""Schedulers in the model's own coordinates, x_t = √ᾱ x₀ + √(1-ᾱ) ε: DDPM, DDIM, PNDM, LCM and TCD."""

import math
from collections.abc import Sequence

import numpy as np

from ..utils.arrays import Array
from ..utils.printable import shown
from .arrays import Numbers, check_alike, coefficients
from .base import Scheduler, Timestep
from .spacing import spaced_timesteps


class VariancePreserving(Scheduler):
    """What those five share: ᾱ of a timestep, whole timesteps, adding noise."""

    def _prepare(self) -> None:
        self._alpha_bars = self._discrete.alpha_bars
        # ᾱ before timestep 0: clean data's, or timestep 0's for models that never saw clean data.
        self.final_alpha_cumprod = 1.0 if self._options.get("set_alpha_to_one", True) else self._alpha_bars[0]

    def _alpha_bar(self, timestep: int) -> float:
        return self._alpha_bars[timestep] if timestep >= 0 else self.final_alpha_cumprod

    def _alpha_sigma(self, timestep: Timestep) -> tuple[float, float]:
        """√ᾱ and √(1-ᾱ) (Ho et al. 2020, eq. 4); below timestep 0 lies clean data."""
        alpha_bar = self._alpha_bar(int(timestep))
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    def _layout(self, steps: int) -> Numbers:
        return spaced_timesteps(self._options, steps).round().astype(np.int64)

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        return timesteps.astype(np.int64)

    def previous_timestep(self, timestep: Timestep) -> np.int64:
        """The timestep that a step from this one leads to: the run's next, or one less if there is no run.

        After the run's last it is -1.
        """
        if self.num_inference_steps is None:
            return np.int64(int(timestep) - 1)
        following = self._current_index(timestep) + 1
        return self.timesteps[following] if following < len(self.timesteps) else np.int64(-1)

    def _given(self, timesteps: object) -> Numbers:
        values = super()._given(timesteps)
        if not 0 <= values.min() <= values.max() < len(self):
            most = len(self) - 1
            raise ValueError(f"timesteps must be from 0 to {most}, those of the training, got {shown(timesteps)}")
        return values

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        return self._clip(self.schedule.original(model_output, sample, *self._alpha_sigma(timestep)))

    def get_velocity(self, sample: Array, noise: Array, timesteps: Sequence[float] | Numbers) -> Array:
        """v = √ᾱ ε - √(1-ᾱ) x₀ (Salimans & Ho 2022, appendix D), what a v-prediction model is trained on."""
        check_alike(sample=sample, noise=noise)
        alpha, sigma = coefficients([self._alpha_sigma(each) for each in self._given(timesteps)], sample)
        return alpha * noise - sigma * sample
