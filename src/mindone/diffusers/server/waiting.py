"""Waits for a client's ticket: brings reports from the engine's thread to the event loop, and handles a hang-up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from starlette.requests import Request

from .refusals import Cancelled
from .service import Service
from .ticket import Progress, Ticket, Wait

if TYPE_CHECKING:
    from PIL.Image import Image


_LOOK_SECONDS = 0.3


async def follow(
    service: Service, ticket: Ticket, request: Request, tells_waits: bool = False
) -> AsyncIterator[Progress | Wait | list[Image]]:
    """Submit a ticket; yields each step when it is done, and at the end the images.

    With ``tells_waits`` it also yields every change of stage or place before the first step.

    If the client hangs up or the iteration stops, it cancels the ticket.

    Raises:
        Refusal: the service did not accept the ticket, or could not generate the images.
        Cancelled: the client hung up.
    """
    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[Progress | Future[list[Image]] | None] = asyncio.Queue()

    def tell(event: Progress | Future[list[Image]]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(reports.put_nowait, event)

    ticket.listener = tell
    ticket.images.add_done_callback(tell)
    service.submit(ticket)
    watch = asyncio.create_task(_hang_up(request, reports))
    coming, wait = asyncio.ensure_future(reports.get()), None
    try:
        while True:
            unseen = _LOOK_SECONDS if tells_waits and ticket.progress is None else None
            await asyncio.wait({coming}, timeout=unseen)
            if not coming.done():
                now = Wait(ticket.doing, service.queue.place(ticket.client, ticket))
                if now != wait:
                    wait = now
                    yield now
                continue
            event = coming.result()
            if event is None:
                raise Cancelled
            if isinstance(event, Future):
                yield event.result()
                return
            coming = asyncio.ensure_future(reports.get())
            yield event
    finally:
        coming.cancel()
        watch.cancel()
        service.cancel(ticket)


async def result(service: Service, ticket: Ticket, request: Request) -> list[Image]:
    """The images of a ticket; raises like `follow`."""
    async for event in follow(service, ticket, request):
        if isinstance(event, list):
            return event
    raise AssertionError("a ticket ends with its images")


async def _hang_up(request: Request, reports: asyncio.Queue[Progress | Future[list[Image]] | None]) -> None:
    """Put None once the client is gone; its request is already read, so nothing else can arrive from it."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    reports.put_nowait(None)
