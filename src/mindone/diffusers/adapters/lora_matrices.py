"""One layer's low-rank update as two matrices that can change while the compiled graph stays.

Several adapters at once make one pair of matrices, with their ranks side by side: ``Σ sᵢ·Uᵢ·Dᵢ = [s₁U₁ s₂U₂ …]·[D₁; D₂;
…]``. A pair has a fixed number of ranks, its *capacity*; ranks that the active adapters do not use are zero. So
switching adapters, or changing their weights, changes numbers but never shapes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np

from ..engines.base import Stored
from ..engines.binding import Computed
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


class Adjusted(Computed):
    """`engines.base.Adjustable` values, computed once per change.

    Args:
        shape: their shape.
        compute: computes them, with all scales, also a call's.
        version: a number that differs after each change of the adapters, and for each call's own weights.
    """

    def __init__(self, shape: tuple[int, ...], compute: Callable[[], Values], version: Callable[[], int]):
        super().__init__(shape, compute)
        self._version = version
        self._made: tuple[int, Values] | None = None

    @property
    def version(self) -> int:
        """A number that differs after each change, and for each call's scale and weights."""
        return hash((self._version(), _call_scale.get()))

    def values(self) -> Values:
        """The values of the current version."""
        version, made = self.version, self._made
        if made is None or made[0] != version:
            self._made = made = (version, super().values())
        return made[1]


class LayerUpdate:
    """The low-rank update of one weight; engines read `down` and `up`.

    Args:
        shape: the weight's shape, (out, in) or (out, in, height, width).
        capacity: the most ranks that can be active at once.
        acting: the products that act on it now, each with its strength; their ranks fit the capacity.
        version: see `Adjusted`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        capacity: int,
        acting: Callable[[], list[tuple[LoraLayer, float]]],
        version: Callable[[], int],
    ):
        self.shape, self.capacity, self._acting = tuple(shape), capacity, acting
        self.down = Adjusted((capacity, *self.shape[1:]), self._down, version)
        self.up = Adjusted((self.shape[0], capacity, *(1,) * (len(self.shape) - 2)), self._up, version)

    @property
    def products(self) -> list[tuple[LoraLayer, float]]:
        """The products that act on the weight, without those of strength 0."""
        return [(layer, weight) for layer, weight in self._acting() if weight]

    def _down(self) -> Values:
        values = np.zeros(self.down.shape, np.float32)
        first = 0
        for layer, _ in self.products:
            values[first : first + layer.rank] = layer.down.numpy(np.float32)
            first += layer.rank
        return values

    def _up(self) -> Values:
        values = np.zeros(self.up.shape[:2], np.float32)
        first = 0
        for layer, weight in self.products:
            scale = np.float32(weight * layer.scale * _call_scale.get())
            values[:, first : first + layer.rank] = layer.up.numpy(np.float32) * scale
            first += layer.rank
        return values.reshape(self.up.shape)


def overlay(base: Stored, acting: Callable[[], list[tuple[Change, float]]], version: Callable[[], int]) -> Adjusted:
    """A weight or bias plus changes that are no low-rank products; the arguments are those of `LayerUpdate`."""

    def compute() -> Values:
        return changed(base, [(change, weight * _call_scale.get()) for change, weight in acting()])

    return Adjusted(base.shape, compute, version)


def changed(base: Stored, changes: Sequence[tuple[Change, float]]) -> Values:
    """``base`` plus each change at its strength, in float32; each change is computed from ``base`` itself."""
    values = np.array(base.numpy(np.float32))
    if changes:
        own = values.copy()
        for change, weight in changes:
            values += change.difference(own, weight)
    return values
