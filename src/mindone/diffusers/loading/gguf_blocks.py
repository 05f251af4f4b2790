"""The quantised types of GGUF files: turns blocks of bytes into integers by group, with a scale and a zero point each.

The layouts are those of ggml-quants (https://github.com/ggml-org/ggml, ``block_q4_K`` and so on). Nothing is rounded:
types with a minimum, ``w = q · s + least``, have the zero point ``-least / s``, rarely a whole number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .groups import Integers, pack

Bytes = NDArray[np.uint8]
Float32 = NDArray[np.float32]


class Unpacked(NamedTuple):
    """Consecutive groups."""

    packed: Integers
    """(groups, size), or (groups, size / 2) in 4 bits, as in `loading.groups`."""
    scale: Float32
    """(groups, 1)."""
    zero_point: Float32 | None
    """(groups, 1)."""


@dataclass(frozen=True)
class BlockType:
    """A quantised type: the contents of a block, and how to read it."""

    weights: int
    """Per block."""
    nbytes: int
    """Per block."""
    group: int
    """The weights that share a scale."""
    bits: int
    """Bits of an unpacked integer: 4 or 8."""
    signed: bool
    read: Callable[[Bytes], Unpacked]
    """Unpacks blocks (n, nbytes)."""
    has_least: bool = False
    """Whether groups have a zero point."""


def _half(blocks: Bytes, at: int) -> Float32:
    """The float16 at byte ``at`` of each block: (n, 1)."""
    found: Float32 = np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)
    return found


def _nibbles(qs: Bytes) -> Bytes:
    """Rows of k bytes, whose lower halves are values 0 to k - 1 and whose upper ones the next k, as (rows, 2, k / 2):
    bytes of two neighbours, the lower half first."""
    pairs = np.ascontiguousarray(qs).view("<u2")
    low = (pairs & 0x000F) | ((pairs >> 4) & 0x00F0)
    high = ((pairs >> 4) & 0x000F) | ((pairs >> 8) & 0x00F0)
    return np.stack([low.astype(np.uint8), high.astype(np.uint8)], 1)


def _halves(qs: Bytes) -> Bytes:
    """The same as (rows, 2, k), one value to a byte."""
    return np.stack([qs & 15, qs >> 4], 1)


def _parts(qs: Bytes, width: int) -> Bytes:
    """Rows of k bytes with 8 / ``width`` values each; value j of byte i is the i-th of the j-th k: (rows, 8 / width,
    k)."""
    shifts = np.arange(0, 8, width, dtype=np.uint8)[None, :, None]
    parts: Bytes = (qs[:, None, :] >> shifts) & np.uint8(2**width - 1)
    return parts


def _by_group(factor: Float32, integers: NDArray[np.generic]) -> Float32:
    """A block's factor (n, 1) times integers (n, groups), as (n · groups, 1)."""
    return (factor * integers.astype(np.float32)).reshape(-1, 1)


def _with_least(packed: Bytes, scale: Float32, least: Float32) -> Unpacked:
    """Groups of ``q · scale + least``. If the scale is 0, every value is the least one: -1 · least, negated."""
    is_flat = scale == 0
    zero_point = np.where(is_flat, np.float32(-1), -least / scale)
    if is_flat.any():
        scale = np.where(is_flat, least, scale)
        packed[is_flat[:, 0]] = 0
    return Unpacked(packed, scale, zero_point)


# ---- blocks of 32 ----------------------------------------------------------------------------------------------------


def _q8_0(blocks: Bytes) -> Unpacked:
    return Unpacked(np.ascontiguousarray(blocks[:, 2:]).view(np.int8), _half(blocks, 0), None)


def _q4_0(blocks: Bytes) -> Unpacked:
    packed = _nibbles(blocks[:, 2:]).reshape(-1, 16) ^ np.uint8(0x88)  # q - 8 in two's complement
    return Unpacked(packed, _half(blocks, 0), None)


def _q4_1(blocks: Bytes) -> Unpacked:
    return _with_least(_nibbles(blocks[:, 4:]).reshape(-1, 16), _half(blocks, 0), _half(blocks, 2))


def _five_bits(blocks: Bytes, at: int) -> Bytes:
    """The integers (n, 32) with their upper bits in the four bytes from ``at`` on, followed by their lower ones."""
    upper = np.unpackbits(np.ascontiguousarray(blocks[:, at : at + 4]), axis=1, bitorder="little")
    return np.bitwise_or(_halves(blocks[:, at + 4 :]).reshape(-1, 32), upper << np.uint8(4))


def _q5_0(blocks: Bytes) -> Unpacked:
    return Unpacked(_five_bits(blocks, 2).view(np.int8) - np.int8(16), _half(blocks, 0), None)


def _q5_1(blocks: Bytes) -> Unpacked:
    return _with_least(_five_bits(blocks, 4), _half(blocks, 0), _half(blocks, 2))


# ---- blocks of 256, whose groups have scales of a few bits -----------------------------------------------------------


def _scales_and_leasts(packed: Bytes) -> tuple[Bytes, Bytes]:
    """The eight scales and the eight minima, of six bits each, in 12 bytes."""
    first, second, third = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 2) & 48)], 1)
    leasts = np.concatenate([second & 63, (third >> 4) | ((second >> 2) & 48)], 1)
    return scales, leasts


def _with_minima(packed: Bytes, blocks: Bytes) -> Unpacked:
    """Groups of Q4_K and Q5_K, which begin alike: the factor of scales, that of minima, and both in 12 bytes."""
    scales, leasts = _scales_and_leasts(blocks[:, 4:16])
    return _with_least(packed, _by_group(_half(blocks, 0), scales), -_by_group(_half(blocks, 2), leasts))


def _q4_k(blocks: Bytes) -> Unpacked:
    return _with_minima(_nibbles(blocks[:, 16:].reshape(-1, 32)).reshape(-1, 16), blocks)


def _q5_k(blocks: Bytes) -> Unpacked:
    upper = _parts(blocks[:, 16:48], 1)
    lower = _halves(blocks[:, 48:].reshape(-1, 32)).reshape(-1, 8, 32)
    return _with_minima(np.bitwise_or(lower, upper << np.uint8(4)).reshape(-1, 32), blocks)


def _q6_k(blocks: Bytes) -> Unpacked:
    lower = _halves(blocks[:, :128].reshape(-1, 64)).reshape(-1, 256)
    upper = _parts(blocks[:, 128:192].reshape(-1, 32), 2).reshape(-1, 256)
    integers = (lower | (upper << np.uint8(4))).view(np.int8) - np.int8(32)
    scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
    return Unpacked(integers.reshape(-1, 16), _by_group(_half(blocks, 208), scales), None)


def _q2_k(blocks: Bytes) -> Unpacked:
    packed = pack(_parts(blocks[:, 16:80].reshape(-1, 32), 2).reshape(-1, 16))
    scales, leasts = blocks[:, :16] & 15, blocks[:, :16] >> 4
    return _with_least(packed, _by_group(_half(blocks, 80), scales), -_by_group(_half(blocks, 82), leasts))


def _q3_k(blocks: Bytes) -> Unpacked:
    upper = _parts(blocks[:, :32], 1).reshape(-1, 256)
    lower = _parts(blocks[:, 32:96].reshape(-1, 32), 2).reshape(-1, 256)
    integers = (lower | (upper << np.uint8(2))).view(np.int8) - np.int8(4)
    parts = _halves(blocks[:, 96:104]).reshape(-1, 16) | (_parts(blocks[:, 104:108], 2).reshape(-1, 16) << 4)
    scales = parts.view(np.int8) - np.int8(32)
    return Unpacked(pack(integers.reshape(-1, 16)), _by_group(_half(blocks, 108), scales), None)


TYPES = {
    "Q8_0": BlockType(32, 34, 32, 8, True, _q8_0),
    "Q4_0": BlockType(32, 18, 32, 4, True, _q4_0),
    "Q4_1": BlockType(32, 20, 32, 4, False, _q4_1, True),
    "Q5_0": BlockType(32, 22, 32, 8, True, _q5_0),
    "Q5_1": BlockType(32, 24, 32, 8, False, _q5_1, True),
    "Q2_K": BlockType(256, 84, 16, 4, False, _q2_k, True),
    "Q3_K": BlockType(256, 110, 16, 4, True, _q3_k),
    "Q4_K": BlockType(256, 144, 32, 4, False, _q4_k, True),
    "Q5_K": BlockType(256, 176, 32, 8, False, _q5_k, True),
    "Q6_K": BlockType(256, 210, 16, 8, True, _q6_k),
}
"""The supported quantised types, by their names in the format. Others have code books (IQ) or never occur in files
(Q8_1, Q8_K)."""

_WEIGHTS_AT_ONCE = 2**22


def unpacked(kind: BlockType, data: Bytes) -> Unpacked:
    """All groups of the blocks in ``data``, unpacked in parts so that memory holds little more than the result."""
    blocks = data.reshape(-1, kind.nbytes)
    groups = len(blocks) * kind.weights // kind.group
    packed = np.empty((groups, kind.group * kind.bits // 8), np.int8 if kind.bits == 8 and kind.signed else np.uint8)
    scale = np.empty((groups, 1), np.float32)
    zero_point = np.empty_like(scale) if kind.has_least else None
    step = _WEIGHTS_AT_ONCE // kind.weights
    for first in range(0, len(blocks), step):
        with np.errstate(all="ignore"):  # infinities and NaN are refused on use
            part = kind.read(blocks[first : first + step])
        begin = first * kind.weights // kind.group
        end = begin + len(part.scale)
        packed[begin:end], scale[begin:end] = part.packed, part.scale
        if zero_point is not None:
            zero_point[begin:end] = part.zero_point
    return Unpacked(packed, scale, zero_point)
