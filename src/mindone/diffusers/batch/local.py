"""The runner on one machine: one process, one image after the other, each on all cores."""

from collections.abc import Generator

from ..jobs.grouping import Group
from .queue import Queue, Result
from .stopping import Stop
from .worker import Worker


class LocalRunner:
    """Draws in this process."""

    def __init__(self) -> None:
        self._worker = Worker()

    def run(self, queue: Queue, stop: Stop) -> Generator[Result, None, None]:
        """Draw what is in the queue until it is empty or ``stop`` is true."""
        last: Group | None = None
        while not stop and (task := queue.take(last)):
            last = task.group
            yield from queue.settle(task, self._worker.draw(task.jobs))

    def close(self) -> None:
        """Nothing outlives the process."""
