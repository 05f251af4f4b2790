"""The queue in front of the engine: bounded, and fair between clients, who take turns whatever each has asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(Exception):
    """As many wait as may."""


class FairQueue(Generic[T]):
    """First come, first served for each client; between clients, one of each in turn.

    Args:
        limit: how many may wait, those of all clients together. Of it one client may fill all but one place, so that
            there is room for another one.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._changed = threading.Condition()  # whose lock a thread may take again
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def put(self, client: str, item: T) -> None:
        """Add an item at the end of its client's.

        Raises:
            Full: there is no place.
        """
        with self._changed:
            if not self.has_room(client):
                raise Full
            self._waiting.setdefault(client, deque()).append(item)
            self._changed.notify()

    def has_room(self, client: str) -> bool:
        """Whether an item of this client would find a place now."""
        with self._changed:
            own = len(self._waiting.get(client, ()))
            return len(self) < self.limit and (self.limit == 1 or own < self.limit - 1)

    def take(self) -> T | None:
        """The next item, waited for; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            client, items = self._waiting.popitem(last=False)
            item = items.popleft()
            if items:
                self._waiting[client] = items  # at the end: all others come first
            return item

    def put_back(self, client: str, item: T) -> None:
        """Return an item that was taken: it comes next, even where there is no place or the queue is closed."""
        with self._changed:
            self._waiting.setdefault(client, deque()).appendleft(item)
            self._waiting.move_to_end(client, last=False)
            self._changed.notify()

    def place(self, client: str, item: T) -> int | None:
        """Its place in the queue, counted from 1, if nothing else comes; None when it waits no longer."""
        with self._changed:
            if item not in self._waiting.get(client, ()):
                return None
            own = self._waiting[client].index(item)
            clients = list(self._waiting)
            # By its turn each other client has had one more turn where it comes first, else as many.
            before = (
                min(len(self._waiting[other]), own + (i < clients.index(client)))
                for i, other in enumerate(clients)
                if other != client
            )
            return own + sum(before) + 1

    def remove(self, client: str, item: T) -> bool:
        """Take an item back; False when it waits no longer."""
        with self._changed:
            items = self._waiting.get(client)
            if items is None or item not in items:
                return False
            items.remove(item)
            if not items:
                del self._waiting[client]
            return True

    def close(self) -> None:
        """What waits is still taken; then ``take`` gives None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether the queue is closed and empty."""
        with self._changed:
            return self._closed and not self._waiting
