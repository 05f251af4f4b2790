"""Checks of image sides, in pixels."""

from collections.abc import Mapping
from numbers import Integral

from .printable import shown

_LONGEST_SIDE = 10**9
"""Far beyond any picture that fits into memory, but a number that every library can count to."""


def check_sides(sides: Mapping[str, object], factor: int) -> None:
    """Check that both sides are positive multiples of a latent's size in pixels.

    Args:
        sides: the sides by name.
        factor: pixels per latent.

    Raises:
        ValueError: one is not; the message names the nearest multiples.
    """
    for name, value in sides.items():
        if not isinstance(value, Integral) or value < 1:
            multiple = f", a multiple of {factor}" if factor > 1 else ""
            raise ValueError(f"{name} must be a positive number of pixels{multiple}, got {value!r}")
        if int(value) > _LONGEST_SIDE:
            raise ValueError(f"{name} must be at most {_LONGEST_SIDE} pixels, got {shown(value)}")
        if value % factor:
            below, above = int(value) // factor * factor, (int(value) // factor + 1) * factor
            nearest = f"the nearest are {below} and {above}" if below else f"the nearest is {above}"
            raise ValueError(f"{name} must be a multiple of {factor}, got {value}; {nearest}")
