"""The process of a row: it loads the row's pipeline and generates on request.

One process per row gives each its own peak memory, and a row that runs out of memory does not take the others along. A
rival runs in its base's process: it needs nothing else, so there is no second copy.
"""

import logging
import multiprocessing.util
import os
import signal
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..jobs import Job
from ..utils.errors import in_one_line
from ..utils.machine import peak_memory
from . import against, against_genai, ours
from .clock import Calls, StageClock
from .setups import GENAI, OURS, REFERENCE, Setup

Runner: TypeAlias = ours.Runner | against.Runner | against_genai.Runner
RUNNERS: dict[str, type[Runner]] = {OURS: ours.Runner, REFERENCE: against.Runner, GENAI: against_genai.Runner}


@dataclass
class Reply:
    """The answer of a row's process after loading (with an ``engine``) or a run (with ``stages``)."""

    seconds: float
    peak_memory: int | None
    notes: list[str]
    """New warnings."""
    engine: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    calls: Calls | None = None
    images: NDArray[np.uint8] | None = None
    """uint8 (images, height, width, 3), if requested."""


def live(connection: Connection, setup: Setup) -> None:
    """The row's process: ``serve``, then exit without tearing down the libraries, which takes seconds."""
    # After multiprocessing's own clean-up, which is needed, and before Python's, which is not.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-100)
    serve(connection, setup)


def serve(connection: Connection, setup: Setup) -> None:
    """Load a row, then run each job that arrives, until None arrives or the parent is gone.

    Sends ``("step", None)`` at each step, ``("done", reply)`` after loading and after each run, ``("failed", reason)``
    as its last message if something goes wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the process that keeps the results
    notes = _Collector()
    logging.getLogger().addHandler(notes)
    try:
        clock = StageClock(lambda: connection.send(("step", None)))
        if setup.library == GENAI:
            against_genai.exported(setup.model.folder)  # a user converts once, so this is not timed
        began = time.perf_counter()
        runner = RUNNERS[setup.library](setup, clock)
        reply = Reply(time.perf_counter() - began, peak_memory(), notes.taken(), engine=runner.engine)
        while True:
            connection.send(("done", reply))
            request: tuple[Job, bool] | None = connection.recv()
            if request is None:
                return
            job, wants_images = request
            clock.start()
            images = runner.draw(job)
            seconds, stages = clock.stop()
            reply = Reply(seconds, peak_memory(), notes.taken(), stages=stages, calls=clock.calls)
            if wants_images:
                reply.images = np.stack([np.asarray(image.convert("RGB")) for image in images])
    except (EOFError, ConnectionError):  # the parent is gone
        return
    except Exception as error:
        connection.send(("failed", in_one_line(error)))


class _Collector(logging.Handler):
    """Collects warnings, each once: they go into the report, not into the progress bar."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen: set[str] = set()
        self.fresh: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())
        if text not in self.seen:
            self.seen.add(text)
            self.fresh.append(text)

    def taken(self) -> list[str]:
        """The warnings since the last call."""
        taken, self.fresh = self.fresh, []
        return taken
