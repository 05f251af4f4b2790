"""Running the rows of a table in turn: A, B, C, A, B, C, … so that a machine that drifts favours none of them."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np

from .clock import STAGES
from .process import PATIENCE_SECONDS, RowFailed, RowProcess
from .setups import Setup, Table
from .terminal import ProgressBar
from .worker import Reply

Start = Callable[[Setup], RowProcess]


@dataclass
class Run:
    """One call of a pipeline; ``order`` counts the runs of all rows and tables."""

    order: int
    seconds: float
    stages: dict[str, float]


@dataclass
class Row:
    """What was measured of a set-up. The first run compiles and is not among ``runs``."""

    setup: Setup
    load_seconds: float | None = None
    engine: str | None = None
    first_run: Run | None = None
    runs: list[Run] = field(default_factory=list)
    peak_memory: int | None = None
    images: np.ndarray | None = None
    """uint8 (images, height, width, 3), those of the first run."""
    error: str | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def latency(self) -> float | None:
        """The median of the timed runs, in seconds."""
        return statistics.median(run.seconds for run in self.runs) if self.runs else None

    @property
    def stages(self) -> dict[str, float] | None:
        """The median of each stage over the timed runs, in seconds."""
        if not self.runs:
            return None
        return {stage: statistics.median(run.stages[stage] for run in self.runs) for stage in STAGES}

    def status(self, repeats: int) -> str:
        """Whether all timed runs are there: "finished", "partial", "not run", or "failed"."""
        if self.error:
            return "failed"
        return "finished" if len(self.runs) >= repeats else "partial" if self.runs else "not run"


@dataclass
class Results:
    """A table and its rows, filled while they are measured."""

    table: Table
    rows: list[Row]


def measure(results: list[Results], watcher: ProgressBar, start: Start = RowProcess) -> None:
    """Measure all tables, filling ``results`` as it goes, so that they can be kept when this is interrupted.

    ``watcher`` is told about it, and ``start`` makes a row's process.
    """
    orders = count(1)
    for result in results:
        rows = _Rows(result, watcher, start, orders)
        try:
            rows.measure()
        finally:
            rows.end()


class _Rows:
    """The rows of one table while they are measured.

    Each row is loaded and run once for its compiled networks and its images; then all are run in turn, ``repeats``
    times. Rivals join after the first turn, which tells how many steps they have. A row that fails keeps what it has,
    with the reason, and the others go on.
    """

    def __init__(self, result: Results, watcher: ProgressBar, start: Start, orders: Iterator[int]):
        self.rows, self.table, self.repeats = result.rows, result.table, result.table.repeats
        self.watcher, self.start, self.orders = watcher, start, orders
        self.processes: dict[int, RowProcess] = {}

    def measure(self) -> None:
        rivals = [row for row in self.rows if row.setup.rival_of is not None]
        for row in self.rows:
            if row not in rivals:
                self.load(row)
        for repeat in range(1, self.repeats + 1):
            for row in self.rows:
                self.time(row, repeat)
            while rivals:
                self.join(rivals.pop(0))

    def load(self, row: Row) -> None:
        """Start a row's process, and have it draw for the first time."""
        self.watcher.begin(self.table, row.setup, "loading")
        process = self.processes[id(row)] = self.start(row.setup)
        with self.failing(row):
            reply = self.take(row, process.reply(self.watcher.step))
            row.load_seconds, row.engine = reply.seconds, reply.engine
            self.watcher.begin(self.table, row.setup, "first run")
            row.first_run = self.run(row, images=True)

    def time(self, row: Row, repeat: int) -> None:
        """One timed run, if the row is there and has not failed."""
        if row.first_run and not row.error:
            self.watcher.begin(self.table, row.setup, f"run {repeat} of {self.repeats}")
            with self.failing(row):
                row.runs.append(self.run(row, images=False))

    def join(self, row: Row) -> None:
        """A rival gets its number of steps and its base's process, and catches up with the others."""
        with self.failing(row):
            base = base_of(row.setup, self.rows)
            found = as_fast_as_its_rival(row.setup, self.rows)
            self.watcher.shorten((self.repeats + 1) * (row.setup.work - found.work))
            row.setup, row.load_seconds, row.engine = found, base.load_seconds, base.engine
            self.processes[id(row)] = self.processes[id(base)]
            self.watcher.begin(self.table, row.setup, "first run")
            row.first_run = self.run(row, images=True)
            self.time(row, 1)

    def run(self, row: Row, images: bool) -> Run:
        order = next(self.orders)
        reply = self.take(row, self.processes[id(row)].draw(self.watcher.step, row.setup.job, images))
        self.watcher.end_runs(row.setup)
        return Run(order, reply.seconds, reply.stages)

    def take(self, row: Row, reply: Reply) -> Reply:
        """Enter what a row's process says of every request into the row."""
        row.peak_memory = reply.peak_memory
        row.images = row.images if reply.images is None else reply.images
        row.notes += reply.notes
        for note in reply.notes:
            self.watcher.note(f"{row.setup.name}: {note}")
        return reply

    @contextmanager
    def failing(self, row: Row) -> Iterator[None]:
        """Within this context the row may fail; the runs that it will not make are skipped."""
        try:
            yield
        except RowFailed as failure:
            row.error = str(failure)
            self.watcher.note(f"{row.setup.name} failed: {row.error}")
            self.watcher.end_runs(row.setup, runs=self.repeats - len(row.runs) + (row.first_run is None))

    def end(self) -> None:
        """Let all processes end, and see to it."""
        for process in self.processes.values():
            process.hang_up()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in self.processes.values():
            process.end(deadline)


def base_of(rival: Setup, rows: list[Row]) -> Row:
    """The row that is the rival with all its steps."""
    return next(row for row in rows if row.setup.job == rival.job and row.setup.rival_of is None)


def as_fast_as_its_rival(setup: Setup, rows: list[Row]) -> Setup:
    """The set-up with as many steps, at least one and at most its own, as take the time of the row that it rivals.

    ``rows`` hold that row, and the one that is the set-up with all its steps.

    Raises:
        RowFailed: one of the two has no timed run.
    """
    faster = next(row for row in rows if row.setup.name == setup.rival_of)
    base = base_of(setup, rows)
    for row in (faster, base):
        if not row.runs:
            raise RowFailed(f"it was to be as fast as {setup.rival_of!r}, but {row.setup.name!r} has failed")
    denoising = base.runs[0].stages["denoising"]
    outside = base.runs[0].seconds - denoising
    steps = round((faster.runs[0].seconds - outside) / (denoising / setup.steps))
    steps = min(max(steps, 1), setup.steps)
    name = f"{setup.name.removesuffix(', fewer steps')}, {steps} step{'s' if steps > 1 else ''}"
    return replace(setup, name=name, job=setup.job.changed(steps=steps))
