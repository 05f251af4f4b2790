"""Finds the Pareto front without trying everything.

A Pareto local search (Paquete, Chiarandini & Stützle 2004): candidates on the current front have neighbours, which
differ in one knob; the most promising neighbour is tried next. Three kinds are skipped: a neighbour whose expected
quality (its parent's, plus the knob's known difference) lies below the front at its cost; one whose less lossy relative
was tried and is no better than the front (a longer interval never helps); and one that costs more than anybody asks
for.
"""

from __future__ import annotations

import bisect
import heapq
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from .candidates import Candidate, Space
from .prior import expected_psnr

_NOTHING = -1000.0
"""Decibels at a cost where nothing is known yet."""
_LEAST_PSNR = 18.0
"""Expected decibels below which nobody wants a picture."""
_MONOTONE_SLACK = 0.3
"""Decibels by which the lossier of two may come out better by chance."""


class Point(NamedTuple):
    """A candidate's result."""

    seconds: float
    psnr: float


@dataclass
class Pareto:
    """The best quality so far at each cost: an ascending staircase."""

    seconds: list[float] = field(default_factory=list)
    psnr: list[float] = field(default_factory=list)

    def at(self, seconds: float) -> float:
        """The best quality for at most this many seconds."""
        place = bisect.bisect_right(self.seconds, seconds)
        return self.psnr[place - 1] if place else _NOTHING

    def add(self, point: Point) -> None:
        """Add a point if it beats all points that cost no more."""
        if point.psnr <= self.at(point.seconds):
            return
        start = bisect.bisect_left(self.seconds, point.seconds)
        end = start
        while end < len(self.psnr) and self.psnr[end] <= point.psnr:
            end += 1
        self.seconds[start:end], self.psnr[start:end] = [point.seconds], [point.psnr]


@dataclass
class LocalSearch:
    """A search that can end at any time; ``known`` holds everything tried.

    Args:
        space: the candidates.
        cost: the seconds of one; None if it cannot run.
        quality: its decibels; this takes the time.
        most_seconds: candidates that cost more are ignored.
        slack: how many decibels below the front a candidate, and its neighbours, are still worth trying.
    """

    space: Space
    cost: Callable[[Candidate], float | None]
    quality: Callable[[Candidate], float]
    most_seconds: float
    slack: float = 0.0
    known: dict[Candidate, Point] = field(default_factory=dict)
    front: Pareto = field(default_factory=Pareto)

    def run(self, seeds: Iterable[Candidate], goes_on: Callable[[], bool], anyway: Iterable[Candidate] = ()) -> None:
        """Try seeds and neighbours, the most promising first, until none is promising or time is up.

        Args:
            seeds: the candidates to begin with.
            goes_on: whether there is time. anyway: candidates to try first, whatever their expected quality.
        """
        self._queue: list[tuple[float, int, Candidate, float]] = []
        self._seen: set[Candidate] = set(self.known)
        self._order = count()
        for seed in anyway:
            if not goes_on():
                return
            seconds = self.cost(seed)
            self._seen.add(seed)
            if seconds is not None:
                self._try(seed, seconds)
        for seed in seeds:
            self._consider(seed, expected_psnr(seed), always=True)
        while self._queue and goes_on():
            _, _, candidate, expected = heapq.heappop(self._queue)
            seconds = self.cost(candidate)
            if seconds is None or not self._promises(candidate, seconds, expected):
                continue
            self._try(candidate, seconds)

    def _try(self, candidate: Candidate, seconds: float) -> None:
        psnr = self.quality(candidate)
        self.known[candidate] = Point(seconds, psnr)
        is_near = psnr >= self.front.at(seconds) - self.slack
        self.front.add(self.known[candidate])
        if is_near:
            for neighbour in self.space.neighbours(candidate):
                self._consider(neighbour, psnr + expected_psnr(neighbour) - expected_psnr(candidate))

    def _consider(self, candidate: Candidate, expected: float, always: bool = False) -> None:
        if candidate in self._seen or expected_psnr(candidate) < _LEAST_PSNR:
            return
        self._seen.add(candidate)
        seconds = self.cost(candidate)
        if seconds is None or seconds > self.most_seconds:
            return
        gain = expected - self.front.at(seconds)
        if always or gain >= -self.slack:
            heapq.heappush(self._queue, (-gain, next(self._order), candidate, expected))

    def _promises(self, candidate: Candidate, seconds: float, expected: float) -> bool:
        best = self.front.at(seconds)
        if best == _NOTHING:
            return True
        if expected < best - self.slack:
            return False
        return not any(
            point.psnr + _MONOTONE_SLACK < best and candidate.is_lossier(other) for other, point in self.known.items()
        )


def estimated(tried: dict[Candidate, Point], decoded: dict[Candidate, Point]) -> dict[Candidate, Point]:
    """Results from latents alone, as decibels of images: shifted by the median difference where both exist."""
    apart = [decoded[each].psnr - point.psnr for each, point in tried.items() if each in decoded]
    if not apart:
        return {}
    by = statistics.median(apart)
    return {each: Point(point.seconds, point.psnr + by) for each, point in tried.items() if each not in decoded}


def on_front(known: dict[Candidate, Point], within: float = 0.0) -> list[Candidate]:
    """Points that none of equal or lower cost beats by more than ``within`` decibels, the fastest first."""
    staircase = Pareto()
    for point in known.values():
        staircase.add(point)
    near = [each for each, point in known.items() if point.psnr >= staircase.at(point.seconds) - within]
    return sorted(near, key=lambda each: (known[each].seconds, -known[each].psnr))


def halve(
    known: dict[Candidate, Point],
    reached: int,
    redraw: Callable[[Candidate, int], Point],
    rungs: Sequence[tuple[int, float]],
    goes_on: Callable[[], bool],
) -> tuple[dict[Candidate, Point], int]:
    """Successive halving: candidates near the front are generated for more prompts, and those falling behind are
    dropped.

    Args:
        known: candidates' results on the first ``reached`` prompts.
        reached: that number.
        redraw: gives a candidate's result on a number of prompts.
        rungs: numbers of prompts, each with the most decibels below the front that still qualify.
        goes_on: whether there is time.

    Returns:
        The results of the last rung that generated the whole front, and its number of prompts.
    """
    for prompts, within in rungs:
        exact = on_front(known)
        found: dict[Candidate, Point] = {}
        for candidate in [*exact, *(each for each in on_front(known, within) if each not in exact)]:
            if not goes_on():
                break
            found[candidate] = redraw(candidate, prompts)
        if len(found) < len(exact):
            break
        known, reached = found, prompts
    return known, reached
