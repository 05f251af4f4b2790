"""Carries out tasks: alone on one machine, one image after another, or as an actor on a Ray cluster."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from .. import __version__
from ..jobs import Job, LoadedPipelines, PipelineKey, draw_together
from ..jobs.grouping import Group
from ..jobs.loaded import load_quietly, usual_limit
from ..utils.cluster import Cores
from ..utils.errors import in_one_line
from ..utils.machine import keep_to_cores
from .queue import TRIES, Outcome, Queue, Result
from .stopping import Stop

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline


class Worker:
    """Loads each pipeline once and generates with it.

    Args:
        cores: the first core to compute on, and how many; None, or more than there are, means all. This must be decided
            before an engine is imported, so a process has one worker with its own cores.
    """

    def __init__(self, cores: Cores | None = None):
        if cores is not None:
            keep_to_cores(*cores)
        self._pipelines = LoadedPipelines(usual_limit(), load_quietly)
        self._load_failures: dict[PipelineKey, list[Exception]] = defaultdict(list)
        self.machine = platform.node()

    def run(self, queue: Queue, stop: Stop) -> Generator[Result, None, None]:
        """Work on the queue, in this process, until it is empty or ``stop`` is true."""
        last: Group | None = None
        while not stop and (task := queue.take(last)):
            last = task.group
            yield from queue.settle(task, self.draw(task.jobs))

    def close(self) -> None:
        """Nothing to release: all ends with the process."""

    def ready(self) -> str:
        """The machine's name, once the worker has started."""
        return self.machine

    def draw(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs that share a call of the pipeline; errors are in their outcomes."""
        began = time.perf_counter()
        try:
            pipe = self._pipeline(jobs[0].pipeline_key)
            began = time.perf_counter()
            images = [images[0] for images in draw_together(pipe, jobs)]
        except Exception as error:
            return [Outcome(job, machine=self.machine, error=in_one_line(error)) for job in jobs]
        seconds = (time.perf_counter() - began) / len(jobs)
        about: dict[str, object] = {"version": __version__, "engine_used": pipe.engine.name}
        about |= {"seconds": round(seconds, 4)} | ({"batch_size": len(jobs)} if len(jobs) > 1 else {})
        return [Outcome(job, image, about, seconds=seconds, machine=self.machine) for job, image in zip(jobs, images)]

    def _pipeline(self, key: PipelineKey) -> Pipeline:
        """The pipeline; after enough failed loads it is not tried again for each of its jobs."""
        failures = self._load_failures[key]
        if len(failures) >= TRIES:
            raise failures[-1]
        try:
            return self._pipelines.get(key)
        except Exception as error:
            failures.append(error)
            raise
