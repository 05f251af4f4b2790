"""NumPy latents as the tokens of published calls, each a patch, and back; see `patches` for those of networks."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
