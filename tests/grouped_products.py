"""A network of products and a look-up whose weights are in 4 or 8 bits by group, and what it is to give."""

from dataclasses import dataclass

import numpy as np

from mindone.diffusers import functional as F
from mindone.diffusers.engines.binding import bind
from mindone.diffusers.loading.groups import GroupedTensor, pack
from mindone.diffusers.models.base import Model
from mindone.diffusers.models.layers import parameter


def grouped(shape=(96, 128), bits=4, signed=False, has_zero=True, size=32, kind=np.float32, seed=0) -> GroupedTensor:
    """Random values."""
    rng = np.random.default_rng(seed)
    outs, count = shape[0], int(np.prod(shape[1:])) // size
    low = -(2 ** (bits - 1)) if signed else 0
    integers = rng.integers(low, low + 2**bits, (outs, count, size)).astype(np.int8 if signed else np.uint8)
    scale = (rng.random((outs, count, 1)) * 0.01 + 0.001).astype(kind)
    zero_point = (rng.random((outs, count, 1)) * 9).astype(kind) if has_zero else None
    return GroupedTensor(shape, bits, signed, pack(integers) if bits == 4 else integers, scale, zero_point)


def plain(tensor: GroupedTensor) -> np.ndarray:
    """The values, one after the other."""
    integers = tensor.packed
    if tensor.bits == 4:
        integers = np.stack([tensor.packed & 15, tensor.packed >> 4], -1).reshape(*tensor.packed.shape[:2], -1)
        integers = np.where(integers > 7, integers.astype(int) - 16, integers) if tensor.signed else integers
    zero_point = 0 if tensor.zero_point is None else tensor.zero_point.astype(np.float64)
    return ((integers - zero_point) * tensor.scale.astype(np.float64)).reshape(tensor.shape)


@dataclass(frozen=True)
class NoFields:
    """Nothing to configure."""


class Products(Model):
    """A table, a product, and one whose result is in two halves."""

    Fields = NoFields

    def __init__(self, table, linear, halves):
        super().__init__({})
        self.table, self.linear, self.halves = (parameter(*each.shape) for each in (table, linear, halves))
        for name, values in (("table", table), ("linear", linear), ("halves", halves)):
            bind(getattr(self, name), values, f"{name}.weight")

    def construct(self, ids):
        x = F.linear(F.embedding(ids, self.table), self.linear)
        a, b = F.linear_halves(x, self.halves)
        return F.add(a, b)


def expected(table, linear, halves):
    a, b = np.split(plain(table)[IDS] @ plain(linear).T @ plain(halves).T, 2, -1)
    return a + b


IDS = np.array([[3, 0, 199, 7]], np.int32)
SHAPES = ((200, 128), (96, 128), (128, 96))


def executed(network):
    """The layers that read weights, with what they read them in."""
    (key,) = network.graphs
    found = network.graphs.get(key, dict).executed()
    return {each: count for each, count in found.items() if each[0] in ("FullyConnected", "Gather", "MatMul")}
