"""The options of schedulers: groups of config fields that several share, and the check of their values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..utils.printable import shown
from . import spacing

Options = Mapping[str, Any]
"""Config fields by name; their values come from JSON."""

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")

# The shared groups, with their published defaults.
NOISE_SCHEDULE: Options = {
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
SPACING: Options = {"timestep_spacing": "linspace", "steps_offset": 0}
SIGMA_SPACING: Options = dict.fromkeys(spacing.SIGMA_SPACINGS, False)
THRESHOLDING: Options = {"thresholding": False, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0}
CLIPPING: Options = {"clip_sample_range": 1.0, **THRESHOLDING}

EVERYWHERE: Options = {"rescale_betas_zero_snr": False, "sigma_min": None, "sigma_max": None}
"""Options that a checkpoint's config may set for every scheduler of a discrete noise schedule, published there or not.

Only some published classes have ``rescale_betas_zero_snr``; the others would sample a noise schedule other than the
network's. ``sigma_min`` and ``sigma_max`` bound the ``use_…_sigmas`` of every class that has these.
"""

CHOICES: Mapping[str, Sequence[object]] = {
    "prediction_type": PREDICTION_TYPES,
    "timestep_spacing": spacing.SPACINGS,
}
"""The values that an option may have, in every scheduler that has it."""

RANGES: Mapping[str, tuple[float, float]] = {
    "num_train_timesteps": (1, 1_000_000),
    "beta_start": (1e-12, 0.9999),
    "beta_end": (1e-12, 0.9999),
    "steps_offset": (0, 1_000_000),
    "dynamic_thresholding_ratio": (0, 1),
    "sample_max_value": (1e-12, math.inf),
    "clip_sample_range": (1e-12, math.inf),
    "original_inference_steps": (1, 1_000_000),
    "timestep_scaling": (1e-12, 1e9),
    "sigma_min": (1e-12, 1e9),
    "sigma_max": (1e-12, 1e9),
    "sigma_data": (1e-6, 1e6),
    "rho": (0.1, 100),
    "lambda_min_clipped": (-math.inf, math.inf),
    "solver_order": (1, 10),
    "shift": (1e-6, 1e6),
    "flow_shift": (1e-6, 1e6),
    "shift_terminal": (1e-6, 1 - 1e-6),
    "base_image_seq_len": (1, 1_000_000_000),
    "max_image_seq_len": (1, 1_000_000_000),
}
"""The least and the largest value of a number, both included."""
_TOO_LARGE = 10**300
"""An integer too large for a float."""


def fields(*groups: Options, **own: object) -> Options:
    """Config fields with their defaults: shared groups, then a class's own, which win."""
    merged: dict[str, object] = {}
    for group in (*groups, own):
        merged |= group
    return MappingProxyType(merged)


def check(owner: str, options: Options, defaults: Options, choices: Mapping[str, Sequence[object]]) -> None:
    """Refuse option values of the wrong type or out of range.

    Args:
        owner: the class's name, for the message.
        options: the values.
        defaults: the published values; each option must have its default's type, and an int means a whole number.
        choices: what the class itself allows, in addition to ``CHOICES``.

    Raises:
        ValueError: names the option, its value and what is allowed.
    """
    allowed = {name: values for name, values in {**CHOICES, **choices}.items() if name in defaults}
    for name, default in defaults.items():
        value = options[name]
        if name in allowed:
            if not any(value is one or (type(value) is type(one) and value == one) for one in allowed[name]):
                listed = ", ".join(map(repr, allowed[name]))
                raise ValueError(f"{owner} takes {name} {listed}; got {shown(value)}")
        elif isinstance(default, bool):
            if not (value is None or isinstance(value, bool)):
                raise ValueError(f"{owner} takes {name} true or false; got {shown(value)}")
        elif isinstance(default, list):
            if not (isinstance(value, (list, tuple)) and all(type(each) is int for each in value)):
                raise ValueError(f"{owner} takes a list of whole numbers as {name}; got {shown(value)}")
        elif isinstance(default, (int, float)) or (name in RANGES and value is not None):
            _check_number(owner, name, value, whole=isinstance(default, int))
    spacing.sigma_spacing(options)
    low, high = options.get("sigma_min"), options.get("sigma_max")
    if low is not None and high is not None and low >= high:
        raise ValueError(f"{owner}: sigma_min must be below sigma_max, got {low:g} and {high:g}")


def _check_number(owner: str, name: str, value: object, whole: bool) -> None:
    low, high = RANGES.get(name, (-math.inf, math.inf))
    kind = int if whole else (int, float)
    if isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high:
        holds = isinstance(value, float) or -_TOO_LARGE < value < _TOO_LARGE
        if holds:
            return
    bounds = "" if low == -math.inf else f" of at least {low:g}" if high == math.inf else f" from {low:g} to {high:g}"
    if whole:
        raise ValueError(f"{owner}: {name} must be a whole number{bounds}, got {shown(value)}")
    raise ValueError(f"{owner} takes a number as {name}{bounds and ',' + bounds}; got {shown(value)}")
