"""Taps: calls of a network that read or replace the inputs of some layers, or skip layers.

The network is not aware of them. A call runs a copy of the cells on the path to those layers, with a wrapper around
each layer; everything else, and every parameter, is the network's own. So a plain call is unaffected, any number of
threads can use one network with and without taps, and a skipped layer is never recorded, compiled or run.
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
    """A place where one layer's first input, the **feature**, is all that a big part of the network contributes.

    Args:
        layer: the path of the layer that takes the feature.
        below: the paths of the layers that only the feature needs.
    """

    layer: str
    below: tuple[str, ...]

    @property
    def reading(self) -> Taps:
        """Taps for a call that also returns the feature."""
        return Taps(read=(self.layer,))

    @property
    def replacing(self) -> Taps:
        """Taps for a call that takes the feature and skips the layers below."""
        return Taps(replaced=(self.layer,), left_out=self.below)


class TappedNetwork:
    """`engines.base.Tapped`."""

    def __init__(self, network: nn.Cell, taps: Taps):
        self.taps = taps
        self._states: dict[str, _State] = {}

        def wrapped(path: str, cell: nn.Cell) -> Wrapper:
            state = self._states[path] = _State(is_run=path not in taps.left_out)
            return _Tapped(cell, state)

        paths = dict.fromkeys((*taps.left_out, *taps.read, *taps.results, *taps.replaced))
        self.network = _copied(network, [path.split(".") for path in paths], wrapped)

    def __call__(
        self, method: str, values: Sequence[Array], inputs: Sequence[Input], options: Mapping[str, Input]
    ) -> Outputs:
        """See `engines.base.Tapped`."""
        for path, value in zip(self.taps.replaced, values, strict=True):
            self._states[path].given.append(value)
        result: Outputs = getattr(self.network, method)(*inputs, **options)
        read = [self._states[path].taken for path in self.taps.read]
        read += [self._states[path].made for path in self.taps.results]
        for state in self._states.values():
            state.forget()
        arrays = [x for each in read for x in (each if isinstance(each, tuple) else (each,))]
        return (single(result), *arrays) if arrays else result


class _State:
    """The inputs of a layer with a tap, the ones it used, and its output."""

    def __init__(self, is_run: bool):
        self.is_run = is_run
        self.given: list[Array] = []
        self.taken: Any = None
        self.made: Any = None

    def forget(self) -> None:
        """Release all arrays, which would otherwise stay in memory until the next call."""
        self.given, self.taken, self.made = [], None, None


class _Tapped(Wrapper):
    """A layer that records its input and output, uses a replacement input, or is skipped."""

    def __init__(self, inner: nn.Cell, state: _State):
        super().__init__(inner)
        self.state = state

    def construct(self, x: Array, *others: Array) -> Any:
        given = self.state.given
        first: Any = x if not given else given[0] if len(given) == 1 else tuple(given)
        self.state.taken = first
        self.state.made = self.inner(first, *others) if self.state.is_run else first
        return self.state.made


def _copied(
    cell: nn.Cell, paths: Sequence[Sequence[str]], wrapped: Callable[[str, nn.Cell], nn.Cell], above: str = ""
) -> nn.Cell:
    """A cell with the parameters and children of ``cell``; those on the ``paths`` are copies, the last wrapped."""
    kind: Any = type(cell)
    other = kind.__new__(kind)
    nn.Cell.__init__(other)  # MindSpore's own attributes, such as the identity that graphs are compiled for
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
