"""A plot of seconds against quality: every candidate, and the line of the front."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .front import Dot, Front

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 20, 44


@dataclass(frozen=True)
class Mark:
    """A point in the plot, with its text."""

    x: float
    y: float
    text: str = ""


@dataclass(frozen=True)
class Plot:
    """Coordinates of everything in the plot. Seconds are on a logarithmic scale."""

    dots: list[Mark]
    front: list[Mark]
    verticals: list[Mark]
    horizontals: list[Mark]

    @property
    def line(self) -> str:
        """The front as an SVG path of steps: at each time the best so far."""
        parts = []
        for i, mark in enumerate(self.front):
            parts.append(f"M{mark.x:.1f},{mark.y:.1f}" if i == 0 else f"H{mark.x:.1f}V{mark.y:.1f}")
        return "".join(parts)


def plot(front: Front) -> Plot | None:
    """The plot of a front with measured quality."""
    rows = [row for row in front.rows if row.psnr is not None]
    if not rows:
        return None
    seconds = [*(row.seconds for row in rows), front.baseline_seconds]
    low, high = min(seconds) * 0.92, max(seconds) * 1.08
    decibels = [row.psnr for row in rows if row.psnr is not None]
    floor, ceiling = math.floor(min(decibels) / 5) * 5, math.ceil((max(decibels) + 0.5) / 5) * 5

    def x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(value / low) / math.log(high / low)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - floor) / (ceiling - floor)

    dots = [
        Mark(x(dot.seconds), y(dot.psnr), f"{dot.settings.words}: {dot.seconds:.3g} s, {_decibels(dot)}")
        for dot in front.dots
        if low <= dot.seconds <= high and floor <= dot.psnr <= ceiling
    ]
    line = [
        Mark(
            x(row.seconds),
            y(row.psnr or 0.0),
            f"{row.settings.words}: {row.seconds:.3g} s ({row.speed_up:.1f}×), {row.psnr:.1f} dB",
        )
        for row in rows
    ]
    factors = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
    verticals = [
        Mark(x(front.baseline_seconds / n), 0, f"{n}× {front.baseline_seconds / n:.2g} s")
        for n in factors
        if low <= front.baseline_seconds / n <= high
    ]
    horizontals = [Mark(0, y(value), f"{value}") for value in range(floor, ceiling + 1, 5)]
    return Plot(dots, line, verticals, horizontals)


def _decibels(dot: Dot) -> str:
    return f"about {dot.psnr:.1f} dB, from its latents" if dot.is_estimated else f"{dot.psnr:.1f} dB"
