"""A bench from the request to the report."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from rich.console import Console

from ..utils.files import check_folder, check_space
from . import shapes
from .measure import measure_all
from .options import Options
from .process import RowProcess
from .report import Report
from .setups import Setup, Table
from .tables import make_plan
from .terminal import ProgressBar, print_tables


def run(options: Options, command: str, start: Callable[[Setup], RowProcess] = RowProcess) -> Report:
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
    check_folder(folder)
    shape = shapes.SHAPES[options.shape] if options.shape else None
    if shape:
        check_space(folder, shape.nbytes)
    with _scratch(folder) if shape else nullcontext(folder) as scratch:
        plan = make_plan(options, scratch)
        check_space(folder, report_bytes(plan.tables))
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


def report_bytes(tables: Iterable[Table]) -> int:
    """An upper bound of the report's size: every image in the page and the grid, uncompressed."""
    jobs = [setup.job for table in tables for setup in table.setups]
    return 8_000_000 + 9 * sum(job.num_images * (job.height or 0) * (job.width or 0) for job in jobs)


def _measure(report: Report, start: Callable[[Setup], RowProcess]) -> None:
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
