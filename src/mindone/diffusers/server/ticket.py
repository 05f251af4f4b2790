"""A ticket: an accepted request until its images are done. The engine's thread and the client share it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ..engines.cache import compiling
from ..jobs import Job

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..jobs.pictures import Pictures


Stage: TypeAlias = Literal["waiting", "loading", "compiling", "drawing"]


@dataclass(frozen=True)
class Wait:
    """The stage of a request before its first step, and its ``place`` in the queue (1 is next)."""

    stage: Stage
    place: int | None = None


@dataclass(frozen=True)
class Progress:
    """The progress of a request, with a ``preview`` after some steps if the client requested previews."""

    step: int
    steps: int
    seconds_left: float
    preview: Image | None = None


class Estimate(Protocol):
    """Images in progress."""

    def picture(self) -> Image | None:
        """The first image in its current state; None if there is nothing to see."""


@dataclass(eq=False)
class Ticket:
    """A job that the service runs. ``images`` is a future of the job's images, one per seed, or of an error."""

    job: Job
    client: str
    open_pictures: Callable[[], Pictures]
    """Decodes the job's pictures. They wait encoded, because memory suffices for one ticket's pictures at a time."""
    previews: int = 0
    """How many previews to make, evenly spread over the steps."""
    profile: str | None = None
    """The name of the job's profile."""
    listener: Callable[[Progress], None] = lambda progress: None
    """Called in the engine's thread after every step."""

    images: Future[list[Image]] = field(default_factory=Future)
    stage: Stage = "waiting"
    thread: int = 0
    """The engine's thread, once this process works on the ticket."""
    accepted: float = field(default_factory=time.monotonic)
    began: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    """The seconds of each finished stage: waiting, loading the model, generating."""
    progress: Progress | None = None
    estimate: Estimate | None = None
    """The images so far, to show on demand."""
    warnings: tuple[str, ...] = ()
    """Warnings to return with the images."""
    losses: int = 0
    """How many places have died while working on this ticket."""
    is_cancelled: bool = False
    """Nobody waits any more: stop within a step and discard the rest."""
    is_interrupted: bool = False
    """Skip the remaining steps and return the images as they are."""

    @property
    def doing(self) -> Stage:
        """The current stage, with compiling, which is part of the first steps of a size."""
        return "compiling" if self.stage == "drawing" and self.thread in compiling else self.stage

    def tell(self, progress: Progress) -> None:
        """Record a finished step and pass it to the listener."""
        self.progress = progress
        self.listener(progress)

    @property
    def timing(self) -> dict[str, str]:
        """The response header ``Server-Timing`` in milliseconds, which browsers' developer tools show."""
        stages = [f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in self.seconds.items()]
        return {"Server-Timing": ", ".join(stages)}
