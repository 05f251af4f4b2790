"""The bench in the terminal: a progress bar over the whole plan, and the tables."""

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from ..utils import logging
from . import wording
from .plan import Plan, Setup, Table


class ProgressBar:
    """A `measure.Watcher` that draws a bar on standard error; it counts denoising steps, times images."""

    def __init__(self, plan: Plan):
        self.console = Console(stderr=True)
        self.progress = Progress(
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("left · {task.description}"),
            console=self.console,
            # Rows differ in speed and take turns, so that only a long average says something about the rest.
            speed_estimate_period=1800,
            disable=not logging.is_progress_bar_enabled(),
        )
        total = sum(len(table.setups) * (table.repeats + 1) * _units(table) for table in plan.tables)
        self.task = self.progress.add_task("starting", total=total)
        self.done, self.images = 0, 1
        self.within = 0

    def __enter__(self) -> "ProgressBar":
        self.progress.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.progress.stop()

    def begin(self, table: Table, setup: Setup, activity: str) -> None:
        """A row loads or runs now."""
        self.within, self.images, self.most = 0, table.num_images, _units(table)
        number = table.title.partition(":")[0]
        self.progress.update(self.task, description=escape(f"{number}, {setup.name}, {activity}"))

    def step(self) -> None:
        """A denoising step of this run begins."""
        self.within = min(self.within + self.images, self.most)
        self.progress.update(self.task, completed=self.done + self.within - self.images)

    def end_run(self, table: Table) -> None:
        """The run is over."""
        self._advance(_units(table))

    def skip(self, table: Table, runs: int) -> None:
        """These runs of a row that failed will not be made."""
        self._advance(runs * _units(table))

    def note(self, text: str) -> None:
        """Something that the user should read."""
        self.console.print(escape(text), style="yellow", highlight=False)

    def _advance(self, units: int) -> None:
        self.done += units
        self.within = 0
        self.progress.update(self.task, completed=self.done)


def _units(table: Table) -> int:
    """The length of a run on the bar."""
    return table.steps * table.num_images


def print_tables(data: dict[str, Any], console: Console) -> None:
    """Print what was measured."""
    console.print(f"\n{escape(wording.machine(data))}", highlight=False)
    for table in data["tables"]:
        console.print()
        console.print(_table(table))
        for row in table["rows"]:
            if problem := wording.failure(row):
                console.print(escape(f"{row['name']}: {problem}"), style="yellow", highlight=False)
    for note in [*data["notes"], wording.busy(data)]:
        if note:
            console.print(escape(note), style="yellow", highlight=False)
    if not data["complete"]:
        console.print("Interrupted: the report is partial.", style="bold yellow")


def _table(table: dict[str, Any]) -> RichTable:
    shown = RichTable(
        title=f"[bold]{escape(table['title'])}[/bold]\n{escape(wording.protocol(table))}; times in seconds",
        title_justify="left",
        title_style="",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("set-up", min_width=16)
    for name in ("latency", "speed-up", "text", "denoising", "decode", "memory", "PSNR", "SSIM"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in table["rows"]:
        stages = row["stages"] or {}
        shown.add_row(
            escape(row["name"]),
            wording.seconds(row["latency"] and row["latency"]["median"]),
            wording.speedup(row["speedup"]),
            *(wording.seconds(stages.get(stage)) for stage in wording.STAGE_NAMES),
            wording.memory(row["peak_memory"]),
            wording.psnr(row, is_baseline=row is table["rows"][0]),
            wording.ssim(row),
        )
    return shown
