"""Checks of images' sides, in pixels."""

from collections.abc import Mapping
from numbers import Integral


def check_sides(sides: Mapping[str, object], factor: int) -> None:
    """Both sides must be positive multiples of what a latent stands for.

    Args:
        sides: by name.
        factor: pixels.

    Raises:
        ValueError: one is not; the message names the nearest that are.
    """
    for name, value in sides.items():
        if not isinstance(value, Integral) or value < 1:
            multiple = f", a multiple of {factor}" if factor > 1 else ""
            raise ValueError(f"{name} must be a positive number of pixels{multiple}, got {value!r}")
        if value % factor:
            below, above = int(value) // factor * factor, (int(value) // factor + 1) * factor
            nearest = f"the nearest are {below} and {above}" if below else f"the nearest is {above}"
            raise ValueError(f"{name} must be a multiple of {factor}, got {value}; {nearest}")
