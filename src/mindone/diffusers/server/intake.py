"""Limits how much of all request bodies the server holds at once, and how long one may take to arrive.

A client that never ends a body would occupy memory for as long as it likes. So a body has to keep arriving, and if all
bodies together would exceed the limit, the server drops the one that has been arriving the longest.
"""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from .refusals import Refusal

_SMALL = 64_000
"""Smaller bodies do not count: prompts get through while many pictures arrive, and connections are limited anyway."""
_WINDOW_SECONDS = 20.0
_WINDOW_BYTES = 1_000_000
"""The bytes that must arrive within each window, unless the body ends: 50 kB/s."""
_CLOSE = {"Connection": "close"}


class Intake:
    """The bytes held of all bodies together, each from its first byte until the response.

    Args:
        most: the maximum bytes of one body.
        most_held: the maximum bytes of all bodies.
        window: the seconds within which `_WINDOW_BYTES` or the end must arrive.
    """

    def __init__(self, most: int, most_held: int, window: float = _WINDOW_SECONDS):
        self.most, self.most_held, self.window = most, most_held, window
        self.held = 0
        self._coming: dict[Body, None] = {}  # the oldest first

    def begin(self, receive: Receive) -> Body:
        """Register a request's body; `Body.release` ends it."""
        body = Body(self, receive)
        self._coming[body] = None
        return body

    def end(self, body: Body) -> None:
        """Mark a body as complete."""
        self._coming.pop(body, None)

    def make_room(self, asking: Body) -> bool:
        """Drop arriving bodies, the oldest first; False if that is not enough."""
        for body in list(self._coming):
            if self.held <= self.most_held:
                break
            if body is not asking and body.counted:
                body.drop()
        return self.held <= self.most_held


class Body:
    """One request's body so far; the application calls it instead of the original ``receive``."""

    def __init__(self, intake: Intake, receive: Receive):
        self._intake, self._receive = intake, receive
        self._taken = self._taken_before = 0
        self.counted = 0
        self._dropped: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._deadline = asyncio.get_running_loop().time() + intake.window
        self._is_whole = False

    async def __call__(self) -> Message:
        """The next message.

        Raises:
            Refusal: 413 if the body is too large, 408 if it stops arriving, 429 if the server holds too much.
        """
        if self._is_whole:
            return await self._receive()  # only a hang-up can follow
        message = await self._next()
        self._taken += len(message.get("body", b""))
        if self._taken > self._intake.most:
            raise too_large(self._intake.most)
        self._count()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._is_whole = True
            self._intake.end(self)
        return message

    async def _next(self) -> Message:
        coming = asyncio.ensure_future(self._receive())
        try:
            while True:
                left = self._deadline - asyncio.get_running_loop().time()
                await asyncio.wait({coming, self._dropped}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                if self._dropped.done():
                    raise _too_many("too many uploads are running")
                if coming.done():
                    return coming.result()
                if self._taken - self._taken_before < _WINDOW_BYTES:
                    raise Refusal(408, f"the body did not arrive within {self._intake.window:g} s", headers=_CLOSE)
                self._taken_before = self._taken
                self._deadline += self._intake.window
        finally:
            coming.cancel()

    def _count(self) -> None:
        counted = self._taken if self._taken > _SMALL else 0
        self._intake.held += counted - self.counted
        self.counted = counted
        if counted and self._intake.held > self._intake.most_held and not self._intake.make_room(self):
            raise _too_many(f"{self._intake.most_held / 1e6:g} MB of requests are already waiting")

    def drop(self) -> None:
        """Give up the body to make room for another one."""
        if not self._dropped.done():
            self._dropped.cancel()
        self.release()

    def release(self) -> None:
        """Free the body's share: the request is answered or given up."""
        self._intake.end(self)
        self._intake.held -= self.counted
        self.counted = 0


def too_large(most: int) -> Refusal:
    """The refusal of a request of more than ``most`` bytes."""
    return Refusal(413, f"a request may have at most {most / 1e6:g} MB", headers=_CLOSE)


def _too_many(what: str) -> Refusal:
    return Refusal(429, f"{what}; try again later", retry_after=5, headers=_CLOSE)
