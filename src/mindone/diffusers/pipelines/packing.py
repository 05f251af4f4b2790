"""Converts latents for published calls whose latents are tokens, each a patch: FLUX.1's.

Runs use (images, channels, height, width) latents, as in other families; they are tokens only at a call's borders.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from .parts import Parts


def packed(latents: NDArray[Any], side: int) -> NDArray[Any]:
    """Latents (images, channels, height, width) as tokens (images, places, channels · side²), row by row."""
    images, channels, height, width = latents.shape
    rows, columns = height // side, width // side
    patches = latents.reshape(images, channels, rows, side, columns, side).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(patches).reshape(images, rows * columns, channels * side * side)


def unpacked(tokens: NDArray[Any], rows: int, columns: int, side: int) -> NDArray[Any]:
    """The inverse of `packed`, for ``rows`` and ``columns`` of patches.

    Raises:
        ValueError: the tokens are no such patches.
    """
    images, count, channels = tokens.shape
    if count != rows * columns or channels % (side * side):
        raise ValueError(
            f"latents of {rows * side}×{columns * side} must be {rows * columns} tokens of a multiple of "
            f"{side * side} channels, got the shape {tuple(tokens.shape)}"
        )
    patches = tokens.reshape(images, rows, columns, channels // side**2, side, side).transpose(0, 3, 1, 4, 2, 5)
    return np.ascontiguousarray(patches).reshape(images, -1, rows * side, columns * side)


def as_published(pipe: Parts, x: Array) -> Array:
    """Latents, or tensors of their shape, in the form of published calls; other tensors unchanged."""
    form = pipe.family.latents
    if not form.packed or len(x.shape) != 4:
        return x
    return pipe.engine.asarray(packed(pipe.engine.numpy(x), form.patch))


def as_in_runs(pipe: Parts, x: Array, height: int, width: int) -> Array:
    """The inverse, for images of a size in pixels.

    Raises:
        ValueError: the tokens do not fit such images.
    """
    form = pipe.family.latents
    if not form.packed or len(x.shape) != 3:
        return x
    rows, columns = height // pipe.pixels_per_token, width // pipe.pixels_per_token
    return pipe.engine.asarray(unpacked(pipe.engine.numpy(pipe.engine.asarray(x)), rows, columns, form.patch))
