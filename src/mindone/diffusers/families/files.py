"""Opens single files in the layouts of all families. Whatever lies above the families opens files from here."""

from ..loading.gguf import GGUFFile
from ..loading.original.layout import know, known_layouts as known_layouts
from ..loading.single_file import (
    SingleFile as SingleFile,
    open_single_file as open_single_file,
    open_tensors as open_tensors,
)
from .registry import layouts

know(layouts)


def open_gguf(file: GGUFFile) -> SingleFile | None:
    """The models in a GGUF file; None if no family here has its tensors."""
    is_known = any(layout.claims(file.keys()) for layout in known_layouts())
    return open_single_file(file.path) if is_known else None
