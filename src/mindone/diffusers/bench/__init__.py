"""``mindone-diffusers bench``: the published guide's speed tables, and more, measured on your own machine."""

from typing import TYPE_CHECKING

from .options import Options

if TYPE_CHECKING:
    from .report import Report


def run(options: Options, command: str) -> "Report":
    """Measure and write the report, see ``session.run``; nothing heavy is imported before."""
    from . import session

    return session.run(options, command)
