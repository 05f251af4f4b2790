"""UniPC: A Unified Predictor-Corrector Framework (Zhao et al. 2023, arXiv 2302.04867)."""

import math

import numpy as np

from ..utils.arrays import Array
from .arrays import combination
from .base import deterministic_step
from .options import fields
from .output import SchedulerOutput
from .sigma_space import MULTISTEP, MULTISTEP_CHOICES, ExponentialIntegrator


class UniPCMultistepScheduler(ExponentialIntegrator):
    """A predictor of any order (UniP); the next model call corrects each step (UniC), at no extra call."""

    defaults = fields(
        MULTISTEP,
        predict_x0=True,
        solver_type="bh2",
        disable_corrector=[],
        solver_p=None,
    )
    choices = fields(
        MULTISTEP_CHOICES,
        solver_type=("bh1", "bh2"),
        solver_p=(None,),
    )
    aliases = fields(solver_type=dict.fromkeys(("midpoint", "heun", "logrho"), "bh2"))

    def _check(self) -> None:
        super()._check()
        options = self._options
        if options["final_sigmas_type"] == "zero" and not (options["lower_order_final"] and options["predict_x0"]):
            raise ValueError(
                "UniPCMultistepScheduler can end at σ = 0 only with lower_order_final and predict_x0; "
                "set final_sigmas_type to 'sigma_min'"
            )

    def _prepare(self) -> None:
        super()._prepare()
        self.predict_x0: bool = self._options["predict_x0"]
        self.disable_corrector: list[int] = self._options["disable_corrector"]
        self.solver_p: None = self._options["solver_p"]

    def _reset(self) -> None:
        super()._reset()
        self.last_sample: Array | None = None
        self._last_order = 0

    step = deterministic_step

    def _step(self, i: int, model_output: Array, sample: Array) -> SchedulerOutput:
        """Correct the step that led here, then go to the next timestep (algorithms 1 and 2)."""
        options = self._options
        m = self._convert(model_output, sample, self._sigmas[i])
        if self.last_sample is not None and i - 1 not in self.disable_corrector:
            sample = self._update(self.last_sample, i - 1, self._last_order, corrector=m)
        self._remember(m)
        order = len(self._outputs)
        if options["lower_order_final"]:
            order = min(order, len(self.timesteps) - i)
        self.last_sample, self._last_order = sample, order
        x = self._update(sample, i, order)
        return SchedulerOutput(x, m if self.predict_x0 else None)

    def _convert(self, model_output: Array, sample: Array, level: float) -> Array:
        """x₀, or ε without ``predict_x0``."""
        if self.predict_x0:
            return self._clip(self.schedule.original(model_output, sample, *self.schedule.alpha_sigma(level)))
        return self.schedule.epsilon(model_output, sample, *self.schedule.alpha_sigma(level))

    def _update(self, x: Array, i: int, order: int, corrector: Array | None = None) -> Array:
        """The step from σ_i to σ_(i+1), eq. 3 (UniP), or with the model's output at its end, eq. 9 (UniC).

        ``_outputs`` begins with the output at σ_i in both cases.
        """
        (alpha_s, sigma_s), (alpha_t, sigma_t) = (self.schedule.alpha_sigma(level) for level in self._sigmas[i : i + 2])
        h = self._log_snr_step(self._sigmas[i], self._sigmas[i + 1])
        if h == 0:
            return x
        m0 = self._outputs[0]
        signed_h = -h if self.predict_x0 else h
        phi = math.expm1(signed_h)
        if self.predict_x0:
            x_weight, m_weight = sigma_t / sigma_s, alpha_t
        else:
            x_weight, m_weight = alpha_t / alpha_s, sigma_t
        x = x_weight * x - (m_weight * phi) * m0
        ratios = [-self._log_snr_step(self._sigmas[i - k], self._sigmas[i]) / h for k in range(1, order)]
        differences = [(m - m0) / r for m, r in zip(self._outputs[1:order], ratios)]
        if corrector is not None:
            ratios, differences = [*ratios, 1.0], [*differences, corrector - m0]
        if not differences:
            return x
        b_h = signed_h if self._options["solver_type"] == "bh1" else phi
        weights = [-(m_weight * b_h * weight) for weight in self._weights(ratios, signed_h, b_h)]
        return combination([1.0, *weights], [x, *differences])

    @staticmethod
    def _weights(ratios: list[float], h: float, b_h: float) -> list[float]:
        """a_p of theorem 3.1: the solution of R_p(h) a = φ_p(h) / B(h)."""
        if len(ratios) == 1:
            return [0.5]  # recommended instead of the solution, which converges to it
        rows, right, phi_k, factorial = [], [], math.expm1(h) / h - 1, 1
        for k in range(1, len(ratios) + 1):
            rows.append([r ** (k - 1) for r in ratios])
            right.append(phi_k * factorial / b_h)
            factorial *= k + 1
            phi_k = phi_k / h - 1 / factorial
        solved: list[float] = np.linalg.solve(rows, right).tolist()
        return solved
