"""The process that a row lives in: it loads the row's pipeline and draws whenever it is asked to.

A process per row gives each its own peak memory, and keeps a row that runs out of memory from taking the others along.
A rival draws in the process of the row that it is made from: it needs nothing else, and so no second copy of it.
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
    """What a row's process says when it has loaded (with an ``engine``) or drawn (with ``stages``)."""

    seconds: float
    peak_memory: int | None
    notes: list[str]
    """Warnings that have come up."""
    engine: str = ""
    stages: dict[str, float] = field(default_factory=dict)
    calls: Calls | None = None
    images: NDArray[np.uint8] | None = None
    """uint8 (images, height, width, 3), if they were wanted."""


def live(connection: Connection, setup: Setup) -> None:
    """What a row's process does: ``serve``, and then end without taking down the libraries, which takes seconds."""
    # Last of multiprocessing's own clearing up, which must be done, and before Python's, which need not.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-100)
    serve(connection, setup)


def serve(connection: Connection, setup: Setup) -> None:
    """Load a row, then draw whenever a job and whether its images are wanted come, until None does or nobody is there.

    Sends ``("step", None)`` at each step, ``("done", reply)`` after loading and after each run, ``("failed", reason)``
    as its last message when something goes wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that keeps the results
    notes = _Collector()
    logging.getLogger().addHandler(notes)
    try:
        clock = StageClock(lambda: connection.send(("step", None)))
        if setup.library == GENAI:
            against_genai.exported(setup.model.folder)  # which its users do once
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
    except (EOFError, ConnectionError):  # whoever asked is gone
        return
    except Exception as error:
        connection.send(("failed", in_one_line(error)))


class _Collector(logging.Handler):
    """Keeps warnings, each once: they go into the report, not into the middle of the progress bar."""

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
        """The warnings that came since the last call."""
        taken, self.fresh = self.fresh, []
        return taken
