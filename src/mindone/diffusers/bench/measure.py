"""Runs the rows of a table in turn: A, B, C, A, B, C, … so that a drifting machine favours none of them."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ..jobs import Job
from .clock import STAGES, Calls
from .process import PATIENCE_SECONDS, RowFailed, RowProcess
from .setups import Setup, Table, work
from .terminal import ProgressBar
from .worker import Reply

Start = Callable[[Setup], RowProcess]


@dataclass
class Run:
    """One call of a pipeline; ``order`` counts the runs of all rows and tables."""

    order: int
    steps: int
    seconds: float
    stages: dict[str, float]


@dataclass
class Row:
    """The measurements of a set-up. The first run warms up and is not in ``runs``; a rival needs none."""

    setup: Setup
    load_seconds: float | None = None
    engine: str | None = None
    first_run: Run | None = None
    runs: list[Run] = field(default_factory=list)
    peak_memory: int | None = None
    images: NDArray[np.uint8] | None = None
    """uint8 (images, height, width, 3), from the first run with all steps."""
    calls: Calls | None = None
    """The calls of the denoising network in such a run."""
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
        """How far the timed runs got: "finished", "partial", "not run", or "failed"."""
        if self.error:
            return "failed"
        return "finished" if len(self.runs) >= repeats else "partial" if self.runs else "not run"


@dataclass
class Results:
    """A table and its rows, filled while they are measured."""

    table: Table
    rows: list[Row]


def measure(results: list[Results], watcher: ProgressBar, start: Start = RowProcess) -> None:
    """Measure all tables, filling ``results`` on the way, so that an interruption keeps them.

    ``watcher`` gets the progress, and ``start`` makes a row's process.
    """
    orders = count(1)
    for result in results:
        rows = _Rows(result, watcher, start, orders)
        try:
            rows.measure()
        finally:
            rows.end()


class _Rows:
    """The rows of one table during measurement.

    Each row loads and runs once to compile its networks; then all run in turn, ``repeats`` times. Rivals join after the
    first turn, which determines their number of steps. With one repeat there are no turns, and rows no longer needed
    free their memory before the next one loads. A failed row keeps its results and the reason, and the others go on.
    """

    def __init__(self, result: Results, watcher: ProgressBar, start: Start, orders: Iterator[int]):
        self.rows, self.table, self.repeats = result.rows, result.table, result.table.repeats
        self.watcher, self.start, self.orders = watcher, start, orders
        self.processes: dict[int, RowProcess] = {}
        self.left = {id(row): self.table.work(row.setup) for row in self.rows}

    def measure(self) -> None:
        if self.repeats == 1:
            for i, row in enumerate(self.rows):
                self.begin(row)
                self.time(row, 1)
                self.retire(self.rows[i + 1 :])
            return
        rivals = [row for row in self.rows if row.setup.rival_of is not None]
        for row in self.rows:
            if row not in rivals:
                self.begin(row)
        for repeat in range(1, self.repeats + 1):
            for row in self.rows:
                self.time(row, repeat)
            while rivals:
                self.begin(rivals[0])
                self.time(rivals.pop(0), 1)

    def begin(self, row: Row) -> None:
        """Get the row ready to be timed."""
        with self.failing(row):
            self.load(row) if row.setup.rival_of is None else self.join(row)

    def load(self, row: Row) -> None:
        """Start a row's process and generate for the first time."""
        self.watcher.begin(self.table, row.setup, "loading")
        process = self.processes[id(row)] = self.start(row.setup)
        reply = self.take(row, process.reply(self.watcher.step))
        row.load_seconds, row.engine = reply.seconds, reply.engine
        row.first_run = self.run(row, row.setup.warm_up, "first run")

    def join(self, row: Row) -> None:
        """Give a rival its number of steps and its base's process."""
        base = base_of(row.setup, self.rows)
        found = as_fast_as_its_rival(row.setup, self.rows)
        saved = self.table.work(row.setup) - self.table.work(found)
        self.left[id(row)] -= saved
        self.watcher.shorten(saved)
        row.setup, row.load_seconds, row.engine = found, base.load_seconds, base.engine
        self.processes[id(row)] = self.processes[id(base)]

    def time(self, row: Row, repeat: int) -> None:
        """One timed run, if the row is ready and has not failed."""
        if id(row) in self.processes and not row.error:
            with self.failing(row):
                row.runs.append(self.run(row, row.setup.job, f"run {repeat} of {self.repeats}"))

    def run(self, row: Row, job: Job, activity: str) -> Run:
        self.watcher.begin(self.table, row.setup, activity, job)
        order, is_whole = next(self.orders), job == row.setup.job
        wants_images = is_whole and row.images is None
        reply = self.take(row, self.processes[id(row)].draw(self.watcher.step, job, wants_images))
        if is_whole:
            row.calls = reply.calls
        self.left[id(row)] -= work(job)
        self.watcher.end_runs(work(job))
        return Run(order, job.steps or 0, reply.seconds, reply.stages)

    def take(self, row: Row, reply: Reply) -> Reply:
        """Enter the answer of a row's process into the row."""
        row.peak_memory = reply.peak_memory
        row.images = row.images if reply.images is None else reply.images
        row.notes += reply.notes
        for note in reply.notes:
            self.watcher.note(f"{row.setup.name}: {note}")
        return reply

    @contextmanager
    def failing(self, row: Row) -> Iterator[None]:
        """Within this context the row may fail; then its remaining runs are skipped."""
        try:
            yield
        except RowFailed as failure:
            row.error = str(failure)
            self.watcher.note(f"{row.setup.name} failed: {row.error}")
            self.watcher.end_runs(self.left.pop(id(row)))

    def retire(self, rest: list[Row]) -> None:
        """End the processes that no remaining row uses."""
        bases = [base_of(row.setup, self.rows) for row in rest if row.setup.rival_of is not None]
        needed = [self.processes[id(base)] for base in bases if id(base) in self.processes]
        for process in set(self.processes.values()).difference(needed):
            process.hang_up()
            process.end(time.monotonic() + PATIENCE_SECONDS)
        self.processes = {key: process for key, process in self.processes.items() if process in needed}

    def end(self) -> None:
        """Ask all processes to end, and make sure that they do."""
        processes = set(self.processes.values())  # rivals share theirs
        for process in processes:
            process.hang_up()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for process in processes:
            process.end(deadline)


def base_of(rival: Setup, rows: list[Row]) -> Row:
    """The row that is the rival at full steps."""
    return next(row for row in rows if row.setup.job == rival.job and row.setup.rival_of is None)


def as_fast_as_its_rival(setup: Setup, rows: list[Row]) -> Setup:
    """The set-up with the number of steps, from one to its own, that takes the time of the row it rivals.

    ``rows`` include that row and the set-up at full steps.

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
