"""A bench, from request to report."""

import time
from contextlib import ExitStack

from ..interrupts import raised
from ..utils.files import check_folder, check_space, make_folder, scratch_folder
from .measure import Start, measure
from .options import Options
from .process import RowProcess
from .report import Report
from .shapes import check_room
from .tables import make_plan
from .terminal import ProgressBar, print_report

_SHARE_IN_INT8 = 0.5
"""What weights in int8, which rows of table 3 have, take of those in half precision, at least."""


def run(options: Options, command: str, start: Start = RowProcess) -> Report:
    """Measure, print the tables, and write ``report.html``, ``report.json`` and ``grid.png``.

    Ctrl-C ends the measurement and keeps the results so far in a report that says so.

    Args:
        options: what to measure and where to write.
        command: what the user typed, for the report.
        start: makes a row's process.

    Raises:
        ValueError, OSError: a request that cannot be measured or written; raised before any run.
    """
    folder = options.output
    check_folder(folder)
    with ExitStack() as stack:
        scratch = folder
        if options.shape:
            check_room(options.shape, folder, _SHARE_IN_INT8 if options.table == "3" else 1.0)
            make_folder(folder)
            scratch = stack.enter_context(scratch_folder(folder, ".weights-"))
        plan = make_plan(options, scratch)
        jobs = [setup.job for table in plan.tables for setup in table.setups]
        pixels = sum(job.num_images * (job.height or 0) * (job.width or 0) for job in jobs)
        check_space(folder, 8_000_000 + 9 * pixels)  # every image in the page and the grid, uncompressed
        report = Report(plan, command)
        began = time.perf_counter()
        try:
            with raised(), ProgressBar(plan.tables) as progress:
                measure(report.results, progress, start)
        except KeyboardInterrupt:
            report.interrupted = True
        report.seconds = time.perf_counter() - began
    files = report.write(folder)
    print_report(report.data(), files)
    return report
