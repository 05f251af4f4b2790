"""The bench in the terminal: a progress bar over the whole plan, and the tables."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from ..utils import logging
from . import wording
from .setups import Plan, Setup, Table
from .wording import JsonObject


class ProgressBar:
    """A bar on standard error over all runs; it counts denoising steps, times images."""

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
        total = sum((table.repeats + 1) * setup.work for table in plan.tables for setup in table.setups)
        self.task = self.progress.add_task("starting", total=total)
        self.done, self.within, self.setup = 0, 0, plan.tables[0].setups[0]

    def __enter__(self) -> "ProgressBar":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def begin(self, table: Table, setup: Setup, activity: str) -> None:
        """A row loads or runs now."""
        self.within, self.setup = 0, setup
        number = table.title.partition(":")[0]
        self.progress.update(self.task, description=escape(f"{number}, {setup.name}, {activity}"))

    def step(self) -> None:
        """A denoising step of this run begins."""
        images = self.setup.job.num_images
        self.within = min(self.within + images, self.setup.work)
        self.progress.update(self.task, completed=self.done + self.within - images)

    def end_run(self, setup: Setup) -> None:
        """The run is over."""
        self._advance(setup.work)

    def skip(self, setup: Setup, runs: int) -> None:
        """These runs of a row that failed will not be made."""
        self._advance(runs * setup.work)

    def shorten(self, units: int) -> None:
        """There is less to do than was planned."""
        self.progress.update(self.task, total=(self.progress.tasks[0].total or 0) - units)

    def note(self, text: str) -> None:
        """Something that the user should read."""
        self.console.print(escape(text), style="yellow", highlight=False)

    def _advance(self, units: int) -> None:
        self.done += units
        self.within = 0
        self.progress.update(self.task, completed=self.done)


def print_tables(data: JsonObject, console: Console) -> None:
    """Print what was measured."""
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


def _table(table: JsonObject) -> RichTable:
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
            wording.latency(row),
            wording.speedup(row["speedup"]),
            *(wording.seconds(stages.get(stage)) for stage in wording.STAGE_NAMES),
            wording.memory(row["peak_memory"]),
            wording.psnr(row, is_baseline=row is table["rows"][0]),
            wording.ssim(row),
        )
    return shown
