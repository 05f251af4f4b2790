"""Ends a command on Ctrl-C and SIGTERM with one line, whole files, and exit code 130 or 143, whatever it is doing.

Python turns Ctrl-C into an exception, which aborts the process (SIGABRT) if it passes through native code; importing
MindSpore and OpenVINO runs Python from native code for seconds. So a command exits at once instead. The files it was
writing are listed here and removed first. A command with results to keep asks for the exception (`raised`).

Python handles a signal when native code returns, and a step of a large image may take minutes. So a thread ends the
process if the main thread does not get to it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
unfinished: set[str] = set()
"""Files and folders that exist only while something is being written."""
_received: int = signal.SIGINT
_PATIENCE = 1.0
"""Seconds that the main thread has to handle a signal."""
_raised = 0
"""How many signals became exceptions."""
_leaving = threading.Lock()


def leave_on_signals() -> None:
    """From now on signals end the process; a signal that the caller ignores, as under ``nohup``, stays ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    if sys.platform != "win32":
        _watch_over_native_code()


def _watch_over_native_code() -> None:
    """Python writes the number of each signal into a pipe at once; a thread reads it."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # a child would write into our pipe
    threading.Thread(target=_leave_late, args=(reader,), name="signals", daemon=True).start()


def _leave_late(reader: int) -> None:
    """End the process for a signal that the main thread has left alone for a while."""
    seen = 0
    while numbers := os.read(reader, 64):
        number = numbers[-1]
        was_to_leave = signal.getsignal(number) is _leave  # a command that stops in its own way may set this again
        time.sleep(_PATIENCE)
        if _raised != seen:
            seen = _raised
        elif was_to_leave and signal.getsignal(number) is _leave:
            _leave(number, None)


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
    global _raised
    _raised += 1
    note(number)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    if not _leaving.acquire(blocking=False):
        return
    for path in list(unfinished):
        with contextlib.suppress(OSError):
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, b"\nAborted!\n")
    os._exit(128 + number)
