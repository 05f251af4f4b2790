"""A bench from the request to the report."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from . import checks, shapes
from .measure import RowProcess, measure_all
from .options import Options
from .plan import make_plan
from .report import Report
from .terminal import ProgressBar, print_tables


def run(options: Options, command: str, start: Callable = RowProcess) -> Report:
    """Measure, print the tables, and write ``report.html``, ``report.json`` and ``grid.png``.

    Ctrl-C ends the measurement and keeps what there is in a report that says so.

    Args:
        options: what to measure and where to write.
        command: what the user typed, for the report.
        start: makes a row's process, see `measure.measure_all`.

    Raises:
        ValueError, OSError: a request that cannot be measured or written; raised before any run.
    """
    folder = options.output
    checks.check_folder(folder)
    shape = shapes.find(options.shape) if options.shape else None
    if shape:
        checks.check_space(folder, shape.nbytes)
    with _scratch(folder) if shape else nullcontext(folder) as scratch:
        plan = make_plan(options, scratch)
        checks.check_space(folder, checks.report_bytes(plan.tables))
        report = Report.begin(plan, command)
        _measure(report, start)
    files = report.write(folder)
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, 140)
    print_tables(report.data(), console)
    console.print()
    for path in files:
        console.print(f"wrote {path}", highlight=False, markup=False)
    return report


def _measure(report: Report, start: Callable) -> None:
    began = time.perf_counter()
    try:
        with ProgressBar(report.plan) as progress:
            measure_all(report.plan, report.results, progress, start)
    except KeyboardInterrupt:
        report.interrupted = True
    report.seconds = time.perf_counter() - began


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for random weights, for as long as this context lasts.

    It lies in the report's folder, on the disk that the user chose: the temporary folder of many systems is in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=folder) as scratch:
        yield Path(scratch)
