"""What is put on a network from outside: cells around its cells, and one object of each kind of adapter.

A wrapper takes the place of a cell and is given what that was given. Wrappers may stand around one another, and each
comes off whenever it likes. Paths such as ``down_blocks.0.attentions`` and the names of parameters are always those of
the bare network. Whoever wraps a cell clears the network's `graphs`: what was compiled knows nothing of it.
"""

from collections.abc import Callable
from typing import TypeVar

from mindspore import nn

from ..engines.binding import keep_name
from .cells import Cell

A = TypeVar("A")


class PutOn:
    """The objects that keep what is on ``network``; pipelines that share the network share them."""

    def __init__(self, network: nn.Cell):
        self._network = network
        self._by_kind: dict[Callable[..., object], object] = {}

    def of(self, kind: Callable[..., A]) -> A:
        """The network's object of a class, which is made with the network when it is first asked for."""
        if kind not in self._by_kind:
            self._by_kind[kind] = kind(self._network)
        found: A = self._by_kind[kind]  # type: ignore[assignment]
        return found


class Wrapper(Cell):
    """A cell around ``inner``, which may be a wrapper itself. Its own parameters are marked with `binding.put_on`."""

    def __init__(self, inner: Cell):
        super().__init__(auto_prefix=False)  # or the parameters inside would be renamed
        self.inner = inner

    @property
    def bare(self) -> nn.Cell:
        """The network's own cell, whose weights and sizes a wrapper may read."""
        return bare(self.inner)


def bare(cell: nn.Cell) -> nn.Cell:
    """The network's own cell under whatever is around it."""
    while isinstance(cell, Wrapper):
        cell = cell.inner
    return cell


def cell_at(network: nn.Cell, path: str) -> nn.Cell:
    """What stands at a path such as ``mid_block.attentions.0``: the network's own cell, or the outermost wrapper."""
    cell = network
    for name in path.split("."):
        cell = _child(bare(cell), name)
    return cell


def wrap(network: nn.Cell, path: str, make: Callable[[nn.Cell], Wrapper]) -> Callable[[], None]:
    """Put ``make(cell)`` in the place of the cell that stands at ``path``; returns what takes it off."""
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
