"""DEIS: Fast Sampling of Diffusion Models with Exponential Integrator (Zhang & Chen 2023, arXiv 2204.13902)."""

import math

import numpy as np

from ..utils.arrays import Array
from .arrays import combination
from .base import deterministic_step
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, THRESHOLDING, fields
from .output import SchedulerOutput
from .sigma_space import FLOW, FLOW_CHOICES, ExponentialIntegrator


class DEISMultistepScheduler(ExponentialIntegrator):
    """Integrates over σ the polynomial in log σ through the last ε (ρAB-DEIS of section 4 with nodes in log ρ).

    The run ends at training's lowest noise level.
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

    step = deterministic_step

    def _step(self, i: int, model_output: Array, sample: Array) -> SchedulerOutput:
        """From one timestep to the next, eq. 15: x/α changes by ∫ε dσ."""
        self._remember(self._convert(model_output, sample, self._sigmas[i]))
        order = min(len(self._outputs), self._allowed_order(i))
        alpha, target = (self.schedule.alpha_sigma(level)[0] for level in self._sigmas[i : i + 2])
        weights = [target / alpha, *(target * weight for weight in self._weights(i, order))]
        return SchedulerOutput(combination(weights, [sample, *self._outputs]))

    def _allowed_order(self, i: int) -> int:
        """The highest order for step i: low orders at the end of a short run keep it stable."""
        short = self._options["lower_order_final"] and len(self.timesteps) < 15
        return min(len(self.timesteps) - i, 3) if short else 3

    def _convert(self, model_output: Array, sample: Array, level: float) -> Array:
        """ε, from x₀ if that is thresholded."""
        alpha, sigma = self.schedule.alpha_sigma(level)
        if self._options["thresholding"]:
            return (sample - alpha * self._clip(self.schedule.original(model_output, sample, alpha, sigma))) / sigma
        return self.schedule.epsilon(model_output, sample, alpha, sigma)

    def _weights(self, i: int, order: int) -> list[float]:
        """∫dς from ς_i to ς_(i+1), ς = σ/α, of each Lagrange polynomial in log ς over ς_i, ς_(i-1), …"""
        ratios = [self.schedule.ratio(level) for level in self._sigmas[i - order + 1 : i + 2]]
        start, end = ratios[-2:]
        if start == end:
            return [0.0] * order
        # With u = log(σ/σ_i): σ_i ∫ p(u) eᵘ du, whose antiderivative is eᵘ (p - p′ + p″).
        nodes = [math.log(node / start) for node in ratios[-2::-1]]
        last = math.log(end / start)
        weights = []
        for node in nodes:
            others = [other for other in nodes if other != node]
            p = np.poly1d(np.poly(others)) / np.prod([node - other for other in others])
            antiderivative = p - p.deriv() + p.deriv(2)
            weights.append(float(start * (math.exp(last) * antiderivative(last) - antiderivative(0))))
        return weights
