"""Additions to a network from outside: cells around its cells, and one object for each kind of adapter.

A wrapper replaces a cell and gets its inputs. Wrappers can nest, and each can be removed at any time. Paths such as
``down_blocks.0.attentions`` and parameter names are always those of the bare network. Code that wraps a cell must clear
the network's `graphs`: compiled graphs do not have the wrapper.
"""

from collections.abc import Callable
from typing import TypeVar

from mindspore import nn

from ..engines.binding import keep_name
from .cells import Cell

A = TypeVar("A")


class PutOn:
    """The objects that manage additions to ``network``; pipelines that share the network share them."""

    def __init__(self, network: nn.Cell):
        self._network = network
        self._by_kind: dict[Callable[..., object], object] = {}

    def of(self, kind: Callable[..., A]) -> A:
        """The network's object of a class, created at first use."""
        if kind not in self._by_kind:
            self._by_kind[kind] = kind(self._network)
        found: A = self._by_kind[kind]  # type: ignore[assignment]
        return found


class Wrapper(Cell):
    """A cell around ``inner``, which may be a wrapper itself. `binding.put_on` marks its own parameters."""

    def __init__(self, inner: Cell):
        super().__init__(auto_prefix=False)  # otherwise the parameters inside would be renamed
        self.inner = inner

    @property
    def bare(self) -> nn.Cell:
        """The network's own cell, whose weights and sizes a wrapper may read."""
        return bare(self.inner)


def bare(cell: nn.Cell) -> nn.Cell:
    """The network's own cell under all wrappers."""
    while isinstance(cell, Wrapper):
        cell = cell.inner
    return cell


def cell_at(network: nn.Cell, path: str) -> nn.Cell:
    """The cell at a path such as ``mid_block.attentions.0``: the network's own, or the outermost wrapper."""
    cell = network
    for name in path.split("."):
        cell = _child(bare(cell), name)
    return cell


def wrap(network: nn.Cell, path: str, make: Callable[[nn.Cell], Wrapper]) -> Callable[[], None]:
    """Replace the cell at ``path`` by ``make(cell)``; returns a function that undoes this."""
    above, _, name = path.rpartition(".")
    parent = bare(cell_at(network, above)) if above else network
    inner = _child(parent, name)
    for own, parameter in inner.parameters_and_names():
        keep_name(parameter, f"{path}.{own}")
    wrapper = make(inner)
    _replace(parent, name, wrapper)

    def take_off() -> None:
        holder, place = parent, name
        while (cell := _child(holder, place)) is not wrapper:
            holder, place = cell, "inner"
        _replace(holder, place, wrapper.inner)

    return take_off


def _child(parent: nn.Cell, name: str) -> nn.Cell:
    return parent[int(name)] if isinstance(parent, nn.CellList) else getattr(parent, name)


def _replace(parent: nn.Cell, name: str, cell: nn.Cell) -> None:
    if isinstance(parent, nn.CellList):
        parent[int(name)] = cell
    else:
        setattr(parent, name, cell)
