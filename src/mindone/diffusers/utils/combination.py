"""Weighted sums of arrays of any library; it imports none of them."""

from collections.abc import Sequence

from .arrays import Array


def combination(weights: Sequence[float], arrays: Sequence[Array]) -> Array:
    """The sum of ``arrays`` times ``weights``."""
    total = arrays[0] * weights[0]
    for weight, array in zip(weights[1:], arrays[1:]):
        total = total + array * weight
    return total
