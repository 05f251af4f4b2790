"""DEIS: Fast Sampling of Diffusion Models with Exponential Integrator (Zhang & Chen 2023, arXiv 2204.13902)."""

import math

import numpy as np

from .arrays import Array, Generators
from .base import Timestep
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, THRESHOLDING, fields
from .output import SchedulerOutput, Stepped
from .sigma_space import FLOW, FLOW_CHOICES, ExponentialIntegrator
from .spacing import sigma_spacing


class DEISMultistepScheduler(ExponentialIntegrator):
    """Integrates over σ the polynomial in log σ through the last ε (ρAB-DEIS of section 4 with nodes in log ρ).

    The run ends at the lowest noise level of training.
    """

    defaults = fields(
        NOISE_SCHEDULE,
        SPACING,
        SIGMA_SPACING,
        THRESHOLDING,
        FLOW,
        solver_order=2,
        algorithm_type="deis",
        solver_type="logrho",
        lower_order_final=True,
    )
    choices = fields(FLOW_CHOICES, solver_order=(1, 2, 3), algorithm_type=("deis",), solver_type=("logrho",))
    aliases = fields(
        algorithm_type=dict.fromkeys(("dpmsolver", "dpmsolver++"), "deis"),
        solver_type=dict.fromkeys(("midpoint", "heun", "bh1", "bh2"), "logrho"),
    )

    def _layout(self, steps: int) -> np.ndarray:
        if sigma_spacing(self._options):
            timesteps, sigmas = self._spaced_run(steps)
            final = sigmas[-1]
        else:
            timesteps = self._whole_timesteps(steps)
            sigmas, final = self._sigmas_at(timesteps), self._table[0]
        self._set_sigmas(sigmas, final)
        return timesteps.astype(np.int64)

    def _reset(self) -> None:
        self._outputs = []

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        return_dict: bool = True,
        *,
        generator: Generators = None,
    ) -> Stepped:
        """One step; the arguments are those of ``Scheduler.step``."""
        return self._advance(model_output, timestep, sample, return_dict, lambda i: self._step(i, model_output, sample))

    def _step(self, i: int, model_output: Array, sample: Array) -> SchedulerOutput:
        """From one timestep to the next, eq. 15: x/α changes by ∫ε dσ."""
        self._outputs = [
            self._convert(model_output, sample, self._sigmas[i]),
            *self._outputs[: self._options["solver_order"] - 1],
        ]
        order = min(len(self._outputs), self._allowed_order(i))
        x = sample / self._alpha_sigma(self._sigmas[i])[0]
        for weight, epsilon in zip(self._weights(i, order), self._outputs):
            x = x + weight * epsilon
        return SchedulerOutput(self._alpha_sigma(self._sigmas[i + 1])[0] * x)

    def _allowed_order(self, i: int) -> int:
        """The order that step i may have: low orders at the end of a short run keep it stable."""
        short = self._options["lower_order_final"] and len(self.timesteps) < 15
        return min(len(self.timesteps) - i, 3) if short else 3

    def _convert(self, model_output: Array, sample: Array, level: float) -> Array:
        """ε, from x₀ where that is thresholded."""
        alpha, sigma = self._alpha_sigma(level)
        if self._options["thresholding"]:
            return (sample - alpha * self._clip(self._predict_original(model_output, sample, alpha, sigma))) / sigma
        return self._predict_epsilon(model_output, sample, alpha, sigma)

    def _weights(self, i: int, order: int) -> list[float]:
        """∫dσ from σ_i to σ_(i+1) of each Lagrange polynomial in log σ over σ_i, σ_(i-1), …"""
        start, end = self._sigmas[i], self._sigmas[i + 1]
        if start == end:
            return [0.0] * order
        # With u = log(σ/σ_i): σ_i ∫ p(u) eᵘ du, whose antiderivative is eᵘ (p - p′ + p″).
        nodes = [math.log(node / start) for node in self._sigmas[i - order + 1 : i + 1][::-1]]
        last = math.log(end / start)
        weights = []
        for node in nodes:
            others = [other for other in nodes if other != node]
            p = np.poly1d(np.poly(others)) / np.prod([node - other for other in others])
            antiderivative = p - p.deriv() + p.deriv(2)
            weights.append(float(start * (math.exp(last) * antiderivative(last) - antiderivative(0))))
        return weights
