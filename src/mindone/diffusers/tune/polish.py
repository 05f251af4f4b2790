"""Calibrated steps on the front, fitted once more (`acceleration.refinement`), where networks are small."""

from collections.abc import Callable

from .candidates import Candidate
from .likeness import Drawings
from .search import Point, on_front

_MOST_STEPS = 6
"""With more of them it takes long, and gains next to nothing."""


def polish(
    points: dict[Candidate, Point],
    drawings: Drawings,
    count: int,
    redraw: Callable[[Candidate, int], Point],
    goes_on: Callable[[], bool],
) -> None:
    """Refine the weights of the front's calibrated candidates of few steps, the fastest first.

    Args:
        points: what candidates come to on the first ``count`` prompts; those that are refined get new points.
        drawings: has the weights, and draws with the refined ones from now on.
        count: that number.
        redraw: what a candidate comes to on so many prompts.
        goes_on: whether there is time.
    """
    if drawings.stacks.pipe.unet.is_big:
        return
    chosen = [each for each in on_front(points) if each.calibrated and each.steps <= _MOST_STEPS]
    for candidate in dict.fromkeys(each._replace(tiny_vae=False) for each in chosen):
        if not goes_on():
            return
        drawings.refine(candidate)
        for other in [each for each in points if each._replace(tiny_vae=False) == candidate]:
            points[other] = redraw(other, count)
