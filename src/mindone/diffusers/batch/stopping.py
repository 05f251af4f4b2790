"""Ctrl-C and SIGTERM end a batch after the current image; a second one ends it at once."""

import signal
import sys
import threading
from types import FrameType

from ..interrupts import SIGNALS, note


class Stop:
    """Within this context a signal does not end the program but makes the result true."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, object] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "Stop":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._heard) for number in SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            note(number)
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping after the current image; press again to stop at once", file=sys.stderr)
