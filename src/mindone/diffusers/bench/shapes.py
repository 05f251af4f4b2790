"""Checkpoints with random weights in the shapes of published ones, for times and memory without any download."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from ..families.family import Shape
from ..families.registry import families, load
from ..jobs.fields import OneOf


class _Shapes(Mapping[str, Shape]):
    """The shapes of all families, including those that a program registers later."""

    def __getitem__(self, name: str) -> Shape:
        shape: Shape = load(self._paths()[name])
        return shape

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths())

    def __len__(self) -> int:
        return len(self._paths())

    def _paths(self) -> dict[str, str]:
        return {name: path for family in families() for name, path in family.shapes.items()}


SHAPES = _Shapes()

ShapeName = Annotated[str, OneOf(SHAPES, lambda: ", ".join(SHAPES))]


def write(name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
    """Write a shape's checkpoints, float16, into an empty folder. Returns name and folder by role."""
    return SHAPES[name].write(name, folder)
