"""The bench in the terminal: a progress bar over the whole plan, and the tables."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from ..jobs import Job
from ..utils import logging
from . import wording
from .setups import Setup, Table, work
from .wording import JsonObject


class ProgressBar(Progress):
    """A bar on standard error over all runs; it counts denoising steps times images."""

    def __init__(self, tables: Sequence[Table]):
        super().__init__(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left · {task.description}"),
            console=Console(stderr=True),
            # Rows differ in speed and take turns, so only a long average predicts the rest.
            speed_estimate_period=1800,
            disable=not logging.is_progress_bar_enabled(),
        )
        self.total = sum(table.work(setup) for table in tables for setup in table.setups)
        self.task = self.add_task("starting", total=self.total)
        self.done, self.within, self.job = 0, 0, tables[0].job

    def begin(self, table: Table, setup: Setup, activity: str, job: Job | None = None) -> None:
        """Show that a row loads or runs a job."""
        self.within, self.job = 0, job or setup.job
        number = table.title.partition(":")[0]
        self.update(self.task, description=escape(f"{number}, {setup.name}, {activity}"))

    def step(self) -> None:
        """Count a denoising step."""
        images = self.job.num_images
        self.within = min(self.within + images, work(self.job))
        self.update(self.task, completed=self.done + self.within - images)

    def end_runs(self, units: int) -> None:
        """Count a finished run of this length, or the skipped runs of a failed row."""
        self.within, self.done = 0, self.done + units
        self.update(self.task, completed=self.done)

    def shorten(self, units: int) -> None:
        """Reduce the planned work."""
        self.total -= units
        self.update(self.task, total=self.total)

    def note(self, text: str) -> None:
        """Print a note for the user."""
        self.console.print(escape(text), style="yellow", highlight=False)


def print_report(data: JsonObject, files: list[Path]) -> None:
    """Print the results, and where they were written."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 180)
    console.print(f"\n{escape(wording.machine(data))}", highlight=False)
    for table in data["tables"]:
        console.print()
        console.print(_table(table))
        for row in table["rows"]:
            for problem in filter(None, (wording.failure(row), wording.loses(row, table))):
                console.print(escape(f"{row['name']}: {problem}"), style="yellow", highlight=False)
    for note in [*data["notes"], wording.busy(data)]:
        if note:
            console.print(escape(note), style="yellow", highlight=False)
    if not data["complete"]:
        console.print("Interrupted: the report is partial.", style="bold yellow")
    console.print("\n" + "\n".join(f"wrote {path}" for path in files), highlight=False, markup=False)


def _table(table: JsonObject) -> RichTable:
    shown = RichTable(
        title=f"[bold]{escape(table['title'])}[/bold]\n{escape(wording.protocol(table))}; times in seconds",
        title_justify="left",
        title_style="",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("set-up", min_width=16)
    reference, calls = wording.shows_reference(table), wording.shows_calls(table)
    names = ["latency", "speed-up", *["over diffusers"] * reference, "text", "denoising", "decode"]
    for name in [*names, *list(wording.CALL_NAMES.values()) * calls, "memory", "PSNR", "SSIM"]:
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table["rows"]:
        stages = row["stages"] or {}
        shown.add_row(
            escape(row["name"]),
            wording.latency(row),
            wording.speedup(row["speedup"]),
            *[wording.speedup(row["speedup_over_reference"])] * reference,
            *(wording.seconds(stages.get(stage)) for stage in wording.STAGE_NAMES),
            *wording.calls(row) * calls,
            wording.memory(row["peak_memory"]),
            wording.psnr(row, is_baseline=row is table["rows"][0]),
            wording.ssim(row),
        )
    return shown
