"""Runs the rows of a front that people will use as they will use them, and measures their time and memory."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np

from ..jobs.profile import Settings
from ..utils.machine import peak_memory, reset_peak_memory
from .clock import Clock
from .costs import Costs
from .front import MARKS, Front, Row
from .stacks import Stacks

Target = float | Mapping[str, float | None]
"""A speed-up, or the arguments of `Front.at`."""
_SECONDS, _MOST_RUNS = 4.0, 9
"""Repeat a row for about this many seconds, at least once and at most this many times."""


def verify(front: Front, stacks: Stacks, costs: Costs, clock: Clock, targets: Sequence[Target] = ()) -> None:
    """Measure the baseline and the rows that these targets choose, then those of the usual speed-ups, as far as the
    budget allows.

    What was measured replaces its prediction, and corrects the others by the median factor. So a row that turns out too
    slow for a target gives way to a faster one, which is measured in turn.
    """

    def measured(settings: Settings, seconds: float) -> tuple[float, int | None] | None:
        runs = min(max(math.ceil(_SECONDS / seconds), 1), _MOST_RUNS)
        if not clock.has(costs.compile_seconds(settings) + (1 + runs) * seconds):
            return None
        clock.show(f"running {settings.words}")
        return _measure(stacks, costs, settings, runs)

    if found := measured(front.origin.settings, front.baseline_seconds):
        front.measured_baseline_seconds, _ = found
        front.correct(front.measured_baseline_seconds / front.baseline_seconds)
    for target in [*targets, *MARKS]:
        while (row := _choice(front, target)) and row.measured_seconds is None:
            if not (found := measured(row.settings, row.seconds)):
                break
            row.measured_seconds, row.peak_memory = found
            ran = [each for each in front.rows if each.measured_seconds]
            front.correct(statistics.median(each.seconds / each.predicted_seconds for each in ran))
    front.settle()


def _choice(front: Front, target: Target) -> Row | None:
    """The row for a target; None if the front does not reach it."""
    wish = target if isinstance(target, Mapping) else {"speed_up": target}
    try:
        return front.row_at(**wish)
    except ValueError:
        return None


def _measure(stacks: Stacks, costs: Costs, settings: Settings, runs: int) -> tuple[float, int | None]:
    """The median seconds of some runs, and the process's peak memory while nothing else is compiled."""
    stacks.release()
    counts = reset_peak_memory()
    view = stacks.view(settings)
    taken = []
    for _ in range(1 + runs):
        began = time.perf_counter()
        view(**costs.arguments, generator=np.random.default_rng(0))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:]), peak_memory() if counts else None
