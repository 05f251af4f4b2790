"""What a layer of a LoRA file adds to a weight: a low-rank product (LoRA, LoCon) or one of the other kinds.

====================  ==========================================================================================
LoRA                  ΔW = alpha / rank · up · down (Hu et al. 2021)
LoHa                  ΔW = alpha / rank · (a₁·b₁) ⊙ (a₂·b₂) (Hyeon-Woo et al. 2022), Tucker cores for convolutions
LoKr                  ΔW = alpha / rank · w₁ ⊗ w₂ (Yeh et al. 2024), where each factor may be a product itself
whole differences     ΔW or Δb as it is
DoRA                  W' = m · (W + ΔW) / ‖W + ΔW‖ (Liu et al. 2024, eq. 5), around any of these
====================  ==========================================================================================

Shapes are checked when a file is read; numbers are computed when an engine asks for them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..loading.original.fused_layers import Rows
from ..loading.original.key_map import joined
from ..loading.safetensors import StoredTensor

Values: TypeAlias = NDArray[np.float32]
Parts = Mapping[str, StoredTensor]
"""A layer's tensors by role; see `lora_names`."""


class Change(Protocol):
    """A change to one weight or bias."""

    def difference(self, base: Values, strength: float) -> Values:
        """The values to add to ``base`` at the user's ``strength``, in its shape."""


@dataclass(frozen=True)
class LoraLayer:
    """The update of one weight of shape (out, in) or (out, in, height, width)."""

    down: StoredTensor
    """(rank, in) or (rank, in, height, width)."""
    up: StoredTensor
    """(out, rank)."""
    alpha: float

    @property
    def rank(self) -> int:
        """Rows of ``down``."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """The factor of the product before the user's own weight: alpha / rank."""
        return self.alpha / self.rank

    def update(self) -> Values:
        """The values to add to the weight at full strength, in the weight's shape."""
        down = self.down.numpy(np.float32)
        product: Values = self.up.numpy(np.float32) @ down.reshape(self.rank, -1)
        product *= np.float32(self.scale)
        return product.reshape(-1, *down.shape[1:])

    def difference(self, base: Values, strength: float) -> Values:
        """See `Change`."""
        return np.float32(strength) * self.update()


@dataclass(frozen=True)
class Product:
    """A matrix that is the product of two, or a convolution's weight of two matrices around a core (Tucker 1966)."""

    left: StoredTensor
    """(rows, rank), or with a core (rank, rows)."""
    right: StoredTensor
    """(rank, columns)."""
    core: StoredTensor | None = None
    """(rank, rank, height, width)."""

    @property
    def rank(self) -> int:
        """The right factor's rank."""
        return self.right.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, columns), or (rows, columns, height, width)."""
        columns = self.right.shape[1]
        return (self.left.shape[0], columns) if self.core is None else (*self._sides, *self.core.shape[2:])

    @property
    def _sides(self) -> tuple[int, int]:
        return self.left.shape[1], self.right.shape[1]

    @property
    def is_whole(self) -> bool:
        """Whether the factors fit each other and no rank exceeds the sizes of its matrix."""
        left, right = self.left.shape, self.right.shape
        if len(left) != 2 or len(right) != 2 or 0 in (*left, *right):
            return False
        if self.core is None:
            return bool(left[1] == right[0])
        core = self.core.shape
        return len(core) == 4 and core[:2] == (left[0], right[0]) and max(core[:2]) <= max(self._sides)

    def values(self) -> Values:
        """The product, in its `shape`."""
        left, right = self.left.numpy(np.float32), self.right.numpy(np.float32)
        if self.core is None:
            product = np.asarray(left @ right, np.float32)
        else:
            inner = np.tensordot(self.core.numpy(np.float32), right, ([1], [0]))  # (rank, height, width, columns)
            product = np.moveaxis(np.tensordot(left, inner, ([0], [0])), -1, 1)
        return product


@dataclass(frozen=True)
class LoHa:
    """Two products, multiplied element by element."""

    first: Product
    second: Product
    scale: float

    def difference(self, base: Values, strength: float) -> Values:
        """See `Change`."""
        product = (self.first.values() * self.second.values()).reshape(base.shape)
        product *= np.float32(strength * self.scale)
        return product


@dataclass(frozen=True)
class LoKr:
    """The Kronecker product of a small matrix and a matrix or a convolution's weight."""

    first: Product | StoredTensor
    second: Product | StoredTensor
    scale: float

    def difference(self, base: Values, strength: float) -> Values:
        """See `Change`."""
        first, second = _values(self.first), _values(self.second)
        first = first.reshape(*first.shape, *(1,) * (second.ndim - 2))
        product = np.asarray(np.kron(first, second), np.float32).reshape(base.shape)
        product *= np.float32(strength * self.scale)
        return product


@dataclass(frozen=True)
class Whole:
    """A plain difference."""

    values: StoredTensor
    scale: float = 1.0

    def difference(self, base: Values, strength: float) -> Values:
        """See `Change`."""
        return np.float32(strength * self.scale) * self.values.numpy(np.float32).reshape(base.shape)


@dataclass(frozen=True)
class Sum:
    """Several changes to one weight."""

    changes: Sequence[Change]

    def difference(self, base: Values, strength: float) -> Values:
        """See `Change`."""
        total = self.changes[0].difference(base, strength)
        for change in self.changes[1:]:
            total = total + change.difference(base, strength)
        return total


@dataclass(frozen=True)
class Dora:
    """A change whose result gets a learned magnitude along one axis."""

    change: Change
    magnitude: StoredTensor
    axis: int
    """0: a number for each output; 1: for each input."""
    strength_inside: bool
    """Where the user's strength acts: in peft on ΔW, under the norm; in AUTOMATIC1111 and ComfyUI on W' − W."""

    def difference(self, base: Values, strength: float) -> Values:
        """See `Change`."""
        inside, outside = (strength, 1.0) if self.strength_inside else (1.0, strength)
        changed = base + self.change.difference(base, inside)
        others = tuple(i for i in range(base.ndim) if i != self.axis)
        norms = np.sqrt(np.sum(changed * changed, axis=others, keepdims=True))
        norms = np.maximum(norms, np.finfo(np.float32).tiny)
        changed *= self.magnitude.numpy(np.float32).reshape(norms.shape) / norms
        changed -= base
        return changed if outside == 1.0 else np.float32(outside) * changed


# ---- from a file's tensors -------------------------------------------------------------------------------------------


def hada(parts: Parts, shape: tuple[int, ...], alpha: float | None) -> LoHa | None:
    """LoHa's change to a weight; None if tensors are missing or do not fit."""
    products = []
    for i in "12":
        left, right, core = (parts.get(name) for name in (f"hada_w{i}_a", f"hada_w{i}_b", f"hada_t{i}"))
        product = None if left is None or right is None else Product(left, right, core)
        if product is None or not product.is_whole or not _shapes(product.shape, shape):
            return None
        products.append(product)
    first, second = products
    return LoHa(first, second, 1.0 if alpha is None else alpha / first.rank)


def lokr(parts: Parts, shape: tuple[int, ...], alpha: float | None) -> LoKr | None:
    """LoKr's change to a weight; None if tensors are missing or do not fit.

    The rank is the second factor's, or the first's if the second is whole; two whole factors have no alpha.
    """
    first, second = _factor(parts, "1"), _factor(parts, "2")
    if first is None or second is None or len(first.shape) != 2 or len(second.shape) not in (2, 4):
        return None
    product = (first.shape[0] * second.shape[0], first.shape[1] * second.shape[1], *second.shape[2:])
    if 0 in product or not _shapes(product, shape):
        return None
    ranks = [factor.rank for factor in (second, first) if isinstance(factor, Product)]
    return LoKr(first, second, alpha / ranks[0] if ranks and alpha is not None else 1.0)


def dora(change: Change, magnitude: StoredTensor, shape: tuple[int, ...], strength_inside: bool) -> Dora | None:
    """A change with a magnitude; None if that fits neither the outputs nor the inputs.

    peft's magnitudes are for outputs. Others are if they have the shape (out, 1); (1, in) is for inputs.
    """
    given, count = magnitude.shape, math.prod(magnitude.shape)
    by_inputs = len(given) > 1 and given[0] == 1 and count == given[1] == shape[1] and not strength_inside
    if by_inputs:
        return Dora(change, magnitude, 1, strength_inside)
    return Dora(change, magnitude, 0, strength_inside) if given and count == shape[0] else None


_BY_OUTPUT = ("up", "diff", "diff_b", "bias", "w_norm", "b_norm", "dora_scale", "lora_magnitude_vector")
"""Tensors with one row for each output of a layer. All outputs share the others, except LoKr's."""


def outputs_of(tensor: StoredTensor, part: str, rows: Rows) -> StoredTensor:
    """The share of some outputs in a tensor of a layer of the original layout.

    Raises:
        ValueError: it is a Kronecker product, whose outputs cannot be separated, or it has no such rows.
    """
    if part.startswith(("lokr", "hada_t")):
        raise ValueError(f"{part} cannot be split for {rows.layer}; use a LoRA that names the layers as peft does")
    if part not in _BY_OUTPUT and not part.endswith("_a"):
        return tensor
    if not tensor.shape or tensor.shape[0] % rows.parts:
        raise ValueError(
            f"{rows.layer} is one of {rows.parts} parts of a layer, got the shape {tensor.shape} for all of them"
        )
    size = tensor.shape[0] // rows.parts
    return joined([tensor.rows(begin * size, end * size) for begin, end in rows.ranges])


def _factor(parts: Parts, i: str) -> Product | StoredTensor | None:
    whole = parts.get(f"lokr_w{i}")
    if whole is not None:
        return whole
    left, right = parts.get(f"lokr_w{i}_a"), parts.get(f"lokr_w{i}_b")
    product = None if left is None or right is None else Product(left, right, parts.get(f"lokr_t{i}"))
    return product if product is not None and product.is_whole else None


def _values(factor: Product | StoredTensor) -> Values:
    return factor.values() if isinstance(factor, Product) else factor.numpy(np.float32)


def _shapes(product: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether a product has a weight's shape: exactly, or with the columns of all inputs and pixels flattened."""
    rows, columns, *kernel = product
    if rows != weight[0]:
        return False
    if not kernel:
        return columns == math.prod(weight[1:])
    return columns == weight[1] and math.prod(kernel) == math.prod(weight[2:])
