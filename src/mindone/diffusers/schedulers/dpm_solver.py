"""DPM-Solver (Lu et al. 2022, arXiv 2206.00927) and DPM-Solver++ (arXiv 2211.01095): the multistep variants."""

import math

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers, combination, given_or_drawn
from .base import Timestep
from .options import fields
from .output import SchedulerOutput, Stepped
from .schedules import FlowSchedule
from .sigma_space import MULTISTEP, MULTISTEP_CHOICES, ExponentialIntegrator
from .spacing import sigma_spacing

SOLVER_TYPES = ("midpoint", "heun")
VARIANCE_TYPES = (None, "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")


class DPMSolver(ExponentialIntegrator):
    """Solves the linear part of the trajectory exactly, and the model's part by a Taylor series in λ.

    ``dpmsolver++`` integrates the predicted x₀, ``dpmsolver`` the predicted ε; their ``sde-`` variants add noise.
    """

    aliases = fields(
        algorithm_type={"deis": "dpmsolver++"},
        solver_type=dict.fromkeys(("logrho", "bh1", "bh2"), "midpoint"),
    )
    takes = ("timesteps",)

    @property
    def draws_noise(self) -> bool:
        return str(self._options["algorithm_type"]).startswith("sde")

    def _check(self) -> None:
        super()._check()
        kind = self._options["algorithm_type"]
        if not kind.endswith("++") and self._options["final_sigmas_type"] == "zero":
            raise ValueError(f"algorithm_type {kind!r} cannot end at σ = 0; set final_sigmas_type to 'sigma_min'")

    def _whole_timesteps(self, steps: int, last: int | None = None) -> Numbers:
        # The cosine schedule's first λ lie so far apart that lambda_min_clipped skips them.
        half_log_snr = -self._discrete.log_sigmas[::-1]
        clipped = int(np.searchsorted(half_log_snr, np.float32(self._options["lambda_min_clipped"])))
        return super()._whole_timesteps(steps, last=self._options["num_train_timesteps"] - clipped)

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        if isinstance(self.schedule, FlowSchedule):
            raise ValueError("custom timesteps cannot be used with use_flow_sigmas; give num_inference_steps")
        return self._run(timesteps, self._discrete.sigmas_at(timesteps.astype(np.int64)))

    def _lowest(self, sigmas: Numbers) -> float:
        return float(sigmas[-1] if isinstance(self.schedule, FlowSchedule) else self._discrete.sigmas[0])

    def _convert(self, model_output: Array, sample: Array, level: float) -> Array:
        """x₀ for the ++ variants, ε for the others."""
        alpha, sigma = self.schedule.alpha_sigma(level)
        if self._options["algorithm_type"].endswith("++"):
            return self._clip(self.schedule.original(model_output, sample, alpha, sigma))
        epsilon = self.schedule.epsilon(model_output, sample, alpha, sigma)
        if self._options["thresholding"]:
            return (sample - alpha * self._clip((sample - sigma * epsilon) / alpha)) / sigma
        return epsilon

    def _weights(self, order: int, before: float, after: float) -> tuple[float, list[float], float]:
        """The factors of x, of D₀, D₁, D₂ and of the noise in a step between two noise levels."""
        (alpha_s, sigma_s), (alpha_t, sigma_t) = self.schedule.alpha_sigma(before), self.schedule.alpha_sigma(after)
        h, kind = self._log_snr_step(before, after), self._options["algorithm_type"]
        taylor = order == 3 or self._options["solver_type"] == "heun"
        if h == 0:
            return 1.0, [0.0], 0.0
        if kind == "dpmsolver++":  # arXiv 2211.01095, algorithm 2
            phi = -math.expm1(-h)
            first = alpha_t * (1 - phi / h) if taylor else 0.5 * alpha_t * phi
            return sigma_t / sigma_s, [alpha_t * phi, first, alpha_t * ((phi - h) / h**2 + 0.5)], 0.0
        if kind == "sde-dpmsolver++":  # the same for the reverse SDE, section 3.4 of its later version
            phi = -math.expm1(-2 * h)
            first = alpha_t * (1 - phi / (2 * h)) if taylor else 0.5 * alpha_t * phi
            # The -1/2 is the published sampler's; the series has +1/2 here.
            second = alpha_t * ((phi - 2 * h) / (2 * h) ** 2 - 0.5)
            return sigma_t / sigma_s * math.exp(-h), [alpha_t * phi, first, second], sigma_t * math.sqrt(phi)
        phi = math.expm1(h)  # arXiv 2206.00927, eq. 3.7 and appendix B
        first = -sigma_t * (phi / h - 1) if taylor else -0.5 * sigma_t * phi
        weights = [-sigma_t * phi, first, -sigma_t * ((phi - h) / h**2 - 0.5)]
        if kind == "dpmsolver":
            return alpha_t / alpha_s, weights, 0.0
        return alpha_t / alpha_s, [2 * weight for weight in weights], sigma_t * math.sqrt(math.expm1(2 * h))


class DPMSolverMultistepScheduler(DPMSolver):
    """The multistep variants: the series' derivatives come from the model's outputs at earlier timesteps."""

    defaults = fields(
        MULTISTEP,
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        euler_at_final=False,
        use_lu_lambdas=False,
        lambda_min_clipped=-math.inf,
        variance_type=None,
    )
    choices = fields(
        MULTISTEP_CHOICES,
        solver_order=(1, 2, 3),
        algorithm_type=("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"),
        solver_type=SOLVER_TYPES,
        variance_type=VARIANCE_TYPES,
    )

    def _check(self) -> None:
        super()._check()
        if self._options["algorithm_type"] == "sde-dpmsolver" and self._options["solver_order"] == 3:
            raise ValueError("algorithm_type 'sde-dpmsolver' has no solver_order 3; use 1 or 2, or 'sde-dpmsolver++'")
        if self._options["use_lu_lambdas"] and sigma_spacing(self._options):
            raise ValueError(f"use_lu_lambdas cannot be used with {sigma_spacing(self._options)}; turn one of them off")

    @property
    def _is_spaced(self) -> bool:
        return super()._is_spaced or bool(self._options["use_lu_lambdas"])

    @property
    def _rounds_timesteps(self) -> bool:
        options = self._options
        whole = options["use_lu_lambdas"] or options["use_karras_sigmas"]
        return bool(whole) and options["beta_schedule"] != "squaredcos_cap_v2"

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        if self._options["use_lu_lambdas"]:
            raise ValueError("custom timesteps cannot be used with use_lu_lambdas; turn it off")
        return super()._layout_at(timesteps)

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        generator: Generators = None,
        variance_noise: Array | None = None,
        return_dict: bool = True,
    ) -> Stepped:
        """One step.

        Args:
            model_output, timestep, sample, generator, return_dict: as in ``Scheduler.step``.
            variance_noise: the noise itself for the ``sde-`` variants, instead of a generator.
        """
        return self._advance(model_output, timestep, sample, return_dict, generator, variance_noise)

    def _step(
        self, i: int, model_output: Array, sample: Array, generator: Generators, variance_noise: Array | None
    ) -> SchedulerOutput:
        """From one timestep to the next."""
        options = self._options
        m = self._convert(model_output, sample, self._sigmas[i])
        self._remember(m)
        order = min(len(self._outputs), self._allowed_order(i))
        x_weight, d_weights, noise_weight = self._weights(order, self._sigmas[i], self._sigmas[i + 1])
        x = combination([x_weight, *d_weights], [sample, *self._differences(i, order)])
        if options["algorithm_type"].startswith("sde"):
            x = x + noise_weight * given_or_drawn(variance_noise, model_output, generator)
        return SchedulerOutput(x, m if options["algorithm_type"].endswith("++") else None)

    def _allowed_order(self, i: int) -> int:
        """The highest order for step i: low orders at the end of a short run keep it stable."""
        options, left = self._options, len(self.timesteps) - i
        short = options["lower_order_final"] and len(self.timesteps) < 15
        if left == 1 and (short or options["euler_at_final"] or options["final_sigmas_type"] == "zero"):
            return 1
        return 2 if left == 2 and short else 3

    def _differences(self, i: int, order: int) -> list[Array]:
        """D₀, D₁, D₂: the integrand and its divided differences over λ, in units of this step's h."""
        m = self._outputs
        if order == 1:
            return m[:1]
        h = self._log_snr_step(self._sigmas[i], self._sigmas[i + 1])
        if h == 0:
            return m[:1]
        r0 = self._log_snr_step(self._sigmas[i - 1], self._sigmas[i]) / h
        d1 = (m[0] - m[1]) / r0
        if order == 2:
            return [m[0], d1]
        r1 = self._log_snr_step(self._sigmas[i - 2], self._sigmas[i - 1]) / h
        d1_before = (m[1] - m[2]) / r1
        d2 = (d1 - d1_before) / (r0 + r1)
        return [m[0], d1 + r0 * d2, d2]
