"""The queue in front of the engine: bounded and fair. Clients take turns, however much each one requests."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(Exception):
    """The queue is full."""


class FairQueue(Generic[T]):
    """First come, first served for each client; between clients, one item of each in turn.

    Args:
        limit: the maximum number of waiting items of all clients. One client may fill all but one place, to leave room
            for another one.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._changed = threading.Condition()  # its lock is reentrant
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def put(self, client: str, item: T) -> None:
        """Add an item after the client's other items.

        Raises:
            Full: there is no room.
        """
        with self._changed:
            if not self.has_room(client):
                raise Full
            self._waiting.setdefault(client, deque()).append(item)
            self._changed.notify()

    def has_room(self, client: str) -> bool:
        """Whether the queue has room for an item of this client."""
        with self._changed:
            own = len(self._waiting.get(client, ()))
            return len(self) < self.limit and (self.limit == 1 or own < self.limit - 1)

    def take(self) -> T | None:
        """Wait for the next item and return it; None if the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            client, items = self._waiting.popitem(last=False)
            item = items.popleft()
            if items:
                self._waiting[client] = items  # at the end: the other clients come first
            return item

    def put_back(self, client: str, item: T) -> None:
        """Return a taken item: it comes next, even if the queue is full or closed."""
        with self._changed:
            self._waiting.setdefault(client, deque()).appendleft(item)
            self._waiting.move_to_end(client, last=False)
            self._changed.notify()

    def place(self, client: str, item: T) -> int | None:
        """The item's place in the queue, from 1, if nothing else arrives; None if it no longer waits."""
        with self._changed:
            if item not in self._waiting.get(client, ()):
                return None
            own = self._waiting[client].index(item)
            clients = list(self._waiting)
            # Before its turn, each client ahead of it has had one turn more than it, and each client behind as many.
            before = (
                min(len(self._waiting[other]), own + (i < clients.index(client)))
                for i, other in enumerate(clients)
                if other != client
            )
            return own + sum(before) + 1

    def remove(self, client: str, item: T) -> bool:
        """Withdraw an item; False if it no longer waits."""
        with self._changed:
            items = self._waiting.get(client)
            if items is None or item not in items:
                return False
            items.remove(item)
            if not items:
                del self._waiting[client]
            return True

    def close(self) -> None:
        """Close the queue: ``take`` returns the remaining items, then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def is_over(self) -> bool:
        """Whether the queue is closed and empty."""
        with self._changed:
            return self._closed and not self._waiting
