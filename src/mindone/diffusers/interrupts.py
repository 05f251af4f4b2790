"""What Ctrl-C and SIGTERM do to a command: one line, whole files, and the exit code 130 or 143, whatever it is doing.

Python turns Ctrl-C into an exception, which ends the process in SIGABRT where it passes through native code; importing
MindSpore and OpenVINO runs Python from there for seconds. So a command leaves at once instead. What it was writing is
listed here and removed first. Where it has results to keep, it asks for the exception (`raised`).
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
"""Files and folders that are only there while something is being written."""
_received: int = signal.SIGINT


def leave_on_signals() -> None:
    """From now on a signal ends the process; one that the caller ignores, as under ``nohup``, stays ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Within this context a signal that would end the process raises KeyboardInterrupt. Nothing changes in programs
    that have not called `leave_on_signals`."""
    ours = [number for number in SIGNALS if signal.getsignal(number) is _leave]
    for number in ours:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, _leave)


def exit_code() -> int:
    """The exit code of a program that the last signal has ended."""
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
