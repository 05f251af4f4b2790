"""Loads each pipeline once and keeps it for later jobs, as far as memory allows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .job import PipelineKey
from .run import load

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline


_SHARE = 2


class LoadedPipelines:
    """Pipelines by key; the least recently used ones are dropped if all together hold more than ``limit`` bytes.

    Threads that request the same pipeline share it; while it loads, requests for others do not wait. A dropped pipeline
    keeps working for those still using it.

    Args:
        limit: bytes of weights, in their compute dtype, plus about as much again for each compiled graph
            (`held_bytes`). The latest pipeline always stays. None for no limit.
        load: the function that loads a pipeline.
    """

    def __init__(self, limit: int | None = None, load: Callable[[PipelineKey], Pipeline] = load):
        self.limit, self._load = limit, load
        self._slots: OrderedDict[PipelineKey, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: PipelineKey) -> Pipeline:
        """The pipeline of ``key``, loaded if needed; raises what ``load`` raises."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
        with slot.lock:
            if slot.pipe is None:
                slot.pipe = self._load(key)
            pipe = slot.pipe
        self._make_room()  # not only after loading: graphs compiled since then count as well
        return pipe

    def __iter__(self) -> Iterator[PipelineKey]:
        """The keys of loaded pipelines, the least recently used first."""
        with self._lock:
            return iter([key for key, slot in self._slots.items() if slot.pipe is not None])

    def _make_room(self) -> None:
        dropped = []
        with self._lock:
            held = {key: held_bytes(slot.pipe) for key, slot in self._slots.items() if slot.pipe is not None}
            total = sum(held.values())
            for key in list(held)[:-1]:
                if self.limit is None or total <= self.limit:
                    break
                dropped.append(self._slots.pop(key))
                total -= held[key]
        for slot in dropped:
            if slot.pipe is not None:
                slot.pipe.release()


class _Slot:
    """A future pipeline, set once loaded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pipe: Pipeline | None = None


def usual_limit() -> int | None:
    """Half of the machine's memory, for `LoadedPipelines`. None if the system does not say."""
    from ..utils.machine import total_memory  # `utils` imports image libraries, which help does not need

    memory = total_memory()
    return None if memory is None else memory // _SHARE


def load_quietly(key: PipelineKey) -> Pipeline:
    """`load`, for callers that show the progress of many jobs themselves."""
    pipe = load(key)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def held_bytes(pipe: Pipeline) -> int:
    """Bytes of a pipeline's weights as its engine packs them, once more for each compiled graph."""
    networks = [each for each in pipe.components.values() if hasattr(each, "packed_bytes")]
    return sum(network.packed_bytes(pipe.engine.name) * (1 + len(network.graphs)) for network in networks)
