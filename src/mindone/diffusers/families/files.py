"""Opens single files in the layouts of all families. Whatever lies above the families opens files from here."""

from ..loading.original.layout import know, known_layouts as known_layouts
from ..loading.single_file import SingleFile as SingleFile, open_single_file as open_single_file
from .registry import layouts

know(layouts)
