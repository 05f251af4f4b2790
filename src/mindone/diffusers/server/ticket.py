"""A request from the moment it is accepted until its images are there: what the engine's thread and a client share."""

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
    """What a request waits for before its first step; ``place`` in the queue, 1 for the next one."""

    stage: Stage
    place: int | None = None


@dataclass(frozen=True)
class Progress:
    """How far a request has come; ``preview`` is there after the steps for which one was asked."""

    step: int
    steps: int
    seconds_left: float
    preview: Image | None = None


class Estimate(Protocol):
    """Images that are under way."""

    def picture(self) -> Image | None:
        """The first of them as it looks now; None where there is nothing to see."""


@dataclass(eq=False)
class Ticket:
    """A job in the hands of the service. ``images`` is a future: the job's images, one per seed, or what went wrong."""

    job: Job
    client: str
    open_pictures: Callable[[], Pictures]
    """Decodes the job's pictures: they wait as the client sent them, and there is memory for one ticket's at a time."""
    previews: int = 0
    """How many previews to make on the way, spread evenly."""
    profile: str | None = None
    """The name of the profile that the job was made with."""
    listener: Callable[[Progress], None] = lambda progress: None
    """Called in the engine's thread after every step."""

    images: Future[list[Image]] = field(default_factory=Future)
    stage: Stage = "waiting"
    thread: int = 0
    """The engine, once the ticket is drawn in this process."""
    accepted: float = field(default_factory=time.monotonic)
    began: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each stage took that is over: to wait, to load the model, to draw."""
    progress: Progress | None = None
    estimate: Estimate | None = None
    """What the images look like so far, to be shown on demand."""
    warnings: tuple[str, ...] = ()
    """What the answer says beside the images."""
    losses: int = 0
    """How often a place has gone while it drew this."""
    is_cancelled: bool = False
    """Nobody waits any more: stop within a step, and draw nothing of what is left."""
    is_interrupted: bool = False
    """Skip the steps that are left; the images are as far as they are."""

    @property
    def doing(self) -> Stage:
        """What is done for it now; compiling is a part of the first steps of a size."""
        return "compiling" if self.stage == "drawing" and self.thread in compiling else self.stage

    def tell(self, progress: Progress) -> None:
        """A step is done."""
        self.progress = progress
        self.listener(progress)

    @property
    def timing(self) -> dict[str, str]:
        """The header ``Server-Timing`` of a response, in milliseconds; browsers' developer tools show it."""
        stages = [f"{stage};dur={1000 * seconds:.1f}" for stage, seconds in self.seconds.items()]
        return {"Server-Timing": ", ".join(stages)}
