"""Running the rows of a table in turn: A, B, C, A, B, C, … so that a machine that drifts favours none of them."""

import multiprocessing
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .clock import STAGES
from .plan import Plan, Setup, Table
from .worker import live

_PATIENCE_SECONDS = 5


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

    @classmethod
    def of(cls, table: Table) -> "Results":
        """Nothing measured yet."""
        return cls(table, [Row(setup) for setup in table.setups])


class Watcher(Protocol):
    """Who is told how far the measurement has come."""

    def begin(self, table: Table, setup: Setup, activity: str) -> None:
        """A row loads or runs now."""

    def step(self) -> None:
        """A denoising step of this run begins."""

    def end_run(self, table: Table) -> None:
        """The run is over."""

    def skip(self, table: Table, runs: int) -> None:
        """These runs of a row that failed will not be made."""

    def note(self, text: str) -> None:
        """Something that the user should read."""


class RowFailed(Exception):
    """A row cannot go on; the message is the reason, for its row in the report."""


class RowProcess:
    """The process of one row, seen from the one that asks."""

    def __init__(self, setup: Setup, table: Table):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=live, args=(theirs, setup, table), daemon=True)
        _restore_thread_count()
        with _ignoring_interrupts():
            self.process.start()
        theirs.close()

    def reply(self, on_step: Callable[[], None]) -> dict[str, Any]:
        """Wait until what was asked for is done."""
        try:
            while True:
                kind, content = self.connection.recv()
                if kind == "done":
                    return content
                if kind == "failed":
                    raise RowFailed(content)
                on_step()
        except (EOFError, OSError):
            self.process.join(_PATIENCE_SECONDS)
            raise RowFailed(_cause_of_death(self.process.exitcode)) from None

    def draw(self, on_step: Callable[[], None], images: bool) -> dict[str, Any]:
        """Have the row draw once."""
        try:
            self.connection.send(images)
        except OSError:
            self.process.join(_PATIENCE_SECONDS)
            raise RowFailed(_cause_of_death(self.process.exitcode)) from None
        return self.reply(on_step)

    def hang_up(self) -> None:
        """Let the process end: at once when it waits, else at its next step."""
        self.connection.close()

    def end(self, deadline: float) -> None:
        """Wait for the process to end until ``deadline`` (of `time.monotonic`), then end it."""
        self.process.join(max(deadline - time.monotonic(), 0.0))
        self.process.kill()
        self.process.join()


def _restore_thread_count() -> None:
    """Let the processes that follow have as many OpenMP threads as the user, or the machine, gives them.

    MindSpore sets OMP_NUM_THREADS to 1 as it is imported, behind the back of ``os.environ``. A row would inherit that,
    and PyTorch in it would compute on one thread.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.unsetenv("OMP_NUM_THREADS")


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """A process started within ignores Ctrl-C from its first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        name = signal.Signals(-exitcode).name
        likely = "; the machine has most likely run out of memory" if name in ("SIGKILL", "SIGABRT") else ""
        return f"its process was ended by {name}{likely}"
    return f"its process ended unexpectedly (exit status {exitcode})"


def measure_all(
    plan: Plan, results: list[Results], watcher: Watcher, start: Callable[[Setup, Table], Any] = RowProcess
) -> None:
    """Measure all tables, filling ``results`` as it goes, so that they can be kept when this is interrupted.

    Each row is loaded and run once for its compiled networks and its images; then all are run in turn, ``repeats``
    times. A row that fails keeps what it has, with the reason, and the others go on.

    Args:
        plan: the tables.
        results: one for each table, from `Results.of`.
        watcher: who is told about it.
        start: makes a row's process.
    """
    order = 0
    for table, result in zip(plan.tables, results):
        processes: list[tuple[Row, Any]] = []
        try:
            for row in result.rows:
                watcher.begin(table, row.setup, "loading")
                process = start(row.setup, table)
                processes.append((row, process))
                with _failing(row, table, watcher):
                    _take(row, process.reply(watcher.step), watcher, loading=True)
                    watcher.begin(table, row.setup, "first run")
                    order += 1
                    row.first_run = Run(order, *_take(row, process.draw(watcher.step, images=True), watcher))
                    watcher.end_run(table)
            for repeat in range(table.repeats):
                for row, process in processes:
                    if row.error:
                        continue
                    watcher.begin(table, row.setup, f"run {repeat + 1} of {table.repeats}")
                    with _failing(row, table, watcher):
                        order += 1
                        row.runs.append(Run(order, *_take(row, process.draw(watcher.step, images=False), watcher)))
                        watcher.end_run(table)
        finally:
            for _, process in processes:
                process.hang_up()
            deadline = time.monotonic() + _PATIENCE_SECONDS
            for _, process in processes:
                process.end(deadline)


@contextmanager
def _failing(row: Row, table: Table, watcher: Watcher) -> Iterator[None]:
    """Within this context the row may fail."""
    try:
        yield
    except RowFailed as failure:
        row.error = str(failure)
        watcher.note(f"{row.setup.name} failed: {row.error}")
        watcher.skip(table, table.repeats - len(row.runs) + (row.first_run is None))


def _take(row: Row, reply: dict[str, Any], watcher: Watcher, loading: bool = False) -> tuple[float, dict[str, float]]:
    """Enter what a row's process says into the row. Returns the run's seconds and those of its stages."""
    row.peak_memory = reply["peak_memory"]
    for note in reply["notes"]:
        row.notes.append(note)
        watcher.note(f"{row.setup.name}: {note}")
    if loading:
        row.load_seconds, row.engine = reply["seconds"], reply["engine"]
    if "images" in reply:
        row.images = reply["images"]
    return reply["seconds"], reply.get("stages", {})
