"""Runs the chosen rows of a front as a user would, and measures their time and memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from ..jobs.profile import Settings
from ..utils.machine import peak_memory, reset_peak_memory
from .clock import Clock
from .costs import Costs
from .front import MARKS, Front, Row, distinct
from .stacks import Stacks

_RUNS = 3


def verify(front: Front, stacks: Stacks, costs: Costs, clock: Clock, targets: Sequence[float] = ()) -> None:
    """Measure the baseline and the rows likely to be used, as far as the budget allows.

    Then correct all predictions by the factor between these runs and their predictions.
    """
    chosen, pairs = distinct(front.marks([*targets, *MARKS]).values()), []
    baseline = front.origin.settings
    runs: list[Row | None] = [None, *chosen]  # None is the baseline
    for run in runs:
        settings, predicted = (run.settings, run.predicted_seconds) if run else (baseline, front.baseline_seconds)
        needed = costs.compile_seconds(settings) + (_RUNS + 1) * predicted
        if not clock.has(needed):
            continue
        clock.show(f"verifying {predicted:.3g} s")
        measured, peak = _measure(stacks, costs, settings)
        pairs.append(measured / predicted)
        if run:
            run.measured_seconds, run.peak_memory = measured, peak
        else:
            front.measured_baseline_seconds = measured
    if pairs:
        _correct(front, statistics.median(pairs))


def _measure(stacks: Stacks, costs: Costs, settings: Settings) -> tuple[float, int | None]:
    """The median seconds of some runs, and the process's peak memory while nothing else is compiled."""
    stacks.release()
    counts = reset_peak_memory()
    view = stacks.view(settings)
    taken = []
    for _ in range(_RUNS + 1):
        began = time.perf_counter()
        view(**costs.arguments, generator=np.random.default_rng(0))
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:]), peak_memory() if counts else None


def _correct(front: Front, factor: float) -> None:
    front.baseline_seconds *= factor
    for dot in front.dots:
        dot.seconds *= factor
    for row in front.rows:
        row.predicted_seconds *= factor
