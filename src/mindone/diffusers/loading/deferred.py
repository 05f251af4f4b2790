"""Tensors by name that are made one at a time, on demand, so that memory never holds all of them."""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class Deferred(Mapping[str, T]):
    """Calls a function for each value, whenever it is read.

    Args:
        makers: the functions by name.
    """

    def __init__(self, makers: Mapping[str, Callable[[], T]]):
        self._makers = makers

    def __getitem__(self, name: str) -> T:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    def __contains__(self, name: object) -> bool:
        return name in self._makers
