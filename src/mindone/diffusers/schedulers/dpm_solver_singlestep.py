"""DPM-Solver (Lu et al. 2022, arXiv 2206.00927) and DPM-Solver++ (arXiv 2211.01095): the singlestep variants."""

import math
from collections.abc import Sequence

from ..utils.arrays import Array
from .arrays import Generators, Numbers, combination, draw_noise
from .base import drawing_step
from .dpm_solver import SOLVER_TYPES, VARIANCE_TYPES, DPMSolver
from .options import NOISE_SCHEDULE, SIGMA_SPACING, THRESHOLDING, fields
from .output import SchedulerOutput
from .sigma_space import FLOW, MULTISTEP_CHOICES


class DPMSolverSinglestepScheduler(DPMSolver):
    """The timesteps come in groups of up to ``solver_order``; each order starts again from its group's beginning.

    In a group of three the first step has order one. The second starts where the first did and ends one timestep
    further, using the derivative of the two model outputs so far; the third does the same with three. No group needs
    the one before it.
    """

    defaults = fields(
        NOISE_SCHEDULE,
        SIGMA_SPACING,
        THRESHOLDING,
        FLOW,
        solver_order=2,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        lower_order_final=False,
        final_sigmas_type="zero",
        lambda_min_clipped=-math.inf,
        variance_type=None,
    )
    choices = fields(
        MULTISTEP_CHOICES,
        solver_order=(1, 2, 3),
        algorithm_type=("dpmsolver++", "dpmsolver", "sde-dpmsolver++"),
        solver_type=SOLVER_TYPES,
        variance_type=VARIANCE_TYPES,
    )

    def _prepare(self) -> None:
        super()._prepare()
        self.order_list = self.get_order_list(len(self))

    def get_order_list(self, num_inference_steps: int) -> Sequence[int]:
        """The order of each step: 1, 2, …, ``solver_order``, and again; the last is 1 where low orders end the run.

        A run that ends at σ = 0 ends with low orders whatever ``lower_order_final`` says.
        """
        steps, order = num_inference_steps, int(self._options["solver_order"])
        orders = [1 + i % order for i in range(steps)]
        whole = steps % order == 0
        if self._options["final_sigmas_type"] == "zero" or (self._options["lower_order_final"] and whole):
            orders[-1] = 1
        return orders

    def _run(self, timesteps: Numbers, sigmas: Numbers) -> Numbers:
        self.order_list = self.get_order_list(len(timesteps))
        return super()._run(timesteps, sigmas)

    def _reset(self) -> None:
        super()._reset()
        self.sample: Array | None = None  # where the group of steps began

    step = drawing_step

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From the group's beginning to the next timestep."""
        kind = self._options["algorithm_type"]
        m = self._convert(model_output, sample, self._sigmas[i])
        self._remember(m)
        order = min(self.order_list[i], len(self._outputs))
        if order == 1:
            self.sample = sample
        assert self.sample is not None  # a run's first step has order 1
        begin = self._sigmas[i - order + 1]
        x_weight, d_weights, noise_weight = self._weights(order, begin, self._sigmas[i + 1])
        x = combination([x_weight, *d_weights], [self.sample, *self._differences(i, order)])
        if kind.startswith("sde"):
            x = x + noise_weight * draw_noise(model_output, generator)
        return SchedulerOutput(x, m if kind.endswith("++") else None)

    def _differences(self, i: int, order: int) -> list[Array]:
        """D₀, D₁, D₂: the integrand at the group's beginning and its derivatives over λ, in units of the group's h."""
        m, sigmas = self._outputs[:order], self._sigmas[i - order + 1 : i + 2]
        if order == 1:
            return m
        first = m[-1]
        h = self._log_snr_step(sigmas[0], sigmas[-1])
        slopes = [
            (later - first) / (self._log_snr_step(sigmas[0], sigma) / h) for later, sigma in zip(m, sigmas[-2:0:-1])
        ]
        if order == 2 or self._options["solver_type"] == "midpoint":
            return [first, slopes[0]]
        r0, r1 = (self._log_snr_step(sigmas[0], sigma) / h for sigma in sigmas[2:0:-1])
        return [first, (r0 * slopes[1] - r1 * slopes[0]) / (r0 - r1), 2 * (slopes[0] - slopes[1]) / (r0 - r1)]
