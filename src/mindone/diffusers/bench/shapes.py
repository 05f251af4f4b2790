"""Checkpoints with random weights in the shapes of published ones, for times and memory without any download."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from ..families.family import Shape
from ..families.registry import families, load
from ..jobs.fields import OneOf
from ..utils.files import check_space
from ..utils.machine import free_memory


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


def check_room(name: str, folder: Path, share: float = 1.0) -> None:
    """Check, before anything is written, that a shape's files fit on the disk, and its weights into memory.

    Args:
        name: the shape's.
        folder: where the files are to lie.
        share: of the weights' bytes in half precision, what the smallest run takes.

    Raises:
        OSError: the disk is too full.
        ValueError: memory is too short for any run.
    """
    check_space(folder, SHAPES[name].nbytes)
    needed, free = share * SHAPES[name].held_bytes(), free_memory()
    if free is not None and needed > free:
        raise ValueError(
            f"any run of {name} takes more than {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free; "
            "close other programs, or choose a smaller shape"
        )


def write(name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
    """Write a shape's checkpoints, float16, into an empty folder. Returns name and folder by role."""
    return SHAPES[name].write(name, folder)
