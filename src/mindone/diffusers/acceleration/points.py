"""Curves through a few measured points."""

from typing import TypeAlias

Points: TypeAlias = tuple[tuple[float, float], ...]


def curve_at(points: Points, x: float) -> float:
    """Linear interpolation between the two points around ``x``; constant beyond the outermost points."""
    before = points[0]
    for after in points:
        if x <= after[0]:
            span = after[0] - before[0]
            return after[1] if span == 0 else before[1] + (after[1] - before[1]) * (x - before[0]) / span
        before = after
    return before[1]
