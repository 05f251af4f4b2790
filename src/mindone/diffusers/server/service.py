"""The service: a thread that draws one request after the other, and what keeps it from drowning."""

from __future__ import annotations

import contextlib
import inspect
import math
import threading
import time
from typing import TYPE_CHECKING

from ..jobs import Job, LoadedPipelines, draw
from ..jobs.loaded import load_quietly, usual_limit
from ..jobs.wear import warn
from ..utils import logging
from .catalogue import Catalogue
from .metrics import Metrics
from .profiles import Speeds
from .queue import FairQueue, Full
from .refusals import Cancelled, Refusal
from .settings import Settings
from .ticket import Progress, Ticket

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..engines import Array
    from ..pipelines.base import Pipeline
    from ..pipelines.components import Component
    from ..pipelines.denoising import StepCallback

logger = logging.get_logger(__name__)

_SOME_SECONDS = 5.0
"""What a request is taken to last before one has been timed."""


class Service:
    """Accepts tickets, draws them in turn, and drops those that nobody waits for."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.catalogue = Catalogue(settings)
        self.speeds = Speeds({name: offer.profile for name, offer in self.catalogue.profiles.items()})
        self._warned: set[str] = set()
        self.queue: FairQueue[Ticket] = FairQueue(settings.max_queue)
        self.running: Ticket | None = None
        limit = usual_limit() if settings.memory is None else int(settings.memory * 1e9)
        self.pipelines = LoadedPipelines(limit, load_quietly)
        self.metrics = Metrics(lambda: len(self.queue), lambda: len(list(self.pipelines)))
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._draining = False
        self._mean_seconds: float | None = None

    def start(self) -> None:
        """Begin to draw what is submitted."""
        self._thread.start()

    def warm_up(self) -> None:
        """Load the first model, and draw a step with it so that its graphs are compiled and previews can be made.

        Raises:
            ValueError, OSError: it cannot be loaded.
        """
        from .preview import affine_map

        key = self.catalogue.key()
        pipe = self.pipelines.get(key)
        draw(pipe, Job.of({**key.to_dict(), "prompt": "", "steps": 1, "seed": 0}))
        affine_map(pipe)

    @property
    def is_ready(self) -> bool:
        """Whether what is submitted now will be drawn."""
        return self._thread.is_alive() and not self._draining

    def submit(self, ticket: Ticket) -> None:
        """Queue a ticket.

        Raises:
            Refusal: the queue is full, or the server is going away.
        """
        if self._draining:
            raise Refusal(503, "the server is stopping; try another one, or later", retry_after=10)
        try:
            self.queue.put(ticket.client, ticket)
        except Full:
            wait = math.ceil(len(self.queue) * (self._mean_seconds or _SOME_SECONDS))
            message = f"{len(self.queue)} requests wait already; come back in {wait} s"
            raise Refusal(429, message, retry_after=max(wait, 1)) from None

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for it: out of the queue, or stopped within a step. Nothing happens to one that is done."""
        ticket.cancel()
        if self.queue.remove(ticket.client, ticket):
            self._settle(ticket, Cancelled())

    def interrupt(self, client: str) -> bool:
        """Have what is drawn for ``client`` come out as it is; False when nothing of theirs is being drawn."""
        running = self.running
        if running is None or running.client != client:
            return False
        running.interrupt()
        return True

    def drain(self) -> None:
        """Accept nothing more; all that has been accepted is drawn."""
        self._draining = True
        self.queue.close()

    def abandon(self) -> None:
        """Stop what is being drawn within a step, and draw nothing of what waits."""
        self.drain()
        running = self.running
        if running is not None:
            running.cancel()
        while (ticket := self.queue.take()) is not None:
            self._settle(ticket, Refusal(503, "the server was stopped", retry_after=10))

    def join(self, timeout: float | None = None) -> None:
        """Wait until all that has been accepted is drawn."""
        self._thread.join(timeout)

    # ---- in the engine's thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (ticket := self.queue.take()) is not None:
            self.running = ticket
            try:
                outcome: list[Image] | Exception = self._drawn(ticket)
            except Exception as error:
                outcome = error
            self.running = None
            ticket.estimate = None
            self._settle(ticket, outcome)

    def _drawn(self, ticket: Ticket) -> list[Image]:
        """The images; raises a `Refusal` or `Cancelled`."""
        if ticket.is_cancelled:
            raise Cancelled
        ticket.began = time.monotonic()
        self._took(ticket, "wait", ticket.began - ticket.accepted)
        pipe = self._pipeline(ticket)
        if ticket.job.steps is None and _usual_steps(pipe) > self.settings.max_steps:
            ticket.job = ticket.job.model_copy(update={"steps": self.settings.max_steps})
        began = time.monotonic()
        try:
            self._warn_once(ticket, pipe)
            images = draw(pipe, ticket.job, self._after_step(ticket, began), ticket.pictures)
        except Cancelled:
            raise
        except Exception as error:
            if isinstance(error, ValueError) and ticket.progress is None:  # refused before any network ran
                raise Refusal(422, " ".join(str(error).split())) from None
            logger.exception("drawing failed")
            raise Refusal(500, "drawing failed; the server's log says why") from None
        seconds = time.monotonic() - began
        self._took(ticket, "draw", seconds)
        self.metrics.images.labels(self.catalogue.name_of(ticket.job.pipeline_key)).inc(len(images))
        if ticket.profile is not None and not ticket.is_interrupted:
            self.speeds.note(ticket.profile, ticket.job, seconds)
        self._mean_seconds = seconds if self._mean_seconds is None else 0.8 * self._mean_seconds + 0.2 * seconds
        return images

    def _warn_once(self, ticket: Ticket, pipe: Pipeline) -> None:
        """Tell the operator, when a profile is used first, what speaks against it here."""
        if ticket.profile is not None and ticket.profile not in self._warned:
            self._warned.add(ticket.profile)
            warn(self.catalogue.profiles[ticket.profile].profile, pipe, ticket.job)

    def _took(self, ticket: Ticket, stage: str, seconds: float) -> None:
        ticket.seconds[stage] = seconds
        self.metrics.seconds.labels(stage).observe(seconds)

    def _pipeline(self, ticket: Ticket) -> Pipeline:
        began, key = time.monotonic(), ticket.job.pipeline_key
        try:
            pipe = self.pipelines.get(key)
        except Exception:
            logger.exception("a model cannot be loaded")
            name = self.catalogue.name_of(key)
            raise Refusal(503, f"{name} cannot be loaded; the server's log says why", "model", retry_after=60) from None
        self._took(ticket, "load", time.monotonic() - began)
        return pipe

    def _after_step(self, ticket: Ticket, began: float) -> StepCallback:
        """What is done between two steps: stop if need be, and tell how far it is."""

        def after_step(pipe: Component, step: int, timestep: float, tensors: dict[str, Array]) -> None:
            from .preview import SHARE, Estimate

            if ticket.is_cancelled:
                raise Cancelled
            if ticket.is_interrupted:
                pipe.interrupt = True
            done, steps = step + 1, pipe.num_timesteps
            latents = pipe.pred_original_sample
            ticket.estimate = Estimate(pipe, tensors["latents"] if latents is None else latents)
            parts = ticket.previews + 1
            shows = done < steps and done * parts // steps > step * parts // steps
            step_seconds = (time.monotonic() - began) / done
            preview = ticket.estimate.picture(SHARE * step_seconds * steps / parts) if shows else None
            ticket.progress = Progress(done, steps, step_seconds * (steps - done), preview)
            ticket.listener(ticket.progress)

        return after_step

    def _settle(self, ticket: Ticket, outcome: list[Image] | Exception) -> None:
        if isinstance(outcome, Cancelled):
            self.metrics.cancelled.inc()
        with contextlib.suppress(RuntimeError):  # a listener whose event loop has ended
            if isinstance(outcome, Exception):
                ticket.images.set_exception(outcome)
            else:
                ticket.images.set_result(outcome)


def _usual_steps(pipe: Pipeline) -> int:
    """The steps of a call that does not say how many."""
    usual: int = inspect.signature(type(pipe).__call__).parameters["num_inference_steps"].default
    return usual
