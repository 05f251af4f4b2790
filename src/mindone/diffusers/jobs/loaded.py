"""Pipelines that are loaded once and kept for the jobs to come, as far as memory allows."""

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
    """Pipelines by key; the least recently used ones go when all together hold more than ``limit`` bytes.

    Threads that ask for the same pipeline get the same one; while it loads, those that ask for another do not wait.
    One that goes is still good for whoever draws with it.

    Args:
        limit: bytes of weights, in the type that they compute in, and of what is compiled of them, about as much for
            each graph (`held_bytes`). The pipeline that was asked for last stays in any case. None: no limit.
        load: what loads a pipeline.
    """

    def __init__(self, limit: int | None = None, load: Callable[[PipelineKey], Pipeline] = load):
        self.limit, self._load = limit, load
        self._slots: OrderedDict[PipelineKey, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: PipelineKey) -> Pipeline:
        """The pipeline of ``key``, loaded when it is not there; raises what ``load`` raises."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
        with slot.lock:
            if slot.pipe is None:
                slot.pipe = self._load(key)
            pipe = slot.pipe
        self._make_room()  # not only after loading: what others have compiled since counts as well
        return pipe

    def __iter__(self) -> Iterator[PipelineKey]:
        """The keys of what is loaded, the least recently used first."""
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
    """A pipeline, once it is loaded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pipe: Pipeline | None = None


def usual_limit() -> int | None:
    """Half of the machine's memory, for `LoadedPipelines`. None where the system does not say."""
    from ..utils.machine import total_memory  # with `utils` come image libraries, which help needs not

    memory = total_memory()
    return None if memory is None else memory // _SHARE


def load_quietly(key: PipelineKey) -> Pipeline:
    """`load`, for those who show the progress of many jobs themselves."""
    pipe = load(key)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def held_bytes(pipe: Pipeline) -> int:
    """Bytes of a pipeline's weights in the type that each network computes in, once more for each compiled graph."""
    networks = [each for each in pipe.components.values() if hasattr(each, "get_memory_footprint")]
    return sum(network.get_memory_footprint() * (1 + len(network.graphs)) for network in networks)
