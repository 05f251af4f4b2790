"""A front as ``tune.json``, as a page, as profiles, and in the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import bench
from ..bench.page import data_address
from ..jobs.profile import Profile, Settings
from ..utils.files import atomic_write, make_folder
from . import plot as plots
from .front import MARKS, Front, Row

JsonObject = dict[str, object]
FORMAT = 1
_PROFILE = re.compile(r"profile\.json|[\d.]+x\.json")
"""The file names of a search's profiles."""
_FOLDER = Path(__file__).parent


def front_data(front: Front, command: str) -> JsonObject:
    """The content of ``tune.json``: everything except the pictures."""
    return {
        "format": FORMAT,
        "command": command,
        "complete": front.is_complete,
        "seconds": round(front.seconds, 1),
        "baseline_seconds": front.baseline_seconds,
        "measured_baseline_seconds": front.measured_baseline_seconds,
        "prompts": list(front.prompts),
        "reference": front.reference,
        "notes": front.notes,
        "rows": [front.profile(row).model_dump(mode="json") for row in front.rows],
        "candidates": [
            {"settings": dot.settings.to_dict(), "seconds": round(dot.seconds, 5), "psnr": round(dot.psnr, 2)}
            | ({"estimated": True} if dot.is_estimated else {})
            for dot in front.dots
        ],
    }


def write_report(front: Front, chosen: Mapping[str, Profile], folder: Path, command: str) -> list[Path]:
    """Write ``tune.html``, ``tune.json`` and the chosen profiles, by file name. Returns the files."""
    make_folder(folder)
    data = json.dumps(front_data(front, command), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    page = render(front, command, {name: profile.settings for name, profile in chosen.items()})
    if (folder / "tune.json").exists():  # its profiles would pass for those of this search
        for path in folder.iterdir():
            if _PROFILE.fullmatch(path.name) and path.name not in chosen:
                path.unlink()
    for name, text in {"tune.html": page, "tune.json": data}.items():
        with atomic_write(folder / name) as file:
            file.write(text.encode())
    for name, profile in chosen.items():
        profile.save(folder / name)
    return [folder / name for name in ("tune.html", "tune.json", *chosen)]


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


def print_front(front: Front, chosen: Mapping[str, Profile], files: list[Path]) -> None:
    """Print the rows for the usual speed-ups, those that ran and the chosen ones, marked, then the chosen profiles and
    the files."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 140)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("settings", min_width=30)
    for name in ("seconds", "measured", "speed-up", "PSNR", "SSIM", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(
        "baseline: 25 dpm++ steps, half precision",
        *_times(front.baseline_seconds, front.measured_baseline_seconds),
        "1.0×",
    )
    settings = [profile.settings for profile in chosen.values()]
    for row in front.shown(settings):
        is_chosen = row.settings in settings
        words = f"→ {row.settings.words}" if is_chosen else row.settings.words
        table.add_row(escape(words), *row_words(row), style="bold" if is_chosen else None)
    console.print(table)
    for note in front.notes:
        console.print(escape(note), style="yellow", highlight=False)
    if not front.is_complete:
        console.print("Ended early: this is the front so far.", style="bold yellow")
    for name, profile in chosen.items():
        console.print(f"\n{name}: {profile.settings.words}", highlight=False, markup=False)
    console.print("\n" + "\n".join(f"wrote {path}" for path in files), highlight=False, markup=False)


def row_words(row: Row) -> tuple[str, ...]:
    """A row's figures as text: seconds, measured seconds, speed-up, PSNR, SSIM, memory."""
    return (
        *_times(row.predicted_seconds, row.measured_seconds),
        f"{row.speed_up:.1f}×",
        row.decibels,
        "–" if row.ssim is None else f"{row.ssim:.3f}",
        "–" if row.peak_memory is None else f"{row.peak_memory / 1e9:.2f} GB",
    )


def _times(predicted: float, measured: float | None) -> tuple[str, str]:
    return f"{predicted:.3g}", "–" if measured is None else f"{measured:.3g}"
