"""Weights as 8-bit integers with a scale per output channel."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Stored, Values
from .group_rounding import Floats, each_block

_AT_ONCE = 2**17
"""How many numbers to round at once: they stay in the processor's cache, and memory does not grow with the weight."""


def round_to_int8(weight: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``values`` and ``scale`` with ``weight ≈ values · scale``, the scale (out,) as small as each row (out, …) allows.

    The values are symmetric, from -127 to 127, so a product needs no correction for a zero point. Weights of 16 bits
    give the same as in float32.
    """
    rows = weight.reshape(weight.shape[0], -1)
    values, scale = np.empty(rows.shape, np.int8), np.empty(len(rows), np.float32)
    step = max(1, _AT_ONCE // max(1, rows.shape[1]))
    for begin in range(0, len(rows), step):
        some = slice(begin, begin + step)
        part = rows[some].astype(np.float32, copy=False)
        largest = np.maximum(part.max(axis=1), -part.min(axis=1))
        scale[some] = np.maximum(largest, np.finfo(np.float32).tiny * 127) / np.float32(127)
        levels = part / scale[some, None]
        values[some] = np.rint(levels, out=levels)
    return values.reshape(weight.shape), scale


def round_stored_to_int8(weight: Stored, origin: str) -> tuple[NDArray[np.int8], Values]:
    """As `round_to_int8`, a block of rows at a time on one thread per core.

    Raises:
        ValueError: a number is NaN or infinite; the message begins with ``origin``, the weight and its file.
    """
    values, scale = np.empty(weight.shape, np.int8), np.empty(weight.shape[0], np.float32)

    def fill(rows: slice, block: Floats) -> None:
        with np.errstate(invalid="ignore"):  # checked for NaN afterwards
            values[rows], scale[rows] = round_to_int8(block)

    each_block(weight, fill)
    if not np.isfinite(scale).all():
        raise ValueError(f"{origin} has values that are NaN or infinite; fetch it again, or take another file")
    return values, scale
