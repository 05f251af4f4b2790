"""Taps: calls of a network that read the inputs of some layers, replace them, or leave layers out.

A network knows nothing of it. What is called is a copy of the cells on the way to those layers, with a wrapper around
each of the layers; everything else, and every parameter, is the network's own. So a plain call is the network as it is,
any number of threads use one network with taps and without, and a layer that is left out is neither recorded, nor
compiled, nor run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mindspore import nn

from ..engines.base import Array, Input, Outputs, Taps, single
from .wrapping import Wrapper


@dataclass(frozen=True)
class Cut:
    """A place at which one layer's first input, the **feature**, is all that comes from a big part of a network.

    Args:
        layer: the path of the layer that the feature goes into.
        below: the paths of the layers that nothing but the feature needs.
    """

    layer: str
    below: tuple[str, ...]

    @property
    def reading(self) -> Taps:
        """Of a call that returns the feature after the result."""
        return Taps(read=(self.layer,))

    @property
    def replacing(self) -> Taps:
        """Of a call that is given the feature, and runs nothing that lies below."""
        return Taps(replaced=(self.layer,), left_out=self.below)


class TappedNetwork:
    """`engines.base.Tapped`."""

    def __init__(self, network: nn.Cell, taps: Taps):
        make: dict[str, Callable[[nn.Cell], Wrapper]] = dict.fromkeys(taps.left_out, _LeftOut)
        make |= dict.fromkeys(taps.read, _Read) | dict.fromkeys(taps.replaced, _Replaced)
        made: dict[str, Wrapper] = {}

        def wrapped(path: str, cell: nn.Cell) -> Wrapper:
            made[path] = make[path](cell)
            return made[path]

        self.network = _copied(network, [path.split(".") for path in make], wrapped)
        self._read = [made[path] for path in taps.read]
        self._replaced = [made[path] for path in taps.replaced]

    def __call__(
        self, method: str, values: Sequence[Array], inputs: Sequence[Input], options: Mapping[str, Input]
    ) -> Outputs:
        """See `engines.base.Tapped`."""
        for cell, value in zip(self._replaced, values, strict=True):
            cell.value = value
        result: Outputs = getattr(self.network, method)(*inputs, **options)
        read = tuple(cell.value for cell in self._read)
        for cell in (*self._replaced, *self._read):
            cell.value = None  # or it would be in memory until the next call
        return (single(result), *read) if read else result


class _Read(Wrapper):
    """A layer that leaves its first input in ``value``."""

    def __init__(self, inner: nn.Cell):
        super().__init__(inner)
        self.value: Array | None = None

    def construct(self, x: Array, *others: Array) -> Array:
        self.value = x
        return self.inner(x, *others)


class _Replaced(Wrapper):
    """A layer whose first input is ``value``."""

    def __init__(self, inner: nn.Cell):
        super().__init__(inner)
        self.value: Array | None = None

    def construct(self, x: Array, *others: Array) -> Array:
        return self.inner(self.value, *others)


class _LeftOut(Wrapper):
    """A layer that is not run."""

    def construct(self, x: Array, *others: Array) -> Array:
        return x


def _copied(
    cell: nn.Cell, paths: Sequence[Sequence[str]], wrapped: Callable[[str, nn.Cell], nn.Cell], above: str = ""
) -> nn.Cell:
    """A cell with the parameters and children of ``cell``; those on the ``paths`` are copies, the last wrapped."""
    kind: Any = type(cell)
    other = kind.__new__(kind)
    nn.Cell.__init__(other)  # what is MindSpore's own, such as the identity that graphs are compiled for
    own = vars(other).keys()
    vars(other).update({name: value for name, value in vars(cell).items() if name not in own})
    other._params.update(cell._params)
    other._cells.update(cell._cells)
    if isinstance(cell, Wrapper):
        other._cells["inner"] = _copied(cell.inner, paths, wrapped, above)
        return other
    for name in dict.fromkeys(path[0] for path in paths):
        child, path = cell._cells[name], f"{above}{name}"
        inside = [rest[1:] for rest in paths if rest[0] == name and len(rest) > 1]
        if inside:
            child = _copied(child, inside, wrapped, f"{path}.")
        other._cells[name] = wrapped(path, child) if [name] in paths else child
    return other
