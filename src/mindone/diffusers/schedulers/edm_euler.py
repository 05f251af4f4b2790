"""Euler's method for networks in the EDM parametrization: Karras et al. 2022 (arXiv 2206.00364), table 1.

These networks were trained on continuous noise levels and take log(σ)/4 in place of a timestep.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers
from .base import Timestep
from .euler import Churn, EulerMethod
from .levels import EDM
from .options import fields
from .output import Stepped
from .spacing import FINAL_SIGMAS, exponential_sigmas, karras_sigmas, log_sigma_label


class EDMEulerScheduler(EulerMethod):
    """One Euler step for each noise level, from ``sigma_max`` down to ``sigma_min``.

    It shares no options and no configs with the schedulers of discrete noise schedules. CosXL has ``sigma_data`` 1,
    and its authors recommend the ``exponential`` schedule from 120 to 0.002.
    """

    defaults = fields(
        sigma_min=0.002,
        sigma_max=80.0,
        sigma_data=0.5,
        sigma_schedule="karras",
        num_train_timesteps=1000,
        prediction_type="epsilon",
        rho=7.0,
        final_sigmas_type="zero",
    )
    unpublished = fields()
    choices = fields(
        sigma_schedule=("karras", "exponential"),
        prediction_type=("epsilon", "v_prediction"),
        final_sigmas_type=FINAL_SIGMAS,
    )

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """EDM's levels, if the config gives the σ_data of training or is this class's own."""
        return levels == EDM and ("sigma_data" in config or config.get("_class_name") == cls.__name__)

    def _prepare(self) -> None:
        self._layout(len(self))

    def _layout(self, steps: int) -> Numbers:
        options = self._options
        low, high = options["sigma_min"], options["sigma_max"]
        if options["sigma_schedule"] == "karras":
            sigmas = karras_sigmas(low, high, steps, options["rho"])
        else:
            sigmas = exponential_sigmas(low, high, steps)
        self._set_sigmas(sigmas, sigmas[-1] if options["final_sigmas_type"] == "sigma_min" else 0.0)
        return log_sigma_label(self.sigmas[:-1])

    @property
    def init_noise_sigma(self) -> float:
        """√(σ_max² + 1), which counts the image's own variance as 1."""
        return math.sqrt(self._options["sigma_max"] ** 2 + 1)

    def precondition_inputs(self, sample: Array, sigma: float) -> Array:
        """c_in x = x / √(σ² + σ_data²)."""
        return sample * self.schedule.input_scale(sigma)

    def precondition_noise(self, sigma: float | Numbers) -> Numbers:
        """c_noise = log(σ)/4, float32: what the network gets as its timestep."""
        return log_sigma_label(np.atleast_1d(sigma))

    def precondition_outputs(self, sample: Array, model_output: Array, sigma: float) -> Array:
        """x₀ = c_skip x + c_out F(…); a v-prediction has the other sign."""
        return self.schedule.denoised(model_output, sample, sigma)

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
        generator: Generators = None,
        return_dict: bool = True,
        pred_original_sample: Array | None = None,
    ) -> Stepped:
        """One step; the arguments are those of ``EulerDiscreteScheduler.step``, and one more.

        Args:
            model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
            s_churn, s_tmin, s_tmax, s_noise: as in ``EulerDiscreteScheduler.step``.
            pred_original_sample: x₀, if something else predicted it.
        """
        churn = Churn(s_churn, s_tmin, s_tmax, s_noise)
        return self._advance(model_output, timestep, sample, return_dict, churn, generator, pred_original_sample)
