"""The service: threads that run one request after the other, and limits that keep them from overload."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..utils import logging
from .backend import Backend, Drawn, Lost
from .catalogue import Catalogue
from .local import LocalBackend
from .metrics import Metrics
from .profiles import Speeds
from .queue import FairQueue, Full
from .refusals import Cancelled, Refusal
from .settings import Settings
from .ticket import Ticket
from .turns import Turns

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.get_logger(__name__)

_SOME_SECONDS = 5.0
"""The assumed seconds of a request before the first one is timed."""
_LOSSES = 3
"""The service gives up a ticket after this many replicas died on it: the ticket probably kills them."""


class Service:
    """Accepts tickets, generates their images in turn, and drops tickets that nobody waits for."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.catalogue = Catalogue(settings)
        self.speeds = Speeds({name: offer.profile for name, offer in self.catalogue.profiles.items()})
        self.queue: FairQueue[Ticket] = FairQueue(settings.max_queue)
        self.running: list[Ticket] = []
        self.backend = _open_backend(settings, self.catalogue)
        self._models = [0] * self.backend.places
        self.metrics = Metrics(lambda: len(self.queue), lambda: sum(self._models))
        self._threads = [
            threading.Thread(target=self._work, args=(place,), name=f"engine-{place}", daemon=True)
            for place in range(self.backend.places)
        ]
        self._decoding = Turns(settings.max_queue)
        self._draining = self._abandoned = False
        self._mean_seconds: float | None = None

    def start(self) -> None:
        """Start to work on submitted tickets."""
        for thread in self._threads:
            thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the service accepts tickets and works on them."""
        return not self._draining and any(thread.is_alive() for thread in self._threads)

    @property
    def is_over(self) -> bool:
        """Whether it accepts no more tickets, and all accepted ones are done or given up."""
        return self._draining and not any(thread.is_alive() for thread in self._threads)

    def submit(self, ticket: Ticket) -> None:
        """Queue a ticket.

        Raises:
            Refusal: the queue is full, or the server is stopping.
        """
        self._check_stays()
        try:
            self.queue.put(ticket.client, ticket)
        except Full:
            raise self._full() from None

    @contextlib.asynccontextmanager
    async def decoding(self, client: str) -> AsyncIterator[None]:
        """The client's turn to decode and check a request's pictures: one request at a time.

        Raises:
            Refusal: the queue has no room for the request, before its wait or at its turn, or too many requests wait
                for their turn.
        """
        self._check_room(client)
        try:
            async with self._decoding.of(client):
                self._check_room(client)
                yield
        except Full:
            raise self._full() from None

    def _check_room(self, client: str) -> None:
        self._check_stays()
        if not self.queue.has_room(client):
            raise self._full()

    def _check_stays(self) -> None:
        if self._draining:
            raise Refusal(503, "the server is stopping; try another server, or try later", retry_after=10)

    def _full(self) -> Refusal:
        wait = math.ceil(len(self.queue) * (self._mean_seconds or _SOME_SECONDS) / self.backend.places)
        message = f"{len(self.queue)} requests wait already; come back in {wait} s"
        return Refusal(429, message, retry_after=max(wait, 1))

    def cancel(self, ticket: Ticket) -> None:
        """Remove a ticket from the queue, or stop it within a step; does nothing if it is done."""
        ticket.is_cancelled = True
        if self.queue.remove(ticket.client, ticket):
            self._settle(ticket, Cancelled())
        else:
            self.backend.stop_early(ticket)

    def running_for(self, client: str) -> list[Ticket]:
        """The client's running tickets, the oldest first."""
        return [ticket for ticket in self.running if ticket.client == client]

    def interrupt(self, client: str) -> None:
        """Finish the client's running tickets early, with the images as they are."""
        for ticket in self.running_for(client):
            ticket.is_interrupted = True
            self.backend.stop_early(ticket)

    def drain(self) -> None:
        """Accept no more tickets, but finish the accepted ones."""
        self._draining = True
        self.queue.close()

    def abandon(self) -> None:
        """Stop running tickets within a step, and give up the waiting ones."""
        self.drain()
        self._abandoned = True
        for ticket in list(self.running):
            self.cancel(ticket)
        while (waiting := self.queue.take()) is not None:
            self._settle(waiting, Cancelled())

    def join(self, timeout: float | None = None) -> None:
        """Wait until all accepted tickets are done."""
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout)

    def close(self) -> None:
        """Stop, and release the backend's resources."""
        self.abandon()
        self.join()
        self.backend.close()

    # ---- in the engine's threads -------------------------------------------------------------------------------------

    def _work(self, place: int) -> None:
        while (ticket := self._next(place)) is not None:
            self.running.append(ticket)
            outcome: list[Image] | Exception | None = None
            try:
                outcome = self._drawn(place, ticket)
            except Lost:
                ticket.losses += 1
                if ticket.is_cancelled:
                    outcome = Cancelled()
                elif ticket.losses >= _LOSSES:
                    outcome = Refusal(500, f"generating failed {_LOSSES} times; see the server's log")
            except Exception as error:
                outcome = error
            self.running.remove(ticket)
            ticket.estimate = None
            if outcome is None:
                self.queue.put_back(ticket.client, ticket)
            else:
                self._settle(ticket, outcome)

    def _next(self, place: int) -> Ticket | None:
        """The next ticket for a place, once the place is ready; None if no more will come."""
        is_ready = not self.queue.is_over and self.backend.prepare(place, lambda: self.queue.is_over)
        return self.queue.take() if is_ready else None

    def _drawn(self, place: int, ticket: Ticket) -> list[Image]:
        """The images; raises `Refusal`, `Cancelled` or `Lost`."""
        if ticket.is_cancelled:
            raise Cancelled
        ticket.began = time.monotonic()
        self._took(ticket, "wait", ticket.began - ticket.accepted)
        drawn = self.backend.draw(place, ticket)
        ticket.job, ticket.warnings = drawn.job, drawn.warnings
        self._note(place, ticket, drawn)
        return drawn.images

    def _note(self, place: int, ticket: Ticket, drawn: Drawn) -> None:
        seconds = drawn.draw_seconds
        self._took(ticket, "load", drawn.load_seconds)
        self._took(ticket, "draw", seconds)
        self.metrics.images.labels(self.catalogue.name_of(ticket.job.pipeline_key)).inc(len(drawn.images))
        if ticket.profile is not None and not ticket.is_interrupted:
            self.speeds.note(ticket.profile, ticket.job, seconds)
        self._mean_seconds = seconds if self._mean_seconds is None else 0.8 * self._mean_seconds + 0.2 * seconds
        self._models[place] = drawn.models

    def _took(self, ticket: Ticket, stage: str, seconds: float) -> None:
        ticket.seconds[stage] = seconds
        self.metrics.seconds.labels(stage).observe(seconds)

    def _settle(self, ticket: Ticket, outcome: list[Image] | Exception) -> None:
        if isinstance(outcome, Cancelled) and self._abandoned:  # by us, so the client still waits
            outcome = Refusal(503, "the server was stopped; try another server, or try later", retry_after=10)
        if isinstance(outcome, Cancelled):
            self.metrics.cancelled.inc()
        with contextlib.suppress(RuntimeError):  # the listener's event loop has ended
            if isinstance(outcome, Exception):
                ticket.images.set_exception(outcome)
            else:
                ticket.images.set_result(outcome)


def _open_backend(settings: Settings, catalogue: Catalogue) -> Backend:
    if settings.ray is None:
        return LocalBackend(settings, catalogue)
    from .on_ray import RayBackend

    return RayBackend(settings)
