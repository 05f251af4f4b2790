"""A replica: a process somewhere on a cluster that generates images for the server's tickets."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..jobs import Job
from ..jobs.pictures import Pictures
from ..utils.cluster import Cores
from ..utils.machine import keep_to_cores
from .backend import Drawn
from .catalogue import Catalogue
from .local import LocalBackend
from .settings import Settings
from .ticket import Progress, Ticket

if TYPE_CHECKING:
    from PIL.Image import Image


class Replica:
    """A `LocalBackend` that another process calls; it answers even while it generates.

    Args:
        settings: the server's settings. This machine must have their models, LoRAs and profiles as well.
    """

    def __init__(self, settings: Settings):
        self._backend = LocalBackend(settings, Catalogue(settings))
        self._tickets: dict[str, Ticket] = {}
        self._is_warm = False

    async def host(self) -> str:
        """The machine's name."""
        return platform.node()

    async def warm_up(self, cores: Cores) -> None:
        """Load the first model, to run on these cores; raises like `Backend.warm_up`."""
        keep_to_cores(*cores)
        await asyncio.to_thread(self._backend.warm_up)
        self._is_warm = True

    async def is_warm(self) -> bool:
        """Whether it has warmed up: a new replica in another's place has not."""
        return self._is_warm

    async def draw(
        self, id: str, job: Job, pictures: Pictures, previews: int, profile: str | None
    ) -> AsyncIterator[Progress | Drawn]:
        """Each step when it is done, and at the end the images; raises like `Backend.draw`."""
        loop = asyncio.get_running_loop()
        reports: asyncio.Queue[Progress | None] = asyncio.Queue()

        def tell(progress: Progress) -> None:
            loop.call_soon_threadsafe(reports.put_nowait, progress)

        ticket = Ticket(job, "", lambda: pictures, previews, profile, tell)
        self._tickets[id] = ticket
        drawing = loop.run_in_executor(None, self._backend.draw, 0, ticket)
        drawing.add_done_callback(lambda _: reports.put_nowait(None))
        try:
            while (progress := await reports.get()) is not None:
                yield progress
            yield await drawing
        finally:
            del self._tickets[id]
            ticket.is_cancelled = True  # stops the work if nobody listens any more

    async def stop(self, id: str, is_cancelled: bool) -> None:
        """Cancel or interrupt a ticket."""
        if ticket := self._tickets.get(id):
            ticket.is_interrupted = True
            ticket.is_cancelled |= is_cancelled

    async def picture(self, id: str) -> Image | None:
        """A ticket's preview; None before the first step and after the last."""
        estimate = self._tickets[id].estimate if id in self._tickets else None
        return None if estimate is None else await asyncio.to_thread(estimate.picture)
