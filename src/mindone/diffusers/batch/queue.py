"""The remaining jobs, in the order that compiles and loads least, and how often each may be tried."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..jobs import Job
from ..jobs.grouping import Group, call_key, grouped

if TYPE_CHECKING:
    from PIL.Image import Image

TRIES = 3
"""A failed job is tried twice more."""


@dataclass(frozen=True)
class Task:
    """Jobs that share one call of a pipeline: one, or a full batch."""

    jobs: tuple[Job, ...]
    group: Group


@dataclass(frozen=True)
class Outcome:
    """The result of one try at a job: an image, or the reason for its failure."""

    job: Job
    image: Image | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    """What the file records besides the job."""
    png: bytes | None = None
    """The file, once it is `encoded`."""
    seconds: float | None = None
    machine: str | None = None
    error: str | None = None

    def encoded(self) -> Outcome:
        """The same with a PNG file in place of the image. It takes part of a step's time, so each runner decides where:
        a single process encodes while it generates the next image, and a cluster's workers encode themselves.
        """
        if self.image is None:
            return self

        from ..jobs.png import png_bytes

        return replace(self, image=None, png=png_bytes(self.image, self.job, self.about))


@dataclass(frozen=True)
class Result:
    """The final result of a job: its image, or why there is none after all its tries."""

    outcome: Outcome
    tries: int


class Queue:
    """Hands out tasks, and queues failed jobs again until they have been tried often enough.

    Args:
        jobs: one image each.
        batch_size: how many jobs that differ only in prompt and seed make a task. Jobs that do not fill one run one by
            one, so that there are graphs for at most two batch sizes.
    """

    def __init__(self, jobs: Iterable[Job], batch_size: int = 1):
        self._waiting: dict[Group, deque[Task]] = {
            group: deque(_tasks(members, group, batch_size)) for group, members in grouped(jobs).items()
        }
        self._in_hand: Counter[Group] = Counter()
        self._tries: Counter[Job] = Counter()

    def __bool__(self) -> bool:
        """Whether there is a task to take."""
        return any(self._waiting.values())

    def take(self, last: Group | None = None) -> Task | None:
        """A task for a worker whose last one was of the group ``last``; None if none is left.

        Workers stay with their group, then with their pipeline, then go where the fewest others are.
        """
        groups = [group for group, tasks in self._waiting.items() if tasks]
        if not groups:
            return None

        def cost(group: Group) -> tuple[bool, bool, int]:
            return (group != last, last is None or group.pipeline != last.pipeline, self._in_hand[group])

        group = min(groups, key=cost)
        self._in_hand[group] += 1
        return self._waiting[group].popleft()

    def settle(self, task: Task, outcomes: Sequence[Outcome]) -> Iterator[Result]:
        """Take a task's outcomes: final ones come back, the others are queued again.

        Jobs that failed together are tried again one by one, so that one of them cannot spoil the others.
        """
        self._in_hand[task.group] -= 1
        for outcome in outcomes:
            self._tries[outcome.job] += 1
            tries = self._tries[outcome.job]
            if outcome.error is not None and tries < TRIES:
                self._waiting[task.group].append(Task((outcome.job,), task.group))
            else:
                yield Result(outcome, tries)


def _tasks(jobs: Iterable[Job], group: Group, batch_size: int) -> Iterator[Task]:
    if batch_size == 1:
        yield from (Task((job,), group) for job in jobs)
        return
    alike: dict[Job, list[Job]] = {}
    for job in jobs:
        alike.setdefault(call_key(job), []).append(job)
    for members in alike.values():
        full = len(members) // batch_size * batch_size
        yield from (Task(tuple(members[i : i + batch_size]), group) for i in range(0, full, batch_size))
        yield from (Task((job,), group) for job in members[full:])
