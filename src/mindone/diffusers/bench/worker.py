"""The process that a row lives in: it loads the row's pipeline and draws whenever it is asked to.

A process a row gives each its own peak memory, and keeps a row that runs out of memory from taking the others along.
"""

import logging
import multiprocessing.util
import os
import signal
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from ..utils.errors import in_one_line
from ..utils.machine import peak_memory
from .clock import StageClock
from .setups import OURS, Setup

if TYPE_CHECKING:
    from . import against, ours


class _EveryReply(TypedDict):
    seconds: float
    """For loading or drawing."""
    peak_memory: int | None
    notes: list[str]
    """Warnings that have come up."""


class Reply(_EveryReply, total=False):
    """What a row's process says when it is done with what was asked for."""

    engine: str
    """After loading."""
    stages: dict[str, float]
    """After drawing."""
    images: np.ndarray
    """uint8 (images, height, width, 3), if they were wanted."""


def live(connection: Connection, setup: Setup) -> None:
    """What a row's process does: `serve`, and then end without taking down the libraries, which takes seconds."""
    # Last of multiprocessing's own clearing up, which must be done, and before Python's, which need not.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-100)
    serve(connection, setup)


def serve(connection: Connection, setup: Setup) -> None:
    """Load a row, then draw whenever asked, until None comes or the other end is gone.

    Sends ``("step", None)`` at each step, ``("done", reply)`` after loading and after each run, ``("failed", reason)``
    as its last message when something goes wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that keeps the results
    notes = _collect_warnings()
    try:
        clock = StageClock(lambda: connection.send(("step", None)))
        began = time.perf_counter()
        runner = _load(setup, clock)
        reply: Reply = {"seconds": time.perf_counter() - began, "peak_memory": peak_memory(), "notes": notes.taken()}
        reply["engine"] = runner.engine
        while True:
            connection.send(("done", reply))
            wants_images = connection.recv()
            if wants_images is None:
                return
            clock.start()
            images = runner.draw()
            seconds, stages = clock.stop()
            reply = {"seconds": seconds, "stages": stages, "peak_memory": peak_memory(), "notes": notes.taken()}
            if wants_images:
                reply["images"] = np.stack([np.asarray(image.convert("RGB")) for image in images])
    except (EOFError, ConnectionError):  # whoever asked is gone
        return
    except Exception as error:
        connection.send(("failed", in_one_line(error)))


def _load(setup: Setup, clock: StageClock) -> "ours.Runner | against.Runner":
    if setup.library == OURS:
        from . import ours

        return ours.Runner(setup, clock)
    from . import against

    return against.Runner(setup, clock)


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
