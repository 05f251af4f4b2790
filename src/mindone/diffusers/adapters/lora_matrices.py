"""One layer's low-rank update as two matrices that may change while what was compiled stays as it is.

Several adapters at once are one pair of matrices, their ranks side by side: ``Σ sᵢ·Uᵢ·Dᵢ = [s₁U₁ s₂U₂ …]·[D₁; D₂; …]``.
A pair has a fixed number of ranks, its *capacity*; what the active adapters leave of it is zero. So changing which
adapters are active, and how strongly, changes numbers, never shapes.
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
    """Within this context, and in this thread alone, every update that is not fused counts ``scale`` times as much."""
    token = _call_scale.set(scale)
    try:
        yield
    finally:
        _call_scale.reset(token)


class Acting(Protocol):
    """What acts on the parameters of one network in this thread's call; `lora.NetworkLora` says it."""

    @property
    def version(self) -> int:
        """Another number after each change, and for each call's own weights."""

    def products(self, parameter: str) -> list[tuple[LoraLayer, float]]:
        """The low-rank products that act on a parameter, each so strongly."""

    def others(self, parameter: str) -> list[tuple[Change, float]]:
        """The other changes that act on it."""


class LayerUpdate:
    """What adapters add to one weight; `down` and `up` are what engines read.

    Args:
        parameter: the weight's name.
        shape: its shape, (out, in) or (out, in, height, width).
        capacity: the most ranks that can be active at once.
        acting: what acts on it; its ranks fit the capacity.
    """

    def __init__(self, parameter: str, shape: Sequence[int], capacity: int, acting: Acting):
        self.parameter, self.shape, self.capacity, self.acting = parameter, tuple(shape), capacity, acting
        self.down = Matrix(self, (capacity, *self.shape[1:]), self.down_values)
        self.up = Matrix(self, (self.shape[0], capacity, *(1,) * (len(self.shape) - 2)), self.up_values)

    @property
    def version(self) -> int:
        """Another number after each change, and for each call's scale and weights."""
        return hash((self.acting.version, _call_scale.get()))

    @property
    def products(self) -> list[tuple[LoraLayer, float]]:
        """What acts on the weight, without what counts nothing."""
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
        """(out, capacity), with the scales of the files and of the user; one more 1×1 for a convolution."""
        values = np.zeros((self.shape[0], self.capacity), np.float32)
        first = 0
        for layer, weight in self.products:
            scale = np.float32(weight * layer.scale * _call_scale.get())
            values[:, first : first + layer.rank] = layer.up.numpy(np.float32) * scale
            first += layer.rank
        return values.reshape(*values.shape, *(1,) * (len(self.shape) - 2))


class Matrix:
    """One of an update's two matrices: `engines.base.Adjustable` values, computed once per change.

    The rows of ``down``, or the columns of ``up``, which carry the scales, also that of a call.
    """

    def __init__(self, update: LayerUpdate, shape: tuple[int, ...], values: Callable[[], Values]):
        self.update, self.shape, self._values = update, shape, values
        self._made: tuple[int, Values] | None = None

    @property
    def version(self) -> int:
        """See `LayerUpdate.version`."""
        return self.update.version

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """The values, float32 unless asked for otherwise."""
        version, made = self.version, self._made
        if made is None or made[0] != version:
            self._made = made = (version, self._values())
        return made[1] if dtype is None else made[1].astype(dtype, copy=False)


class Overlay:
    """A weight or bias with changes that are no low-rank products added to it: `engines.base.Adjustable` values.

    Args:
        parameter: its name.
        base: the parameter's own values.
        acting: what acts on it.
    """

    def __init__(self, parameter: str, base: Stored, acting: Acting):
        self.parameter, self.base, self.acting = parameter, base, acting
        self._made: tuple[int, Values] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The parameter's."""
        return self.base.shape

    @property
    def version(self) -> int:
        """Another number after each change, and for each call's scale."""
        return hash((self.acting.version, _call_scale.get()))

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """``W + Σ ΔWᵢ``, where a call's scale counts as part of each change's strength."""
        version, made = self.version, self._made
        if made is None or made[0] != version:
            scaled = [(change, weight * _call_scale.get()) for change, weight in self.acting.others(self.parameter)]
            self._made = made = (version, changed(self.base, scaled))
        return made[1] if dtype is None else made[1].astype(dtype, copy=False)


class Fused:
    """A weight with updates added, computed when an engine asks: what `engines.binding.bind` takes as an overlay."""

    def __init__(self, base: Stored, changes: Sequence[tuple[Change, float]]):
        self.base, self.changes = base, changes

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's."""
        return self.base.shape

    def numpy(self, dtype: DTypeLike | None = None) -> Values:
        """``W + Σ ΔWᵢ``, computed in float32."""
        values = changed(self.base, self.changes)
        return values if dtype is None else values.astype(dtype, copy=False)


def changed(base: Stored, changes: Sequence[tuple[Change, float]]) -> Values:
    """``base`` with each change added, so strongly, in float32; each starts from ``base`` itself."""
    values = np.array(base.numpy(np.float32))
    if changes:
        own = values.copy()
        for change, weight in changes:
            values += change.difference(own, weight)
    return values
