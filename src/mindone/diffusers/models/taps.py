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
    """What a layer with a tap was given, and what it took and made of it."""

    def __init__(self, is_run: bool):
        self.is_run = is_run
        self.given: list[Array] = []
        self.taken: Any = None
        self.made: Any = None

    def forget(self) -> None:
        """Let go of all arrays, which would be in memory until the next call."""
        self.given, self.taken, self.made = [], None, None


class _Tapped(Wrapper):
    """A layer that notes what goes into it and comes out, takes what it is given in its place, or is not run."""

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
