"""``tune.html``: one file that opens from disk, with its style, its plot and its pictures inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .. import bench
from ..bench.page import data_address
from ..jobs.profile import Settings
from . import plot as plots
from .front import MARKS, Front

_FOLDER = Path(__file__).parent


def render(front: Front, command: str, chosen: Mapping[str, Settings]) -> str:
    """The page of a front; ``chosen`` are the settings of the profiles next to it, by file name."""
    pages = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    pages.filters["data_address"] = data_address
    style = Path(bench.__file__).with_name("page.css").read_text(encoding="utf-8")
    style += (_FOLDER / "page.css").read_text(encoding="utf-8")
    return pages.get_template("page.html").render(
        front=front,
        command=command,
        plot=plots.plot(front),
        plots=plots,
        shown=front.shown(chosen.values(), (1, 1.5, *MARKS, 24, 32)),
        style=style,
        file_of=lambda row: next((name for name, settings in chosen.items() if settings == row.settings), None),
    )
