"""MindSpore's cells with the types that it lacks; at run time they are its own classes.

So ``CellList[Linear]`` in an annotation outside functions must be quoted.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from mindspore import nn

from ..engines import Array

if TYPE_CHECKING:
    C = TypeVar("C")

    class Cell(nn.Cell):
        """A layer whose ``construct`` returns one tensor. Layers that return several are an ``nn.Cell``."""

        def __call__(self, *inputs: object) -> Array: ...

    class Identity(Cell):
        """A layer that returns its input."""

    class CellList(nn.CellList, Generic[C]):
        """Layers of one kind, in order."""

        def __init__(self, cells: Iterable[C] = ()) -> None: ...

        def __getitem__(self, index: int) -> C: ...

        def __iter__(self) -> Iterator[C]: ...

        def __len__(self) -> int: ...

        def append(self, cell: C) -> None: ...

else:
    Cell, CellList, Identity = nn.Cell, nn.CellList, nn.Identity
