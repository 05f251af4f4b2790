"""Helpers for scripts: image grids, loading images, logging, progress bars, and files written whole or not at all."""

from typing import TYPE_CHECKING, Any

from ..lazy import look_up
from . import logging

if TYPE_CHECKING:
    from .files import atomic_write as atomic_write, read_json as read_json, write_json as write_json
    from .images import load_image as load_image, make_image_grid as make_image_grid
    from .outputs import BaseOutput as BaseOutput
    from .progress import progress_bar as progress_bar

_HOMES = {
    "BaseOutput": f"{__name__}.outputs",
    "atomic_write": f"{__name__}.files",
    "load_image": f"{__name__}.images",
    "make_image_grid": f"{__name__}.images",
    "progress_bar": f"{__name__}.progress",
    "read_json": f"{__name__}.files",
    "write_json": f"{__name__}.files",
}

__all__ = [*sorted(_HOMES), "logging"]


def __getattr__(name: str) -> Any:
    return look_up(__name__, _HOMES, name)
