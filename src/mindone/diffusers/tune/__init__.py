"""The search for the best stack of speed-ups on one machine, for one checkpoint, at one size."""

from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options

if TYPE_CHECKING:
    from .front import Front


def run(options: Options, command: str, folder: Path) -> "Front":
    """Search and write the report, see ``session.run``; nothing heavy is imported earlier."""
    from . import session

    return session.run(options, command, folder)
