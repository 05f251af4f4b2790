"""The budget: how much of it is used, shown as a bar with the time left."""

from __future__ import annotations

import math
import time

from ..utils.progress import progress_bar


class Clock:
    """The seconds of a search, and the bar that shows them.

    Args:
        budget: seconds in all.
        visible: whether there is a bar.
        reserve: the fraction of the budget that stays for the last phase.
    """

    def __init__(self, budget: float, visible: bool = True, reserve: float = 0.0):
        self.budget, self.began, self.reserve = budget, time.perf_counter(), reserve
        self.end = budget
        shape = "{desc}|{bar:24}|"
        self._bar = progress_bar(total=math.ceil(budget), disable=not visible, bar_format=shape)

    @property
    def gone(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.began

    def begin(self, part: float) -> None:
        """Begin a phase that may take this fraction of the remaining time."""
        self.end = self.gone + part * max((1 - self.reserve) * self.budget - self.gone, 0.0)

    def begin_last(self, part: float) -> None:
        """Begin the phase for which time is reserved."""
        self.reserve = 0.0
        self.begin(part)

    def has(self, needed: float = 0.0) -> bool:
        """Whether the phase has this many seconds left."""
        return self.gone + needed < self.end

    def show(self, activity: str) -> None:
        """Show the current activity."""
        minutes, seconds = divmod(int(max(self.budget - self.gone, 0)), 60)
        self._bar.set_description_str(f"{minutes}:{seconds:02} left, {activity:30.30}", refresh=False)
        self._bar.n = min(self.gone, self.budget)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
