"""Remembers the options that clients set for their later requests, for a limited number of clients."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Choices(Generic[T]):
    """One value per client; beyond ``limit`` clients it forgets the oldest choice."""

    def __init__(self, limit: int = 1000):
        self._limit = limit
        self._chosen: OrderedDict[str, T] = OrderedDict()

    def get(self, client: str) -> T | None:
        """The client's choice."""
        return self._chosen.get(client)

    def put(self, client: str, value: T) -> None:
        """Remember a choice."""
        self._chosen[client] = value
        self._chosen.move_to_end(client)
        while len(self._chosen) > self._limit:
            self._chosen.popitem(last=False)
