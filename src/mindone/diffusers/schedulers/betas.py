"""Noise schedules: how much noise the training process had added at each of its timesteps.

The tables are float32 because the published checkpoints were trained and sampled with float32 tables; everything
computed from them afterwards is float64.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ..utils.printable import shown
from .arrays import Numbers

SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "exp", "sigmoid")

# The smallest positive float16: as ᾱ of the last timestep it keeps σ finite where the schedule has no signal left.
SMALLEST_ALPHA = 2.0**-24


def beta_table(config: Mapping[str, Any]) -> Numbers:
    """The training process's β, float32 ``(num_train_timesteps,)``, each in (0, 1).

    ``linear`` is DDPM's schedule (Ho et al. 2020, section 4), ``scaled_linear`` that of the latent diffusion models
    (linear in √β), ``squaredcos_cap_v2`` the cosine schedule (Nichol & Dhariwal 2021, eq. 17), ``exp`` the same with
    ᾱ = exp(-12 t), ``sigmoid`` GeoDiff's. ``trained_betas`` replaces all of them.

    Raises:
        ValueError: an unknown ``beta_schedule``, or ``trained_betas`` other than ``num_train_timesteps`` numbers
            between 0 and 1.
    """
    steps, name = config["num_train_timesteps"], config["beta_schedule"]
    start, end = config["beta_start"], config["beta_end"]
    if config["trained_betas"] is not None:
        return _checked(config["trained_betas"], steps)
    if name == "linear":
        return _linspace(start, end, steps)
    if name == "scaled_linear":
        roots = _linspace(start**0.5, end**0.5, steps)
        return roots * roots
    if name == "squaredcos_cap_v2":
        return _betas_of(lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2, steps)
    if name == "exp":
        return _betas_of(lambda t: math.exp(-12.0 * t), steps)
    if name == "sigmoid":
        logits = _linspace(-6, 6, steps).astype(np.float64)
        return np.asarray((end - start) / (1 + np.exp(-logits)) + start, np.float32)
    raise ValueError(f"unknown beta_schedule {shown(name)}; choose {', '.join(SCHEDULES)}, or give trained_betas")


def _checked(trained: object, steps: int) -> Numbers:
    try:
        betas = np.asarray(trained, np.float32)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("trained_betas must be a list of numbers") from None
    if betas.shape != (steps,):
        raise ValueError(
            f"trained_betas must be {steps} numbers, one per training timestep (num_train_timesteps), "
            f"got shape {betas.shape}"
        )
    if not ((betas > 0) & (betas < 1)).all():
        raise ValueError(f"trained_betas must be between 0 and 1, got {betas.min():g} to {betas.max():g}")
    return betas


def training_betas(config: Mapping[str, Any]) -> Numbers:
    """β as sampling uses them, float32 ``(num_train_timesteps,)``: those of ``beta_table``, rescaled if so configured.

    With ``rescale_betas_zero_snr`` the last one is exactly 1 (Lin et al. 2023, "Common Diffusion Noise Schedules and
    Sample Steps are Flawed", algorithm 1).
    """
    betas = beta_table(config)
    return _zero_terminal_snr(betas) if config.get("rescale_betas_zero_snr") else betas


def running_product(alphas: Numbers) -> Numbers:
    """ᾱ of every training timestep, float32, falling from almost 1 towards 0."""
    return np.cumprod(alphas, dtype=np.float64).astype(np.float32)


def _linspace(start: float, end: float, steps: int) -> Numbers:
    # Each half is counted from its own end with a float32 step, as the checkpoints' tables were;
    # np.linspace differs in the last bit, enough to move a timestep that is truncated to an integer.
    first, last = np.float64(np.float32(start)), np.float64(np.float32(end))
    step = np.float64(np.float32((np.float32(end) - np.float32(start)) / np.float32(max(steps - 1, 1))))
    i = np.arange(steps)
    return np.where(i < steps // 2, first + step * i, last - step * (steps - 1 - i)).astype(np.float32)


def _betas_of(alpha_bar: Callable[[float], float], steps: int) -> Numbers:
    """β_t = 1 - ᾱ(t+1)/ᾱ(t), at most 0.999 so that the last step stays finite."""
    bars = [alpha_bar(i / steps) for i in range(steps + 1)]
    return np.array([min(1 - after / before, 0.999) for before, after in pairwise(bars)], np.float32)


def _zero_terminal_snr(betas: Numbers) -> Numbers:
    """Shift √ᾱ so that it ends at 0 and scale it so that it still starts where it did."""
    roots = np.sqrt(running_product(np.float32(1) - betas))
    first, last = roots[0], roots[-1]
    bars = np.square((roots - last) * (first / (first - last)))
    return np.asarray(np.float32(1) - np.concatenate([bars[:1], bars[1:] / bars[:-1]]))
