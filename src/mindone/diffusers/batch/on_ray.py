"""The runner on a Ray cluster: one actor per node, which loads each pipeline once and works on one task at a time.

Images come back to the calling process, and only that writes: nodes need neither a shared disk nor the keys of an
object store, and no image can be written twice.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..jobs import Job
from ..jobs.grouping import Group
from ..utils import logging
from ..utils.cluster import Cluster, Cores, Node, free_cores
from .queue import TRIES, Outcome, Queue, Result, Task
from .stopping import Stop
from .worker import Worker

logger = logging.get_logger(__name__)

_POLL_SECONDS = 1.0
"""How often to ask the cluster for new nodes while no task ends, in seconds."""
_PATIENCE_POLLS = 30
"""After this many seconds without any worker, a message says that the cluster is busy."""


class RayRunner:
    """Generates on every node of a cluster; nodes may join and leave.

    Args:
        address: see `Cluster`, also for the errors.
    """

    def __init__(self, address: str):
        self._cluster = Cluster(address, "batches on a cluster", "batch")

    def run(self, queue: Queue, stop: Stop) -> Generator[Result, None, None]:
        """Work on the queue until it is empty or ``stop`` is true, then finish the running tasks.

        Raises:
            RuntimeError: no node can generate.
        """
        pool = _Pool(self._cluster)
        try:
            while (queue and not stop) or pool.is_drawing:
                if queue and not stop:
                    pool.refresh()
                    pool.hand_out(queue)
                for task, outcomes in pool.collect():
                    yield from queue.settle(task, outcomes)
        finally:
            pool.close()

    def close(self) -> None:
        """Leave the cluster; one started here ends."""
        self._cluster.close()


@dataclass
class _Worker:
    """A node's actor, seen from here."""

    actor: Any
    host: str
    cores: Cores
    last: Group | None = None


class _Remote(Worker):
    """The actor on a node."""

    def draw(self, jobs: Sequence[Job]) -> list[Outcome]:
        """See `Worker`; the files are encoded here, so that one process need not encode a whole cluster's."""
        return [outcome.encoded() for outcome in super().draw(jobs)]


class _Pool:
    """The actors, their running tasks, and the nodes that have joined since."""

    def __init__(self, cluster: Cluster):
        self._cluster, self._ray = cluster, cluster.ray
        self._actor_class = self._ray.remote(_Remote)
        self._workers: dict[str, _Worker] = {}
        self._in_hand: dict[Any, tuple[str, Task | None]] = {}
        """What each reference stands for: a task's outcomes, or a new worker's start."""
        self._idle: list[str] = []
        self._crashes: Counter[str] = Counter()
        self._reason = ""
        self._scout: Any = None
        self._refreshed, self._polls = -math.inf, 0

    @property
    def is_drawing(self) -> bool:
        """Whether a task is running."""
        return any(task is not None for _, task in self._in_hand.values())

    def refresh(self) -> None:
        """Give every node without a worker one, on all its cores; a node whose workers keep dying gets no more.

        Raises:
            RuntimeError: this is true of all nodes.
        """
        if time.monotonic() - self._refreshed < _POLL_SECONDS:
            return
        self._refreshed = time.monotonic()
        nodes = self._cluster.nodes()
        good = [node for node in nodes if self._crashes[node.id] < TRIES]
        if nodes and not good:
            raise RuntimeError(f"no node of the cluster can generate: {self._reason}")
        for node in good:
            if node.id not in self._workers:
                self._start(node)
        self._ask_for_more([node.cores for node in good])
        self._tell_of_waiting()

    def hand_out(self, queue: Queue) -> None:
        """Give every idle worker a task."""
        while self._idle and queue:
            name = self._idle.pop()
            worker = self._workers[name]
            task = queue.take(worker.last)
            if task is not None:
                worker.last = task.group
                self._in_hand[worker.actor.draw.remote(task.jobs)] = (name, task)

    def collect(self) -> Iterator[tuple[Task, list[Outcome]]]:
        """Wait a moment for whatever ends next. The tasks of a dead worker come back as failed."""
        waiting = [*self._in_hand, *([] if self._scout is None else [self._scout])]
        if not waiting:
            time.sleep(_POLL_SECONDS)
            return
        for reference in self._ray.wait(waiting, timeout=_POLL_SECONDS)[0]:
            if reference is self._scout or reference not in self._in_hand:
                self._scout, self._refreshed = None, -math.inf
                continue
            name, task = self._in_hand.pop(reference)
            try:
                value = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                reason = self._bury(name, error)
                value = [Outcome(job, error=reason) for job in task.jobs] if task else None
            else:
                self._idle.append(name)
                if task is not None:
                    del self._crashes[name]
            if task is not None:
                yield task, value

    def close(self) -> None:
        """End all actors."""
        for worker in self._workers.values():
            with contextlib.suppress(Exception):  # the actor of a lost node is gone as well
                self._ray.kill(worker.actor)
        if self._scout is not None:
            with contextlib.suppress(Exception):
                self._ray.cancel(self._scout)

    def _start(self, node: Node) -> None:
        """Give nodes that share a machine, as in tests or with one per socket, cores of their own."""
        taken = (worker.cores for worker in self._workers.values() if worker.host == node.host)
        cores = free_cores(taken, node.cores)
        strategies = self._ray.util.scheduling_strategies
        here = strategies.NodeAffinitySchedulingStrategy(node_id=node.id, soft=False)
        actor = self._actor_class.options(num_cpus=node.cores, scheduling_strategy=here).remote(cores)
        self._workers[node.id] = _Worker(actor, node.host, cores)
        self._in_hand[actor.ready.remote()] = (node.id, None)

    def _bury(self, name: str, error: Exception) -> str:
        worker = self._workers.pop(name)
        self._crashes[name] += 1
        self._reason = str(error).strip().split("\n")[0]
        return f"its worker on {worker.host} died: {self._reason}"

    def _ask_for_more(self, cpus: list[int]) -> None:
        """While every worker is busy, keep a request for one more node waiting, so that a cluster that can grow does.

        Unlike a request to the autoscaler, it ends with this process.
        """
        if self._scout is None and cpus and self._workers and not self._idle:
            self._scout = self._ray.remote(_nothing).options(num_cpus=max(cpus)).remote()

    def _tell_of_waiting(self) -> None:
        self._polls = 0 if self.is_drawing or self._idle else self._polls + 1
        if self._polls == _PATIENCE_POLLS:
            logger.warning("no node of the cluster has all its cores free yet; waiting for the first")


def _nothing() -> None:
    """The task that waits for one more node and ends when it starts."""
