"""What was measured, as data: the content of ``report.json``, from which page and terminal are made too."""

import importlib.resources
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..schedulers import SHORT_NAMES
from ..utils import quality
from ..utils.files import atomic_write
from ..utils.machine import PEAK_MEMORY, machine, versions
from . import against
from .measure import Results, Row
from .page import render as render_page
from .setups import REFERENCE, Plan, Table
from .wording import JsonObject

FORMAT = 1

METHOD = {
    "order": "rows take turns, run by run; the first run of each, which compiles its networks, is not timed with them",
    "latency": "seconds of a pipeline's call, from the prompt to PIL images: the median of the timed runs",
    "speedup": "the baseline's latency divided by the row's",
    "stages": "a stage lasts from the first call of its network to the next stage's; the median of the timed runs",
    "peak_memory": PEAK_MEMORY,
    "quality": "the first run's images against the baseline's, from the same noise: PSNR over all images in decibels, "
    "SSIM as their mean (both scikit-image), and the largest difference of a channel, of 255",
}


@dataclass
class Report:
    """A measurement, finished or not."""

    plan: Plan
    results: list[Results]
    command: str
    started: datetime
    seconds: float = 0.0
    interrupted: bool = False
    machine: JsonObject | None = None

    @classmethod
    def begin(cls, plan: Plan, command: str) -> "Report":
        """A report on this machine, as it is before anything runs."""
        results = [Results.of(table) for table in plan.tables]
        return cls(plan, results, command, datetime.now(timezone.utc), machine=machine())

    @property
    def failure(self) -> str | None:
        """Why there is nothing in this report, if every row has failed."""
        rows = [row for result in self.results for row in result.rows]
        if not all(row.error for row in rows):
            return None
        return f"no row could be measured; the first reason: {rows[0].error}"

    def data(self) -> JsonObject:
        """The content of ``report.json``; see ``schema.json``."""
        packages = ["mindspore", "openvino", "numpy", "scikit-image"]
        if any(setup.library == REFERENCE for table in self.plan.tables for setup in table.setups):
            packages += [*against.PACKAGES, "accelerate"]
        return {
            "format": FORMAT,
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

        Each appears complete or not at all, in place of that of an earlier run.
        """
        folder.mkdir(parents=True, exist_ok=True)
        data = self.data()
        images = [{row.setup.name: row.images for row in result.rows} for result in self.results]
        files = [folder / "report.json"]
        with atomic_write(files[0]) as file:
            file.write((json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
        drawn = [result for result in self.results if any(row.images is not None for row in result.rows)]
        if drawn:
            files.append(folder / "grid.png")
            with atomic_write(files[-1]) as file:
                grid(drawn[-1]).save(file, format="PNG")
        else:
            (folder / "grid.png").unlink(missing_ok=True)
        files.append(folder / "report.html")
        with atomic_write(files[-1]) as file:
            file.write(render_page(data, images).encode())
        return files


def schema() -> JsonObject:
    """The JSON schema of ``report.json``."""
    return json.loads(importlib.resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8"))


def _table(result: Results) -> JsonObject:
    table, job = result.table, result.table.job
    class_name, settings = SHORT_NAMES[str(job.scheduler)]
    return {
        "title": table.title,
        "prompt": job.prompt,
        "scheduler": {"name": job.scheduler, "class": class_name, **settings},
        **{name: getattr(job, name) for name in ("steps", "guidance_scale", "num_images", "height", "width", "seeds")},
        "repeats": table.repeats,
        "weights": "random" if table.random_weights else "checkpoint",
        "rows": [_row(row, result.rows[0], table) for row in result.rows],
    }


def _row(row: Row, baseline: Row, table: Table) -> JsonObject:
    seconds, setup = [run.seconds for run in row.runs], row.setup
    compared = None
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
        "speedup": baseline.latency / row.latency if baseline.latency and row.latency else None,
        "stages": row.stages,
        "peak_memory": row.peak_memory,
        "quality": compared,
        "load_seconds": row.load_seconds,
        "first_run": asdict(row.first_run) if row.first_run else None,
        "runs": [asdict(run) for run in row.runs],
        "notes": row.notes,
    }


def grid(result: Results) -> Image.Image:
    """All images of a table in one: a row a set-up with its name, and the same seeds down each column."""
    rows = [row for row in result.rows if row.images is not None]
    columns, height, width = next(row.images for row in rows if row.images is not None).shape[:3]
    gap, line = 8, max(14, height // 24)
    font = ImageFont.load_default(line)
    cell = line + gap + height + gap
    across = max(columns * (width + gap) + gap, *(int(font.getlength(_label(row))) + 2 * gap for row in rows))
    canvas = Image.new("RGB", (across, len(rows) * cell + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(rows):
        draw.text((gap, i * cell + gap // 2), _label(row), "black", font)
        for j, image in enumerate(row.images if row.images is not None else ()):
            canvas.paste(Image.fromarray(image), (gap + j * (width + gap), i * cell + line + 2 * gap))
    return canvas


def _label(row: Row) -> str:
    seconds = f", {row.latency:.2f} s" if row.latency else ""
    return row.setup.name + seconds
