"""Ends a command on Ctrl-C and SIGTERM with one line, whole files, and exit code 130 or 143, whatever it is doing.

Python turns Ctrl-C into an exception, which aborts the process (SIGABRT) if it passes through native code; importing
MindSpore and OpenVINO runs Python from native code for seconds. So a command exits at once instead. The files it was
writing are listed here and removed first. A command with results to keep asks for the exception (`raised`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
unfinished: set[str] = set()
"""Files and folders that exist only while something is being written."""
_received: int = signal.SIGINT


def leave_on_signals() -> None:
    """From now on signals end the process; a signal that the caller ignores, as under ``nohup``, stays ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Within this context a signal that would end the process raises KeyboardInterrupt. Programs that did not call
    `leave_on_signals` are unaffected."""
    ours = [number for number in SIGNALS if signal.getsignal(number) is _leave]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _leave)


def exit_code() -> int:
    """The exit code of a program ended by the last signal."""
    return 128 + _received


def note(number: int) -> None:
    """Remember the signal for `exit_code`."""
    global _received
    _received = number


def _raise(number: int, frame: FrameType | None) -> None:
    note(number)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    for path in list(unfinished):
        with contextlib.suppress(OSError):
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, b"\nAborted!\n")
    os._exit(128 + number)
