"""The active operations of `functional`: MindSpore's, or a recorder's in a thread that records a network.

Any number of threads can record at a time, each its own network: a big one takes seconds, and others must be able to
start meanwhile. MindSpore's compiler reads `ops` directly, so running a network on tensors is exclusive.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import mindspore as ms

from .mindspore import operators
from .operators import Operations


class _ByThread(threading.local):
    """The operations of the thread's recorder, or MindSpore's."""

    recorder: Operations | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(operators if self.recorder is None else self.recorder, name)


ops: Operations = operators
"""A module's own attribute, so that MindSpore's compiler finds it."""

_by_thread = _ByThread()
_ops_by_thread = cast(Operations, _by_thread)  # each operation is looked up at its call
_alone = threading.RLock()
_changed = threading.Condition()
_running: int | None = None
"""The thread that runs a network on tensors, or will when the last recording ends."""
_recordings = 0
_mode: int = ms.PYNATIVE_MODE
"""MindSpore's mode before the first of the current recordings."""


@contextmanager
def executing() -> Iterator[None]:
    """Within this context, only this thread runs networks on tensors, and no thread records."""
    global _running
    if _by_thread.recorder is not None:
        yield
        return
    with _alone:
        before = _running
        try:
            with _changed:
                _running = threading.get_ident()
                _changed.wait_for(lambda: not _recordings)
            yield
        finally:
            with _changed:
                _running = before
                _changed.notify_all()


@contextmanager
def eagerly() -> Iterator[None]:
    """Within this context, inside `executing`, Cells run as plain Python, even for users in Graph mode."""
    before = ms.get_context("mode")
    _change_mode(ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        _change_mode(before)


def recorder_of_thread() -> Operations | None:
    """This thread's recorder, if it is recording."""
    return _by_thread.recorder


@contextmanager
def recording(recorder: Operations) -> Iterator[None]:
    """Within this context, `functional` calls the operations of ``recorder`` in this thread, and Cells run as plain
    Python, even for users in Graph mode."""
    before = _by_thread.recorder
    if before is None:
        _begin_recording()
    _by_thread.recorder = recorder
    try:
        yield
    finally:
        _by_thread.recorder = before
        if before is None:
            _end_recording()


def _begin_recording() -> None:
    global ops, _recordings, _mode
    with _changed:
        _changed.wait_for(lambda: _running in (None, threading.get_ident()))
        if not _recordings:
            ops, _mode = _ops_by_thread, ms.get_context("mode")
            _change_mode(ms.PYNATIVE_MODE)
        _recordings += 1


def _end_recording() -> None:
    global ops, _recordings
    with _changed:
        _recordings -= 1
        if not _recordings:
            ops = operators
            _change_mode(_mode)
        _changed.notify_all()


def _change_mode(mode: int) -> None:
    if ms.get_context("mode") != mode:
        ms.set_context(mode=mode)
