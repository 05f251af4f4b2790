"""The process of one row, seen from its parent; ``worker`` is the other side."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

from ..jobs import Job
from .setups import Setup
from .worker import Reply, live

PATIENCE_SECONDS = 5


class RowFailed(Exception):
    """A row cannot go on; the message is the reason given in the report."""


class RowProcess:
    """The process of one row, seen from its parent."""

    def __init__(self, setup: Setup):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=live, args=(theirs, setup), daemon=True)
        _restore_thread_count()
        with _ignoring_interrupts():
            self.process.start()
        theirs.close()

    def reply(self, on_step: Callable[[], None]) -> Reply:
        """Wait until the request is done."""
        try:
            while True:
                kind, content = self.connection.recv()
                if kind == "done":
                    reply: Reply = content
                    return reply
                if kind == "failed":
                    raise RowFailed(content)
                on_step()
        except (EOFError, OSError):
            self.process.join(PATIENCE_SECONDS)
            raise RowFailed(_cause_of_death(self.process.exitcode)) from None

    def draw(self, on_step: Callable[[], None], job: Job, images: bool) -> Reply:
        """Run the row once: its own job, or a rival's; ``images`` says whether to send the images."""
        with contextlib.suppress(OSError):  # a dead process has nothing to say either
            self.connection.send((job, images))
        return self.reply(on_step)

    def hang_up(self) -> None:
        """Ask the process to end: at once if it waits, else at its next step."""
        self.connection.close()

    def end(self, deadline: float) -> None:
        """Wait for the process to end until ``deadline`` (of ``time.monotonic``), then end it."""
        self.process.join(max(deadline - time.monotonic(), 0.0))
        self.process.kill()
        self.process.join()


def _restore_thread_count() -> None:
    """Give later processes as many OpenMP threads as the user or the machine allows.

    MindSpore sets OMP_NUM_THREADS to 1 when imported, bypassing ``os.environ``. A row would inherit that, and its
    PyTorch would compute on one thread.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.unsetenv("OMP_NUM_THREADS")


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """A process started in this context ignores Ctrl-C from its first moment."""
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
        likely = "; the machine most likely ran out of memory" if name in ("SIGKILL", "SIGABRT") else ""
        return f"its process was ended by {name}{likely}"
    return f"its process ended unexpectedly (exit status {exitcode})"
