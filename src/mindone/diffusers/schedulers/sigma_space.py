"""Schedulers that integrate over the noise level σ = √((1-ᾱ)/ᾱ): what the two families of them share.

Their run is a list of ``sigmas``, one more than the steps; step i goes from ``sigmas[i]`` to ``sigmas[i + 1]``.
"""

import math
from collections.abc import Sequence

import numpy as np

from .arrays import Array, per_image
from .base import Scheduler, Timestep
from .betas import SMALLEST_ALPHA
from .options import NOISE_SCHEDULE, SIGMA_SPACING, SPACING, THRESHOLDING, Options, fields
from .spacing import (
    FINAL_SIGMAS,
    SIGMA_SPACINGS,
    sigma_spacing,
    sigma_table,
    sigma_to_timestep,
    spaced_sigmas,
    spaced_timesteps,
)

# Flow matching models are none of Stable Diffusion 1, 2 and XL, so their sampling is refused.
FLOW: Options = {
    "use_flow_sigmas": False,
    "flow_shift": 1.0,
    "use_dynamic_shifting": False,
    "time_shift_type": "exponential",
}
FLOW_CHOICES = fields(use_flow_sigmas=(False, None), use_dynamic_shifting=(False, None))
# What DPM-Solver and UniPC share.
MULTISTEP = fields(
    NOISE_SCHEDULE,
    SPACING,
    SIGMA_SPACING,
    THRESHOLDING,
    FLOW,
    solver_order=2,
    lower_order_final=True,
    final_sigmas_type="zero",
    rescale_betas_zero_snr=False,
)
MULTISTEP_CHOICES = fields(FLOW_CHOICES, final_sigmas_type=FINAL_SIGMAS)


class SigmaSpace(Scheduler):
    """The table of noise levels and the run through it."""

    def _prepare(self) -> None:
        if self._options.get("rescale_betas_zero_snr"):
            self.alphas_cumprod[-1] = SMALLEST_ALPHA
        self._table = sigma_table(self.alphas_cumprod)
        self._log_table = np.log(self._table)
        self._set_sigmas(self._table[::-1])

    def _set_sigmas(self, sigmas: np.ndarray, final: float | None = 0.0) -> None:
        """Take the noise levels of a run, float32 as published, and go on to ``final`` after them."""
        self.sigmas = np.append(sigmas, [] if final is None else [final]).astype(np.float32)
        self._sigmas: list[float] = self.sigmas.tolist()

    def _final_sigma(self) -> float:
        """Where the run ends: clean, or at the lowest noise level of training."""
        return self._table[0] if self._options.get("final_sigmas_type") == "sigma_min" else 0.0

    def _sigmas_at(self, timesteps: np.ndarray) -> np.ndarray:
        """σ at fractional timesteps, interpolated linearly."""
        return np.interp(timesteps, np.arange(len(self._table)), self._table)

    def _sigmas_of(self, timesteps: Sequence[float] | np.ndarray, like: Array) -> list[float]:
        return [self._sigmas[self.index_for_timestep(timestep)] for timestep in np.atleast_1d(timesteps)]


class VarianceExploding(SigmaSpace):
    """Schedulers in the coordinates of Karras et al. 2022 (arXiv 2206.00364), x = x₀ + σ ε: Euler, Heun, DPM2 and LMS.

    The model was trained on x / √(σ² + 1), so ``scale_model_input`` must be called before the model is.
    ``timesteps`` are float32 and may lie between whole ones.
    """

    needs_set_timesteps = False

    def _prepare(self) -> None:
        super()._prepare()
        for name in SIGMA_SPACINGS:
            if name in self._options:
                setattr(self, name, self._options[name])

    @property
    def init_noise_sigma(self) -> float:
        """The largest σ; with leading spacing √(σ² + 1), as those runs do not begin at the noisiest timestep."""
        largest = max(self._sigmas)
        exact = self._options["timestep_spacing"] in ("linspace", "trailing")
        return largest if exact else math.sqrt(largest**2 + 1)

    def _layout(self, steps: int) -> np.ndarray:
        options = self._options
        timesteps = spaced_timesteps(options, steps).astype(np.float32)
        sigmas = self._interpolated(timesteps)
        if sigma_spacing(options):
            sigmas = spaced_sigmas(options, float(sigmas[-1]), float(sigmas[0]), steps)
            timesteps = self._timesteps_of(sigmas)
        return self._run(timesteps, sigmas)

    def _layout_at(self, timesteps: np.ndarray) -> np.ndarray:
        timesteps = timesteps.astype(np.float32)
        return self._run(timesteps, self._interpolated(timesteps))

    def _interpolated(self, timesteps: np.ndarray) -> np.ndarray:
        return self._sigmas_at(timesteps)

    def _timesteps_of(self, sigmas: np.ndarray) -> np.ndarray:
        return sigma_to_timestep(sigmas, self._log_table)

    def _run(self, timesteps: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
        self._set_sigmas(sigmas, self._final_sigma())
        return timesteps.astype(np.float32)

    def scale_model_input(self, sample: Array, timestep: Timestep = None) -> Array:
        """x / √(σ² + 1), of unit variance, which is what the model was trained on."""
        return sample * self._alpha(self._level(self._index(timestep)))

    def _level(self, i: int) -> float:
        """σ of the sample that the model sees at ``timesteps[i]``."""
        return self._sigmas[i]

    @staticmethod
    def _alpha(sigma: float) -> float:
        return 1 / math.sqrt(sigma**2 + 1)

    def _denoised(self, model_output: Array, sample: Array, sigma: float) -> Array:
        """x₀ from the model's output at x = x₀ + σ ε."""
        if self._options["prediction_type"] == "epsilon":
            return sample - sigma * model_output
        alpha = self._alpha(sigma)
        return self._predict_original(model_output, sample * alpha, alpha, sigma * alpha)

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        return self._clip(self._denoised(model_output, sample, self._level(self._current_index(timestep))))

    def add_noise(self, original_samples: Array, noise: Array, timesteps: Sequence[float] | np.ndarray) -> Array:
        """x₀ + σ ε, with one element of ``timesteps`` or one per image."""
        return original_samples + per_image(self._sigmas_of(timesteps, noise), noise) * noise


class ExponentialIntegrator(SigmaSpace):
    """Solvers over λ = log(α/σ) in the model's own coordinates: DPM-Solver, DEIS and UniPC.

    ``timesteps`` are whole numbers. With ς the run's noise level, α = 1/√(ς² + 1), σ = ς α and λ = -log ς.
    """

    def _whole_timesteps(self, steps: int, last: int | None = None) -> np.ndarray:
        return spaced_timesteps(self._options, steps, drop_last=True, last=last).round().astype(np.int64)

    def _spaced_run(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Fractional timesteps and noise levels from the table's top to its bottom, as ``use_…_sigmas`` spaces them."""
        sigmas = spaced_sigmas(self._options, float(self._table[0]), float(self._table[-1]), steps)
        timesteps = sigma_to_timestep(sigmas, self._log_table)
        # Whole timesteps are what the others are cut off to.
        return (timesteps.round() if self._rounds_timesteps else timesteps), sigmas

    @property
    def _rounds_timesteps(self) -> bool:
        return bool(self._options["use_karras_sigmas"])

    def _prepare(self) -> None:
        super()._prepare()
        self.alpha_t = np.sqrt(self.alphas_cumprod)
        self.sigma_t = np.sqrt(np.float32(1) - self.alphas_cumprod)
        self.lambda_t = np.log(self.alpha_t) - np.log(self.sigma_t)

    _outputs: list[Array]  # what the solver integrated so far, the latest first

    @property
    def lower_order_nums(self) -> int:
        """How many of the last timesteps the solver remembers, up to its order."""
        return len(self._outputs)

    @property
    def model_outputs(self) -> list[Array | None]:
        """What the solver integrates at the last timesteps, the latest last; None for those that it has not seen."""
        unseen = int(self._options["solver_order"]) - len(self._outputs)
        return [*[None] * unseen, *reversed(self._outputs)]

    @model_outputs.setter
    def model_outputs(self, outputs: Sequence[Array | None]) -> None:
        self._outputs = [output for output in reversed(outputs) if output is not None]

    def convert_model_output(self, model_output: Array, sample: Array) -> Array:
        """What the solver integrates, from what the model predicts at the next step of the run.

        Raises:
            ValueError: the run has not begun; step or ``set_begin_index`` begin it.
        """
        at = self._begin_index if self._step_index is None else self._step_index
        if at is None:
            raise ValueError("the run has not begun: call set_begin_index before convert_model_output")
        return self._convert(model_output, sample, self._sigmas[at])

    def _convert(self, model_output: Array, sample: Array, level: float) -> Array:
        """What the solver integrates, at a noise level: x₀ or ε."""
        raise NotImplementedError

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        level = self._sigmas[self._current_index(timestep)]
        return self._clip(self._predict_original(model_output, sample, *self._alpha_sigma(level)))

    @staticmethod
    def _alpha_sigma(level: float) -> tuple[float, float]:
        alpha = 1 / math.sqrt(level**2 + 1)
        return alpha, level * alpha

    @staticmethod
    def _log_snr_step(before: float, after: float) -> float:
        """h = λ(after) - λ(before); infinite when it ends clean."""
        return math.log(before / after) if after > 0 else math.inf

    def add_noise(self, original_samples: Array, noise: Array, timesteps: Sequence[float] | np.ndarray) -> Array:
        """α x₀ + σ ε, with one element of ``timesteps`` or one per image."""
        pairs = [self._alpha_sigma(level) for level in self._sigmas_of(timesteps, noise)]
        alpha, sigma = (per_image([pair[i] for pair in pairs], noise) for i in (0, 1))
        return alpha * original_samples + sigma * noise
