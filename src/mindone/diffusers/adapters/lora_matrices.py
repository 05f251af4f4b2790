"""One layer's low-rank update as two matrices that can change while the compiled graph stays.

Several adapters at once make one pair of matrices, with their ranks side by side: ``Σ sᵢ·Uᵢ·Dᵢ = [s₁U₁ s₂U₂ …]·[D₁; D₂;
…]``. A pair has a fixed number of ranks, its *capacity*; ranks that the active adapters do not use are zero. So
switching adapters, or changing their weights, changes numbers but never shapes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from ..engines.base import Stored
from .lora_kinds import Change, LoraLayer, Values

_call_scale: ContextVar[float] = ContextVar("mindone.diffusers.lora_scale", default=1.0)


@contextmanager
def lora_scale(scale: float) -> Iterator[None]:
    """Within this context, and only in this thread, multiply every update that is not fused by ``scale``."""
    token = _call_scale.set(scale)
    try:
        yield
    finally:
        _call_scale.reset(token)


class Acting(Protocol):
    """The changes that act on one network's parameters in this thread's call; `lora.NetworkLora` provides them."""

    @property
    def version(self) -> int:
        """A number that differs after each change, and for each call's own weights."""

    def products(self, parameter: str) -> list[tuple[LoraLayer, float]]:
        """The low-rank products that act on a parameter, each with its strength."""

    def others(self, parameter: str) -> list[tuple[Change, float]]:
        """The other changes that act on it."""


class LayerUpdate:
    """The low-rank update of one weight; engines read `down` and `up`.

    Args:
        parameter: the weight's name.
        shape: its shape, (out, in) or (out, in, height, width).
        capacity: the most ranks that can be active at once.
        acting: the changes that act on it; their ranks fit the capacity.
    """

    def __init__(self, parameter: str, shape: Sequence[int], capacity: int, acting: Acting):
        self.parameter, self.shape, self.capacity, self.acting = parameter, tuple(shape), capacity, acting
        self.down = Matrix(self, (capacity, *self.shape[1:]), self.down_values)
        self.up = Matrix(self, (self.shape[0], capacity, *(1,) * (len(self.shape) - 2)), self.up_values)

    @property
    def version(self) -> int:
        """A number that differs after each change, and for each call's scale and weights."""
        return hash((self.acting.version, _call_scale.get()))

    @property
    def products(self) -> list[tuple[LoraLayer, float]]:
        """The products that act on the weight, without those of strength 0."""
        return [(layer, weight) for layer, weight in self.acting.products(self.parameter) if weight]

    def down_values(self) -> Values:
        """(capacity, in) or (capacity, in, height, width)."""
        values = np.zeros((self.capacity, *self.shape[1:]), np.float32)
        first = 0
        for layer, _ in self.products:
            values[first : first + layer.rank] = layer.down.numpy(np.float32)
            first += layer.rank
        return values

    def up_values(self) -> Values:
        """(out, capacity), with the files' and the user's scales; for a convolution two more axes, 1×1."""
        values = np.zeros((self.shape[0], self.capacity), np.float32)
        first = 0
        for layer, weight in self.products:
            scale = np.float32(weight * layer.scale * _call_scale.get())
            values[:, first : first + layer.rank] = layer.up.numpy(np.float32) * scale
            first += layer.rank
        return values.reshape(*values.shape, *(1,) * (len(self.shape) - 2))


class Matrix:
    """One of an update's two matrices: `engines.base.Adjustable` values, computed once per change.

    The rows of ``down``, or the columns of ``up``; the columns include all scales, also a call's.
    """

    def __init__(self, update: LayerUpdate, shape: tuple[int, ...], values: Callable[[], Values]):
        self.update, self.shape, self._values = update, shape, values
        self._made: tuple[int, Values] | None = None

    @property
    def version(self) -> int:
        """See `LayerUpdate.version`."""
        return self.update.version

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The values, float32 unless another dtype is given."""
        version, made = self.version, self._made
        if made is None or made[0] != version:
            self._made = made = (version, self._values())
        return made[1] if dtype is None else made[1].astype(dtype, copy=False)


class Overlay:
    """A weight or bias plus changes that are no low-rank products: `engines.base.Adjustable` values.

    Args:
        parameter: its name.
        base: the parameter's own values.
        acting: the changes that act on it."""

    def __init__(self, parameter: str, base: Stored, acting: Acting):
        self.parameter, self.base, self.acting = parameter, base, acting
        self._made: tuple[int, Values] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's shape."""
        return self.base.shape

    @property
    def version(self) -> int:
        """A number that differs after each change, and for each call's scale."""
        return hash((self.acting.version, _call_scale.get()))

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """``W + Σ ΔWᵢ``, where each change's strength includes the call's scale."""
        version, made = self.version, self._made
        if made is None or made[0] != version:
            scaled = [(change, weight * _call_scale.get()) for change, weight in self.acting.others(self.parameter)]
            self._made = made = (version, changed(self.base, scaled))
        return made[1] if dtype is None else made[1].astype(dtype, copy=False)


class Fused:
    """A weight plus updates, computed when an engine asks: an overlay for `engines.binding.bind`."""

    def __init__(self, base: Stored, changes: Sequence[tuple[Change, float]]):
        self.base, self.changes = base, changes

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape."""
        return self.base.shape

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """``W + Σ ΔWᵢ``, computed in float32."""
        values = changed(self.base, self.changes)
        return values if dtype is None else values.astype(dtype, copy=False)


def changed(base: Stored, changes: Sequence[tuple[Change, float]]) -> Values:
    """``base`` plus each change at its strength, in float32; each change is computed from ``base`` itself."""
    values = np.array(base.numpy(np.float32))
    if changes:
        own = values.copy()
        for change, weight in changes:
            values += change.difference(own, weight)
    return values
