"""The process that a row lives in: it loads the row's pipeline and draws whenever it is asked to.

A process a row gives each its own peak memory, and keeps a row that runs out of memory from taking the others along.
"""

import logging
import multiprocessing.util
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from .clock import StageClock
from .plan import OURS, Setup, Table

PEAK_MEMORY = (
    "the largest resident set of the row's own process, from its start: libraries, loading and compiling included, and "
    "pages of mapped weight files for as long as they are resident (VmHWM of /proc/self/status; elsewhere ru_maxrss)"
)


def live(connection: Connection, setup: Setup, table: Table) -> None:
    """What a row's process does: `serve`, and then end without taking down the libraries, which takes seconds."""
    # Last of multiprocessing's own clearing up, which must be done, and before Python's, which need not.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-100)
    serve(connection, setup, table)


def serve(connection: Connection, setup: Setup, table: Table) -> None:
    """Load a row, then draw whenever asked, until None comes or the other end is gone.

    Sends ``("step", None)`` at each step, ``("done", reply)`` after loading and after each run, ``("failed", reason)``
    as its last message when something goes wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that keeps the results
    notes = _collect_warnings()
    try:
        clock = StageClock(lambda: connection.send(("step", None)))
        began = time.perf_counter()
        runner = _load(setup, table, clock)
        reply: dict[str, Any] = {"seconds": time.perf_counter() - began, "engine": runner.engine}
        while True:
            connection.send(("done", {**reply, "peak_memory": peak_memory(), "notes": notes.taken()}))
            wants_images = connection.recv()
            if wants_images is None:
                return
            clock.start()
            images = runner.draw()
            seconds, stages = clock.stop()
            reply = {"seconds": seconds, "stages": stages}
            if wants_images:
                reply["images"] = np.stack([np.asarray(image.convert("RGB")) for image in images])
    except (EOFError, ConnectionError):  # whoever asked is gone
        return
    except Exception as error:
        connection.send(("failed", reason_of(error)))


def _load(setup: Setup, table: Table, clock: StageClock) -> Any:
    if setup.library == OURS:
        from . import ours

        return ours.Runner(setup, table, clock)
    from . import against

    return against.Runner(setup, table, clock)


def reason_of(error: BaseException) -> str:
    """An error in one line."""
    message = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory{': ' if message else ''}{message}"
    if isinstance(error, (ValueError, OSError)) and message:
        return message
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= 400 else text[:400] + "…"


def peak_memory() -> int | None:
    """Bytes, see `PEAK_MEMORY`; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


class _Collector(logging.Handler):
    """Keeps warnings, each once."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: dict[str, bool] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.setdefault(" ".join(record.getMessage().split()), False)

    def taken(self) -> list[str]:
        """The warnings that came since the last call."""
        fresh = [text for text, told in self.seen.items() if not told]
        self.seen.update(dict.fromkeys(fresh, True))
        return fresh


def _collect_warnings() -> _Collector:
    """Warnings go into the report, not into the middle of the progress bar."""
    collector = _Collector()
    logging.getLogger().addHandler(collector)
    return collector
