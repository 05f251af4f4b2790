"""The measurements as data: the content of ``report.json``, also the source of page and terminal."""

import io
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..schedulers import SHORT_NAMES
from ..utils import quality
from ..utils.files import atomic_write, make_folder, read_json
from ..utils.machine import machine, versions
from . import against, against_genai
from .measure import Results, Row
from .page import render as render_page
from .setups import GENAI, REFERENCE, Plan, Table
from .wording import JsonObject

METHOD = read_json(Path(__file__).with_name("method.json"))
"""What each figure means, for the reader of a report."""


@dataclass
class Report:
    """A measurement, finished or not."""

    plan: Plan
    command: str
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    machine: JsonObject = field(default_factory=machine)
    seconds: float = 0.0
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.results = [Results(table, [Row(setup) for setup in table.setups]) for table in self.plan.tables]

    @property
    def failure(self) -> str | None:
        """Why this report is empty, if every row has failed."""
        rows = [row for result in self.results for row in result.rows]
        if not all(row.error for row in rows):
            return None
        return f"no row could be measured; the first reason: {rows[0].error}"

    def data(self) -> JsonObject:
        """The content of ``report.json``; see ``schema.json``."""
        packages = ["mindspore", "openvino", "numpy", "scikit-image"]
        libraries = {setup.library for table in self.plan.tables for setup in table.setups}
        if REFERENCE in libraries:
            packages += [*against.PACKAGES, "accelerate"]
        if GENAI in libraries:
            packages += against_genai.NAMES.values()
        return {
            "format": 1,
            "complete": not self.interrupted,
            "command": self.command,
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round(self.seconds, 3),
            "machine": self.machine,
            "versions": versions(packages),
            "method": METHOD,
            "notes": list(self.plan.notes),
            "tables": [_table(result) for result in self.results],
        }

    def write(self, folder: Path) -> list[Path]:
        """Write ``report.json``, ``grid.png`` and ``report.html`` into ``folder``. Returns the files.

        Each appears complete or not at all, and replaces that of an earlier run.
        """
        make_folder(folder)
        data = self.data()
        images = [{row.setup.name: row.images for row in result.rows} for result in self.results]
        files = {
            "report.json": (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode(),
            "report.html": render_page(data, images).encode(),
        }
        drawn = [result for result in self.results if any(row.images is not None for row in result.rows)]
        if drawn:
            picture = io.BytesIO()
            grid(drawn[-1]).save(picture, format="PNG")
            files["grid.png"] = picture.getvalue()
        else:
            (folder / "grid.png").unlink(missing_ok=True)
        for name, content in files.items():
            with atomic_write(folder / name) as file:
                file.write(content)
        return [folder / name for name in files]


def _table(result: Results) -> JsonObject:
    table, job = result.table, result.table.job
    setup = SHORT_NAMES[str(job.scheduler)]
    return {
        "title": table.title,
        "prompt": job.prompt,
        "scheduler": {"name": job.scheduler, "class": setup.class_name, **setup.options},
        **{name: getattr(job, name) for name in ("steps", "guidance_scale", "num_images", "height", "width", "seeds")},
        "repeats": table.repeats,
        "weights": "random" if table.random_weights else "checkpoint",
        "rows": [_row(row, result.rows, table) for row in result.rows],
    }


def _row(row: Row, rows: list[Row], table: Table) -> JsonObject:
    seconds, setup = [run.seconds for run in row.runs], row.setup
    baseline, compared = rows[0], None
    if row is not baseline and row.images is not None and baseline.images is not None and table.compares_images(setup):
        compared = asdict(quality.compare(row.images, baseline.images))
    return {
        "name": setup.name,
        "library": setup.library,
        "model": setup.model.name,
        "tiny_vae": setup.tiny_vae.name if setup.tiny_vae else None,
        "dtype": setup.job.dtype,
        "steps": setup.job.steps,
        "rival_of": setup.rival_of,
        "engine": row.engine,
        "status": row.status(table.repeats),
        "error": row.error,
        "latency": {"median": row.latency, "min": min(seconds), "max": max(seconds)} if seconds else None,
        "speedup": _speedup(row, baseline),
        "speedup_over_reference": _speedup(row, next(filter(_is_reference, rows), None)),
        "stages": row.stages,
        "calls": asdict(row.calls) if row.calls else None,
        "peak_memory": row.peak_memory,
        "quality": compared,
        "load_seconds": row.load_seconds,
        "first_run": asdict(row.first_run) if row.first_run else None,
        "runs": [asdict(run) for run in row.runs],
        "notes": row.notes,
    }


def _speedup(row: Row, other: Row | None) -> float | None:
    return other.latency / row.latency if other and other.latency and row.latency else None


def _is_reference(row: Row) -> bool:
    """Whether this is the reference library at its defaults."""
    return row.setup.library == REFERENCE and row.setup.job.dtype == "float32"


def grid(result: Results) -> Image.Image:
    """All images of a table in one: one row per set-up with its name, and the same seed down each column."""
    drawn = {_label(row): row.images for row in result.rows if row.images is not None}
    columns, height, width = next(iter(drawn.values())).shape[:3]
    gap, line = 8, max(14, height // 24)
    font, cell = ImageFont.load_default(line), line + height + 2 * gap
    across = max(columns * (width + gap) + gap, *(int(font.getlength(label)) + 2 * gap for label in drawn))
    canvas = Image.new("RGB", (across, len(drawn) * cell + gap), "white")
    for i, (label, images) in enumerate(drawn.items()):
        ImageDraw.Draw(canvas).text((gap, i * cell + gap // 2), label, "black", font)
        for j, image in enumerate(images):
            canvas.paste(Image.fromarray(image), (gap + j * (width + gap), i * cell + line + 2 * gap))
    return canvas


def _label(row: Row) -> str:
    return row.setup.name + (f", {row.latency:.2f} s" if row.latency else "")
