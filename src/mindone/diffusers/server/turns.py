"""Turns at work that the event loop hands to a thread: one at a time, and each client in turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .queue import FairQueue


class Turns:
    """Turns within one event loop.

    Args:
        most: the maximum number of waiting turns; a client's share is that of a `FairQueue`.
    """

    def __init__(self, most: int):
        self._waiting: FairQueue[asyncio.Future[None]] = FairQueue(most)
        self._is_taken = False

    @asynccontextmanager
    async def of(self, client: str) -> AsyncIterator[None]:
        """Wait for the client's turn, and hold it for the duration of the block.

        Raises:
            Full: too many turns are waiting.
        """
        if self._is_taken:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.put(client, turn)
            try:
                await turn
            except asyncio.CancelledError:
                if not self._waiting.remove(client, turn) and not turn.cancelled():
                    self._pass_on()  # the turn had just come
                raise
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    def _pass_on(self) -> None:
        while len(self._waiting):
            turn = self._waiting.take()
            if turn is not None and not turn.done():
                turn.set_result(None)
                return
        self._is_taken = False
