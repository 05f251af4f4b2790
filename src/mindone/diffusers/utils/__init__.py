"""Helpers for scripts: image grids, image loading, logging, progress bars, and files written whole or not at all."""

from . import logging
from .files import atomic_write, read_json, write_json
from .images import load_image, make_image_grid
from .outputs import BaseOutput
from .progress import progress_bar

__all__ = [
    "BaseOutput",
    "atomic_write",
    "load_image",
    "logging",
    "make_image_grid",
    "progress_bar",
    "read_json",
    "write_json",
]
