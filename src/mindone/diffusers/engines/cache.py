"""A network's compiled graphs: the few used last."""

import ctypes
import gc
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

from ..utils.logging import get_logger

logger = get_logger(__name__)

T = TypeVar("T")

DEFAULT_LIMIT = 4
"""Two batch sizes (with and without guidance), each whole and shallow (with a feature cache)."""


@runtime_checkable
class Resting(Protocol):
    """A graph that keeps intermediate results between its calls and can release them."""

    def rest(self) -> None:
        """Release them. The next call allocates them again."""


compiling: set[int] = set()
"""The threads that are compiling or waiting for a compilation, for reporting what a run waits for."""

_ahead = threading.BoundedSemaphore(2)
"""How many graphs to make ahead at a time: more would only slow down the ones being waited for."""


class GraphCache:
    """Compiled graphs by key; the least recently used one is dropped if there are more than ``limit``.

    Threads that request the same graph share it; while one compiles, the others wait.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT):
        self._graphs: OrderedDict[Hashable, object] = OrderedDict()
        self._lock = threading.RLock()
        self._limit = limit

    @property
    def limit(self) -> int:
        """How many graphs to keep, at least 1. Lowering it drops the excess."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"a network keeps at least 1 compiled graph, got {limit!r}")
        with self._lock:
            self._limit = limit
            while len(self._graphs) > limit:
                self._graphs.popitem(last=False)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The graph of ``key``, made if needed."""
        is_there = key in self._graphs
        if not is_there:
            compiling.add(threading.get_ident())
        try:
            with self._lock:
                if key not in self._graphs:
                    while len(self._graphs) >= self._limit:  # before making it, so that both need not fit into memory
                        self._graphs.popitem(last=False)
                    self._graphs[key] = make()
                self._graphs.move_to_end(key)
                return self._graphs[key]  # type: ignore[return-value]
        finally:
            if not is_there:
                compiling.discard(threading.get_ident())

    def make_ahead(self, key: Hashable, make: Callable[[], object]) -> None:
        """Make the graph of ``key`` in a thread for a later `get`, which waits for it.

        Does nothing if it exists, if it would displace another, or if enough graphs are being made. An error in
        ``make`` recurs in the `get` that needs the graph and is raised there.
        """
        if key in self._graphs or len(self._graphs) >= self._limit or not _ahead.acquire(blocking=False):
            return

        def work() -> None:
            try:
                with self._lock:
                    if len(self._graphs) < self._limit:
                        self.get(key, make)
            except Exception as error:
                logger.debug(f"a graph could not be made ahead: {error}")
            finally:
                _ahead.release()

        threading.Thread(target=work, name="compile-ahead").start()

    def rest(self) -> None:
        """Release everything that the graphs hold except weights, until their next call."""
        with self._lock:
            graphs = list(self._graphs.values())
        for graph in graphs:
            if isinstance(graph, Resting):
                graph.rest()

    def clear(self) -> None:
        """Drop all graphs."""
        with self._lock:
            self._graphs.clear()

    def __iter__(self) -> Iterator[Hashable]:
        return iter(list(self._graphs))

    def __len__(self) -> int:
        return len(self._graphs)


on_release: list[Callable[[], None]] = []
"""Engines' own caches to drop when memory is released; engines rebuild them when needed."""


def give_back_memory() -> None:
    """Return freed memory to the system: C libraries would otherwise keep it."""
    for drop in on_release:
        drop()
    gc.collect()
    return_freed_memory()


def return_freed_memory() -> None:
    """The last part of `give_back_memory`, which takes milliseconds."""
    if _glibc is not None:
        _glibc.malloc_trim(0)


def limit_arenas() -> None:
    """Limit the heaps of the C library's allocator, unless ``MALLOC_ARENA_MAX`` is set.

    It makes one for each thread, and compiling threads leave small pieces in theirs, so that hardly any page can be
    returned: some 1.5 MB more for every compiled graph.
    """
    if _glibc is not None and "MALLOC_ARENA_MAX" not in os.environ:
        _glibc.mallopt(_M_ARENA_MAX, 2)


def _c_library() -> ctypes.CDLL | None:
    """glibc, which alone has both functions."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


_glibc = _c_library()
_M_ARENA_MAX = -8
"""The ``mallopt`` parameter for the number of heaps."""
