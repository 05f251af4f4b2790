"""Weights in 4 or 8 bits by group: GGUF files hold them, and `quantize --weights` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .safetensors import AnyArray, MadeTensor, StoredTensor

Integers: TypeAlias = NDArray[np.integer[Any]]
"""int8 or uint8."""
Floats: TypeAlias = NDArray[np.floating[Any]]
"""float16 or float32."""


class GroupedTensor(MadeTensor):
    """A weight in 4 or 8 bits by group (`engines.base.Grouped`) that appears as its float32 values.

    A group is ``size`` consecutive values in a row, that of one output. A value is ``(integer - zero_point) · scale``.

    Args:
        shape: (out, in), or (out, in, height, width).
        bits: 4 or 8.
        signed: whether the integers start at -8 or -128 rather than at 0.
        packed: (out, groups, size) int8 or uint8; in 4 bits (out, groups, size / 2) uint8 (`pack`).
        scale: (out, groups, 1) float16 or float32.
        zero_point: (out, groups, 1), not always whole numbers; None means 0.

    Raises:
        ValueError: their shapes or types do not fit together.
    """

    def __init__(
        self,
        shape: Sequence[int],
        bits: int,
        signed: bool,
        packed: Integers,
        scale: Floats,
        zero_point: Floats | None = None,
    ):
        self._describe(shape, bits, signed)
        kind = np.uint8 if bits == 4 or not signed else np.int8
        size = packed.shape[-1] * (8 // bits)
        per_group = (*packed.shape[:2], 1)
        if packed.ndim != 3 or packed.dtype != kind or packed.shape[:1] != self.shape[:1]:
            raise ValueError(
                f"integers in {bits} bits must be {np.dtype(kind)} (out, groups, size), got {packed.dtype} of shape "
                f"{packed.shape} for a weight of {self.shape}"
            )
        if packed.shape[0] * packed.shape[1] * size != self.size:
            raise ValueError(f"groups of {size}, {packed.shape[1]} in a row, do not make a weight of {self.shape}")
        for name, values in (("scale", scale), ("zero_point", zero_point)):
            if values is not None and (values.shape != per_group or values.dtype not in (np.float16, np.float32)):
                raise ValueError(f"{name} must be floats of shape {per_group}, got {values.dtype} of {values.shape}")
        self._packed, self._scale, self._zero_point = packed, scale, zero_point

    def _describe(self, shape: Sequence[int], bits: int, signed: bool) -> None:
        if bits not in (4, 8) or len(shape) < 2:
            raise ValueError(f"a weight by group has 4 or 8 bits and 2 axes or more, got {bits} bits and {shape}")
        super().__init__("F32", shape)
        self.bits, self.signed = bits, signed

    @property
    def group_size(self) -> int:
        """The number of values that share a scale."""
        return self.packed.shape[-1] * (8 // self.bits)

    @property
    def packed(self) -> Integers:
        """(out, groups, size) int8 or uint8; in 4 bits (out, groups, size / 2) uint8."""
        return self._packed

    @property
    def scale(self) -> Floats:
        """(out, groups, 1)."""
        return self._scale

    @property
    def zero_point(self) -> Floats | None:
        """(out, groups, 1), or None."""
        return self._zero_point

    def unpacked(self) -> Integers:
        """(out, groups, size) int8 or uint8, one integer per byte."""
        return self.packed if self.bits == 8 else unpack(self.packed, self.signed)

    def numpy(self, dtype: DTypeLike | None = None) -> AnyArray:
        """The values, float32 or ``dtype``."""
        values = self.unpacked().astype(np.float32)
        if self.zero_point is not None:
            values -= self.zero_point
        with np.errstate(over="ignore", invalid="ignore"):  # infinities and NaN are refused on use
            values *= self.scale
        return values.reshape(self.shape).astype(dtype or np.float32, copy=False)

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of the float32 tensor, one-dimensional, little-endian."""
        return np.ascontiguousarray(self.numpy(), "<f4").reshape(-1).view(np.uint8)

    def reshape(self, shape: tuple[int, ...]) -> StoredTensor:
        """The same weight in another shape, still by group if the rows stay the same."""
        if shape[:1] != self.shape[:1] or len(shape) < 2 or np.prod(shape) != self.size:
            return super().reshape(shape)
        return GroupedTensor(shape, self.bits, self.signed, self.packed, self.scale, self.zero_point)

    def rows(self, begin: int, end: int) -> StoredTensor:
        """The slice ``[begin:end]`` along the first axis, still by group and without a copy."""
        self.check_rows(begin, end)
        zero_point = None if self.zero_point is None else self.zero_point[begin:end]
        shape = (end - begin, *self.shape[1:])
        return GroupedTensor(shape, self.bits, self.signed, self.packed[begin:end], self.scale[begin:end], zero_point)


def unpack(packed: Integers, signed: bool) -> Integers:
    """(…, n) bytes as (…, 2 n) integers, the lower four bits of a byte first: from -8 to 7, or from 0 to 15."""
    both = np.empty((*packed.shape, 2), np.uint8)
    np.bitwise_and(packed, 15, out=both[..., 0])
    np.right_shift(packed, 4, out=both[..., 1])
    flat = both.reshape(*packed.shape[:-1], -1)
    if not signed:
        return flat
    flat ^= 8  # two's complement: the upper bit counts -8
    integers: NDArray[np.int8] = flat.view(np.int8)
    integers -= 8
    return integers


def pack(integers: Integers) -> NDArray[np.uint8]:
    """(…, 2 n) integers from -8 to 15 as (…, n) bytes, as `unpack` reads them."""
    bits: NDArray[np.uint8] = integers.view(np.uint8) & np.uint8(15)
    upper = np.left_shift(bits[..., 1::2], 4, dtype=np.uint8)
    return np.bitwise_or(bits[..., 0::2], upper)


def joined_groups(parts: Sequence[StoredTensor]) -> GroupedTensor | None:
    """Weights by group, concatenated along the rows as a copy that is still by group; None if their kinds differ."""
    grouped = [part for part in parts if isinstance(part, GroupedTensor)]
    kinds = {
        (each.bits, each.signed, each.packed.shape[1:], each.scale.dtype, each.zero_point is None, each.shape[1:])
        for each in grouped
    }
    if len(grouped) < len(parts) or len(kinds) != 1:
        return None
    first, rows = grouped[0], sum(each.shape[0] for each in grouped)
    zeros = [each.zero_point for each in grouped if each.zero_point is not None]
    return GroupedTensor(
        (rows, *first.shape[1:]),
        first.bits,
        first.signed,
        np.concatenate([each.packed for each in grouped]),
        np.concatenate([each.scale for each in grouped]),
        np.concatenate(zeros) if zeros else None,
    )
