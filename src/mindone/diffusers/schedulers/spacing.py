"""Which timesteps and noise levels a sampler visits: spacings of t, spacings of σ, and the map between the two.

σ here is always the noise level of Karras et al. 2022, σ = √((1 - ᾱ) / ᾱ), whatever a scheduler's paper calls σ.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import registry
from .arrays import Numbers

SPACINGS = ("linspace", "leading", "trailing")
FINAL_SIGMAS = ("zero", "sigma_min")
SIGMA_SPACINGS = tuple(f"use_{name}_sigmas" for name in registry.SIGMA_SPACINGS)


def spaced_timesteps(
    config: Mapping[str, Any], steps: int, *, drop_last: bool = False, last: int | None = None
) -> Numbers:
    """``steps`` descending timesteps, float64, among those of training: table 2 of Lin et al. 2023 (arXiv 2305.08891).

    Args:
        config: its ``timestep_spacing`` is ``linspace``, which visits both ends, ``leading``, which counts up from 0
            (plus ``steps_offset``), or ``trailing``, which counts down from the noisiest timestep.
        steps: how many.
        drop_last: lay out one step more and drop the cleanest, for solvers that go on to σ = 0 themselves.
            (``trailing`` never visits 0 and drops nothing.)
        last: start below this timestep rather than ``num_train_timesteps``; ``trailing`` then returns fewer timesteps.

    Raises:
        ValueError: more steps than timesteps to visit, or an offset that pushes the first one out of range.
    """
    spacing, offset, train_steps = config["timestep_spacing"], config["steps_offset"], config["num_train_timesteps"]
    last = train_steps if last is None else last
    drop_last = drop_last and spacing != "trailing"
    if steps + drop_last > last:
        raise ValueError(
            f"num_inference_steps must be at most {last - drop_last} for {spacing} spacing of {train_steps} training "
            f"timesteps, got {steps}"
        )
    if spacing == "trailing":
        # The slice cuts the extra element that np.arange makes when the ratio is not exact.
        return np.arange(last, 0, -train_steps / steps)[:steps].round() - 1
    total = steps + drop_last
    if spacing == "linspace":
        return np.linspace(0, last - 1, total)[::-1][:steps]
    timesteps = np.arange(total)[::-1][:steps] * (last // total) + float(offset)
    if timesteps[0] >= train_steps:
        raise ValueError(
            f"{steps} leading steps with steps_offset {offset} would start at timestep {timesteps[0]:.0f}, beyond the "
            f"last, {train_steps - 1}; use fewer steps or steps_offset 0"
        )
    return timesteps


def closing_in(first: float, last: int, steps: int, power: float = 1.25) -> Numbers:
    """``steps`` whole timesteps, float64, from ``first`` down to ``last``, closer together the nearer they are to it.

    Counted k steps back from the last one, a timestep is k timesteps above it, plus a share of the rest in proportion
    to k^power. The power 1.25 was picked on the bundled model, where 4 to 15 steps come 0.5 to 4 dB nearer to 100 steps
    than evenly spaced ones do; the gain is largest from 8 steps on. (Karras et al. 2022, eq. 5, have a power of σ.)
    """
    before = np.arange(steps)[::-1]
    return (last + before + (first - last - steps + 1) * (before / max(steps - 1, 1)) ** power).round()


def distilled_timesteps(steps: int, train_steps: int, original_steps: int, strength: float = 1.0) -> Numbers:
    """``steps`` descending int64 timesteps, chosen from the ``original_steps`` of a consistency model's distillation.

    Section 4.3 of Latent Consistency Models (Luo et al. 2023). ``strength`` below 1 skips the noisiest part.

    Raises:
        ValueError: more steps than the distillation had.
    """
    if not 1 <= original_steps <= train_steps:
        raise ValueError(f"original_inference_steps must be from 1 to {train_steps}, got {original_steps}")
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
    available = int(original_steps * strength)
    if steps > available:
        raise ValueError(
            f"num_inference_steps must be at most original_inference_steps x strength = {available}, got {steps}"
        )
    original = np.arange(available, 0, -1) * (train_steps // original_steps) - 1
    return pick_evenly(original, steps)


def pick_evenly(timesteps: Numbers, steps: int) -> Numbers:
    """``steps`` of the given timesteps at even distances, with the first and without the end."""
    picked: Numbers = timesteps[np.floor(np.linspace(0, len(timesteps), steps, endpoint=False)).astype(np.int64)]
    return picked


def sigma_table(alphas_cumprod: Numbers) -> Numbers:
    """σ = √((1 - ᾱ)/ᾱ) of every training timestep, ascending, float32."""
    sigmas: Numbers = np.sqrt((np.float32(1) - alphas_cumprod) / alphas_cumprod)
    return sigmas


def sigma_spacing(config: Mapping[str, Any]) -> str | None:
    """The one ``use_…_sigmas`` option that is on, or None.

    Raises:
        ValueError: more than one is on.
    """
    chosen = [name for name in SIGMA_SPACINGS if config.get(name)]
    if len(chosen) > 1:
        raise ValueError(f"only one spacing of σ can be used, got {' and '.join(chosen)}; turn the others off")
    return chosen[0] if chosen else None


def spaced_sigmas(config: Mapping[str, Any], sigma_min: float, sigma_max: float, steps: int) -> Numbers:
    """``steps`` noise levels from ``sigma_max`` down to ``sigma_min``, float64, spaced as the config says.

    Karras: evenly in σ^(1/7) (Karras et al. 2022, eq. 5); exponential: evenly in log σ; beta: at the quantiles of
    Beta(0.6, 0.6) ("Beta Sampling is All You Need", Lee et al. 2024). ``sigma_min`` and ``sigma_max`` in the config
    replace the arguments.
    """
    kind = sigma_spacing(config)
    low, high = config.get("sigma_min"), config.get("sigma_max")
    low, high = sigma_min if low is None else low, sigma_max if high is None else high
    if kind == "use_karras_sigmas":
        return karras_sigmas(low, high, steps)
    if kind == "use_beta_sigmas":
        from scipy.special import betaincinv  # MindSpore brings SciPy; only this option needs it

        quantiles: Numbers = betaincinv(0.6, 0.6, 1 - np.linspace(0, 1, steps))
        return low + quantiles * (high - low)
    return exponential_sigmas(low, high, steps)


def karras_sigmas(low: float, high: float, steps: int, rho: float = 7.0) -> Numbers:
    """``steps`` noise levels from ``high`` down to ``low`` evenly in σ^(1/ρ), float64."""
    sigmas: Numbers = np.linspace(high ** (1 / rho), low ** (1 / rho), steps) ** rho
    return sigmas


def exponential_sigmas(low: float, high: float, steps: int) -> Numbers:
    """``steps`` noise levels from ``high`` down to ``low`` evenly in log σ, float64."""
    sigmas: Numbers = np.exp(np.linspace(math.log(high), math.log(low), steps))
    return sigmas


def sigma_to_timestep(sigmas: Numbers, log_table: Numbers) -> Numbers:
    """The fractional timesteps at which the training process had these noise levels, float64.

    Args:
        sigmas: noise levels, any shape; those outside the table are mapped to its ends.
        log_table: log σ of every training timestep.
    """
    # At the table's own precision, so that a σ from the table finds exactly its own timestep. The published code does
    # this under NumPy 1; under NumPy 2 it mixes precisions, finds 998.99994 for the last timestep, and cuts it off.
    logs = np.log(np.maximum(sigmas, 1e-10)).astype(log_table.dtype)
    # The last entry that is no larger. Where zero terminal SNR shrinks a long linear schedule, the last entries fall.
    ascending = np.minimum.accumulate(log_table[::-1])[::-1]
    low = np.searchsorted(ascending, logs, side="right") - 1
    low = low.clip(0, len(log_table) - 2)
    weight = ((log_table[low] - logs) / (log_table[low] - log_table[low + 1])).clip(0, 1)
    timesteps: Numbers = (1 - weight) * low + weight * (low + 1)
    return timesteps


def log_sigma_label(sigmas: Numbers) -> Numbers:
    """c_noise = log(σ)/4, float32: the timestep for models in the EDM parametrization (Karras et al., table 1)."""
    labels: Numbers = (0.25 * np.log(sigmas)).astype(np.float32)
    return labels
