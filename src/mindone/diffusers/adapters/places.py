"""Where a cell stands in a network, by the path that its parameters' names begin with: looked up, and replaced."""

from collections.abc import Sequence

from mindspore import nn


def cell_at(cell: nn.Cell, names: Sequence[str]) -> nn.Cell:
    """The cell at a path such as ``down_blocks``, ``0``, ``attentions``."""
    for name in names:
        cell = cell[int(name)] if isinstance(cell, nn.CellList) else getattr(cell, name)
    return cell


def replace_cell(parent: nn.Cell, name: str, cell: nn.Cell) -> None:
    """Put ``cell`` in the place of the child ``name`` of ``parent``."""
    if isinstance(parent, nn.CellList):
        parent[int(name)] = cell
    else:
        setattr(parent, name, cell)
