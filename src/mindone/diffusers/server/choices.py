"""What clients have chosen for their further requests, of as many clients as are worth remembering."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Choices(Generic[T]):
    """One value per client; beyond ``limit`` clients, that of the client that chose first is forgotten."""

    def __init__(self, limit: int = 1000):
        self._limit = limit
        self._chosen: OrderedDict[str, T] = OrderedDict()

    def get(self, client: str) -> T | None:
        """What the client has chosen."""
        return self._chosen.get(client)

    def put(self, client: str, value: T) -> None:
        """Remember a choice."""
        self._chosen[client] = value
        self._chosen.move_to_end(client)
        while len(self._chosen) > self._limit:
            self._chosen.popitem(last=False)
