"""Rounds weights to 4 or 8 bits; each group of neighbours in a row has a scale, in 4 bits also a zero point."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..utils.machine import usable_cores
from .base import Stored, Values, is_mapped

Floats: TypeAlias = NDArray[np.float32]

_AT_ONCE = 2**16
"""How many numbers to round at once: all their intermediate values stay in a core's cache."""
_BLOCK = 2**20
"""How many numbers a thread reads at once: the float32 memory does not grow with the weight."""
_PARTS = (1.0, 0.93, 0.86)
"""The fractions of a group's range to try: cutting off outliers makes the steps finer for all others."""
_ENDS = (-8.0, -7.4, -8.6)
"""The levels to try for a group's largest number if there is no zero point; beyond -8 it is cut off."""


class Groups(NamedTuple):
    """A weight (out, inputs) in groups along its rows: ``(integers - zero_point) · scale``."""

    packed: NDArray[np.int8] | NDArray[np.uint8]
    """8 bits: (out, groups, size) int8. 4 bits: (out, groups, size // 2) uint8, two integers in a byte, the first in
    its low half; they are signed if there is no zero point."""
    scale: Values
    """(out, groups, 1): float32 for 8 bits, float16 for 4."""
    zero_point: NDArray[np.float16] | None
    """(out, groups, 1), not whole numbers; None means zero."""


def round_to_groups(weight: Stored, origin: str, size: int, bits: int, symmetric: bool = False) -> Groups:
    """Round a weight with a small squared error, without knowing its inputs.

    8 bits: integers from -127 to 127, and the smallest scale that a group allows. 4 bits: it tries several ranges for a
    group, takes the one with the best fit and that fit's least-squares scale and zero point, and rounds the numbers
    again with those.

    Args:
        weight: (out, inputs), or that of a 1×1 convolution (out, inputs, 1, 1).
        origin: the weight and its file, for messages.
        size: the size of a group; even, and a divisor of the inputs.
        bits: 4 or 8.
        symmetric: 4 bits without a zero point. 8 bits never have one.

    Raises:
        ValueError: a number is NaN, infinite, or too large for a float16 scale.
    """
    outs, inputs = weight.shape[:2]
    shape = (outs, inputs // size)
    packed: Values = np.empty((*shape, size), np.int8) if bits == 8 else np.empty((*shape, size // 2), np.uint8)
    scale: Values = np.empty((*shape, 1), np.float32 if bits == 8 else np.float16)
    zero_point = np.empty((*shape, 1), np.float16) if bits == 4 and not symmetric else None
    pack = _bytes if bits == 8 else _signed if zero_point is None else _with_zero_point
    few = max(1, _AT_ONCE // size)

    def fill(rows: slice, values: Floats) -> None:
        groups = values.reshape(-1, size)
        into = [each[rows].reshape(len(groups), -1) for each in (packed, scale, zero_point) if each is not None]
        for begin in range(0, len(groups), few):
            some = slice(begin, begin + few)
            # One group per column: then each operation runs along memory, over many groups at once.
            for target, part in zip(into, pack(np.ascontiguousarray(groups[some].T))):
                target[some] = part.T

    each_block(weight, fill)
    if not all(np.isfinite(each).all() for each in (scale, zero_point) if each is not None):
        raise ValueError(
            f"{origin} has values that are NaN, infinite or too large; fetch it again, or take another file"
        )
    return Groups(packed, scale, zero_point)


def each_block(weight: Stored, use: Callable[[slice, Floats], None]) -> None:
    """Call ``use`` for blocks of rows of a weight, in float32, on one thread per core.

    Memory holds one float32 block per core, if the weight can be read by ``rows``.
    """
    rows = getattr(weight, "rows", None)
    whole = weight.numpy(np.float32) if rows is None else np.zeros(0, np.float32)
    count = weight.shape[0]
    step = max(1, _BLOCK * count // max(1, int(np.prod(weight.shape))))

    def work(begin: int) -> None:
        some = slice(begin, min(begin + step, count))
        use(some, whole[some] if rows is None else _read(rows(some.start, some.stop)))

    with ThreadPoolExecutor(usable_cores()) as threads:
        for _ in threads.map(work, range(0, count, step)):
            pass


def _read(values: Stored) -> Floats:
    """Values in float32; float16 is converted by its bits, in a quarter of NumPy's time."""
    if not (is_mapped(values) and values.dtype == "F16"):
        return np.asarray(values.numpy(np.float32))
    bits: Values = values.data.view("<u2").astype(np.uint32)
    signs = bits & 0x8000
    signs <<= 16
    bits &= 0x7FFF
    bits <<= 13
    wide: Floats = bits.view(np.float32)
    wide *= np.float32(2**112)  # the exponents of the two types differ by this
    wide[wide >= 2**16] = np.nan  # beyond float16's finite numbers
    bits |= signs
    return wide.reshape(values.shape)


# ---- a group in each column of (size, groups): packed integers, scale, zero point, by column ---------------------


def _bytes(x: Floats) -> tuple[Values, ...]:
    scale = np.maximum(x.max(0), -x.min(0)) / np.float32(127)
    x *= _inverse(scale)
    with np.errstate(invalid="ignore"):  # checked for NaN afterwards
        return np.rint(x, out=x).astype(np.int8), scale[None]


def _signed(x: Floats) -> tuple[Values, ...]:
    least, most = x.min(0), x.max(0)
    extreme = np.where(-least > most, least, most)
    best, scale, levels = np.full_like(extreme, -1), extreme / -8, np.empty_like(x)
    for end in _ENDS:
        np.multiply(x, end * _inverse(extreme), out=levels)
        _round(levels, -8, 7)
        products = _dots(levels, x)
        ratio = products * _inverse(_dots(levels, levels))  # least squares
        better = ratio * products > best
        best, scale = np.where(better, ratio * products, best), np.where(better, ratio, scale)
    half = _half(scale)
    x *= _inverse(half)
    with np.errstate(invalid="ignore"):
        return _nibbles(_round(x, -8, 7).astype(np.int8).view(np.uint8) & 15), half[None]


def _with_zero_point(x: Floats) -> tuple[Values, ...]:
    count = len(x)
    low, high, mean = np.minimum(x.min(0), 0), np.maximum(x.max(0), 0), x.mean(0)
    best, scale, levels = np.full_like(mean, -1), (high - low) / 15, np.empty_like(x)
    zero_point = -low * _inverse(scale)
    for part in _PARTS:
        inverse = _inverse((high - low) * np.float32(part / 15))
        np.multiply(x, inverse, out=levels)
        levels -= low * part * inverse
        _round(levels, 0, 15)
        middle = levels.mean(0)
        # Least squares: the slope and the intercept of the numbers over their levels.
        products = _dots(levels, x) - count * middle * mean
        ratio = products * _inverse(_dots(levels, levels) - count * middle**2)
        better = ratio * products > best
        best, scale = np.where(better, ratio * products, best), np.where(better, ratio, scale)
        zero_point = np.where(better, middle - mean * _inverse(ratio), zero_point)
    half, zero = _half(scale), _half(zero_point)
    x *= _inverse(half)
    x += zero
    with np.errstate(invalid="ignore"):
        return _nibbles(_round(x, 0, 15).astype(np.uint8)), half[None], zero[None]


def _round(x: Floats, least: int, most: int) -> Floats:
    """To the nearest levels, in its own memory."""
    # A row of bounds: NumPy compares with it in half the time of a single number.
    lower, upper = (np.full(x.shape[1], bound, np.float32) for bound in (least, most))
    np.rint(x, out=x)
    np.minimum(x, upper, out=x)
    return np.maximum(x, lower, out=x)


def _inverse(x: Floats) -> Floats:
    """1 / x, and 0 for 0: groups may be all zeros."""
    return np.divide(np.float32(1), x, out=np.zeros_like(x), where=x != 0)


def _dots(x: Floats, y: Floats) -> Floats:
    """The dot product of each pair of columns."""
    products: Floats = np.einsum("ij,ij->j", x, y)
    return products


def _half(x: Floats) -> Floats:
    """Rounded to float16; too large values become infinite, and are checked for afterwards."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(np.float32)


def _nibbles(levels: Values) -> Values:
    """Two neighbours of a group per byte, the first in its lower half."""
    packed = levels[1::2] << 4
    packed |= levels[0::2]
    return packed
