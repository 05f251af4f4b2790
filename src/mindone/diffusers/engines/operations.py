"""The operations in charge of `functional`: MindSpore's, but in a thread that records a network that recorder's.

Any number of threads record at a time, each a network of its own: in a big one it takes seconds, in which others are
to begin as well. MindSpore's compiler reads `ops` as it is, so whoever runs a network on tensors does it alone.
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
_ops_by_thread = cast(Operations, _by_thread)  # each operation is looked up when it is called
_alone = threading.RLock()
_changed = threading.Condition()
_running: int | None = None
"""The thread that runs a network on tensors, or is to when the last recording ends."""
_recordings = 0
_mode: int = ms.PYNATIVE_MODE
"""MindSpore's mode before the first of the recordings that are going on."""


@contextmanager
def executing() -> Iterator[None]:
    """Within this context networks are called on tensors: no other thread does so, and none records."""
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
    """Within this context, inside of `executing`, Cells are called as plain Python, also for users in Graph mode."""
    before = ms.get_context("mode")
    _change_mode(ms.PYNATIVE_MODE)
    try:
        yield
    finally:
        _change_mode(before)


def recorder_of_thread() -> Operations | None:
    """What this thread records with, if it does."""
    return _by_thread.recorder


@contextmanager
def recording(recorder: Operations) -> Iterator[None]:
    """Within this context `functional` calls the operations of ``recorder`` in this thread, and Cells are called as
    plain Python, also for users in Graph mode."""
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
