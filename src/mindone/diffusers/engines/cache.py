"""What was compiled for a network: the few graphs that were used last."""

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
    """A graph that holds intermediate results between its calls, and can give them back."""

    def rest(self) -> None:
        """Give them back. The next call makes room for them again."""


compiling: set[int] = set()
"""The threads that compile now or wait for one that does, for those who report what a run is waiting for."""

_ahead = threading.BoundedSemaphore(2)
"""How many graphs are made ahead at a time: more would only take the processor from what is waited for."""


class GraphCache:
    """Compiled graphs by what they are for; the least recently used one goes when there are more than ``limit``.

    Threads that ask for the same graph get the same one; while one compiles, the others wait.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT):
        self._graphs: OrderedDict[Hashable, object] = OrderedDict()
        self._lock = threading.RLock()
        self._limit = limit

    @property
    def limit(self) -> int:
        """How many graphs are kept, at least 1. Setting it drops those beyond."""
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
        """The graph of ``key``, made when it is not there."""
        is_there = key in self._graphs
        if not is_there:
            compiling.add(threading.get_ident())
        try:
            with self._lock:
                if key not in self._graphs:
                    while len(self._graphs) >= self._limit:  # before it is made, so that both need not fit
                        self._graphs.popitem(last=False)
                    self._graphs[key] = make()
                self._graphs.move_to_end(key)
                return self._graphs[key]  # type: ignore[return-value]
        finally:
            if not is_there:
                compiling.discard(threading.get_ident())

    def make_ahead(self, key: Hashable, make: Callable[[], object]) -> None:
        """Have a thread make the graph of ``key`` for a later `get`, which waits for it.

        Nothing happens where it is there, where another would have to go for it, or where enough is being made. What
        goes wrong in ``make`` goes wrong in the `get` that needs it, and is raised there.
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
        """Have the graphs give back what they hold beside the weights, until they are called again."""
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
"""What engines drop of their own, and make again when they need it, when memory is given back."""


def give_back_memory() -> None:
    """Return what the program has freed to the system: C libraries keep it for themselves otherwise."""
    for drop in on_release:
        drop()
    gc.collect()
    return_freed_memory()


def return_freed_memory() -> None:
    """The last part of `give_back_memory`, which takes milliseconds."""
    if _glibc is not None:
        _glibc.malloc_trim(0)


def limit_arenas() -> None:
    """Have the C library's allocator keep few heaps, unless ``MALLOC_ARENA_MAX`` says how many.

    It makes one for each thread, and what threads that compile leave in theirs lies in small pieces, so that hardly a
    page can be given back: some 1.5 MB more for every graph that was ever compiled.
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
"""What ``mallopt`` calls the number of heaps."""
