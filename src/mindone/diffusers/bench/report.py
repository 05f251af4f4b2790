"""What was measured, as data: the content of ``report.json``, from which page and terminal are made too."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from ..utils.files import atomic_write
from . import quality
from .machine import machine, versions
from .measure import Results, Row, Run
from .page import render as render_page
from .plan import REFERENCE, Plan, Setup, Table
from .worker import PEAK_MEMORY

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
    machine: dict[str, Any] | None = None

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

    def data(self) -> dict[str, Any]:
        """The content of ``report.json``; see ``schema.json``."""
        packages = ["mindspore", "openvino", "numpy", "scikit-image"]
        if any(setup.library == REFERENCE for table in self.plan.tables for setup in table.setups):
            packages += ["torch", "diffusers", "transformers", "accelerate"]
        tables = [_table(result) for result in self.results]
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
            "tables": tables,
        }

    def write(self, folder: Path) -> list[Path]:
        """Write ``report.json``, ``grid.png`` and ``report.html`` into ``folder``. Returns the files.

        Each appears complete or not at all, in place of that of an earlier run.
        """
        folder.mkdir(parents=True, exist_ok=True)
        data = self.data()
        images: list[Mapping[str, Any]] = [
            {row.setup.name: row.images for row in result.rows} for result in self.results
        ]
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


def schema() -> dict[str, Any]:
    """The JSON schema of ``report.json``."""
    return json.loads(importlib.resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8"))


def _table(result: Results) -> dict[str, Any]:
    table, baseline = result.table, result.rows[0]
    return {
        "title": table.title,
        "prompt": table.prompt,
        "scheduler": {"name": table.sampler.name, "class": table.sampler.class_name, **dict(table.sampler.settings)},
        "steps": table.steps,
        "guidance_scale": table.guidance_scale,
        "num_images": table.num_images,
        "repeats": table.repeats,
        "height": table.height,
        "width": table.width,
        "seeds": table.seeds,
        "weights": "random" if table.random_weights else "checkpoint",
        "rows": [_row(row, baseline, table) for row in result.rows],
    }


def _row(row: Row, baseline: Row, table: Table) -> dict[str, Any]:
    seconds = [run.seconds for run in row.runs]
    latency = {"median": row.latency, "min": min(seconds), "max": max(seconds)} if seconds else None
    speedup = baseline.latency / row.latency if baseline.latency and row.latency else None
    return {
        "name": row.setup.name,
        **_identity(row.setup),
        "engine": row.engine,
        "status": row.status(table.repeats),
        "error": row.error,
        "latency": latency,
        "speedup": speedup,
        "stages": row.stages,
        "peak_memory": row.peak_memory,
        "quality": _quality(row, baseline, table),
        "load_seconds": row.load_seconds,
        "first_run": _run(row.first_run) if row.first_run else None,
        "runs": [_run(run) for run in row.runs],
        "notes": row.notes,
    }


def _identity(setup: Setup) -> dict[str, Any]:
    return {
        "library": setup.library,
        "model": setup.model.name,
        "tiny_vae": setup.tiny_vae.name if setup.tiny_vae else None,
        "dtype": setup.dtype,
    }


def _run(run: Run) -> dict[str, Any]:
    return {"order": run.order, "seconds": run.seconds, "stages": run.stages}


def _quality(row: Row, baseline: Row, table: Table) -> dict[str, Any] | None:
    if row is baseline or row.images is None or baseline.images is None or not table.compares_images(row.setup):
        return None
    return asdict(quality.compare(row.images, baseline.images))


def grid(result: Results) -> Image.Image:
    """All images of a table in one: a row a set-up with its name, and the same seeds down each column."""
    rows: Sequence[Row] = [row for row in result.rows if row.images is not None]
    table = result.table
    gap, line = 8, max(14, table.height // 24)
    font = ImageFont.load_default(line)
    columns, cell = table.num_images, line + gap + table.height + gap
    width = max(columns * (table.width + gap) + gap, *(int(font.getlength(_label(row))) + 2 * gap for row in rows))
    canvas = Image.new("RGB", (width, len(rows) * cell + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for i, row in enumerate(rows):
        assert row.images is not None
        draw.text((gap, i * cell + gap // 2), _label(row), "black", font)
        for j, image in enumerate(row.images):
            canvas.paste(Image.fromarray(image), (gap + j * (table.width + gap), i * cell + line + 2 * gap))
    return canvas


def _label(row: Row) -> str:
    seconds = f", {row.latency:.2f} s" if row.latency else ""
    return row.setup.name + seconds
