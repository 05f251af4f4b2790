"""Sizes that a family was trained on, by aspect ratio: images are generated at one and brought to the requested size.

The tables are those of PixArt and Sana. Both sides count in sixteenths of the square's.
"""

import numpy as np
from numpy.typing import NDArray

from ..models.autoencoder import Floats
from ..utils.sizes import check_sides
from . import checks
from .masked_calls import MaskedArguments
from .parts import Parts
from .pipeline import Pipeline
from .starts import FromNoise

_COMMON = "8×32 8×29 9×28 9×27 9×26 10×25 10×24 11×23 11×22 11×21 12×21 12×20 13×19 13×18 14×18 14×17 15×17 15×16 16×16"
_COMMON += " 16×15 17×15 17×14 18×14 18×13 19×13 20×12 21×12 22×11 23×11 24×10 25×10 27×9 32×8"
_LARGE_ALONE = "8×31 8×30 26×9 28×9 29×8 30×8 31×8"


def _sizes(text: str) -> list[tuple[int, int]]:
    pairs = [tuple(map(int, each.split("×"))) for each in text.split()]
    return sorted(((rows, columns) for rows, columns in pairs), key=lambda each: each[0] / each[1])


_SMALL, _LARGE = _sizes(_COMMON), _sizes(f"{_COMMON} {_LARGE_ALONE}")
TABLES = {256: _SMALL, 512: _SMALL, 1024: _SMALL, 2048: _LARGE, 4096: _LARGE}
"""(height, width) in sixteenths of a side, by the side in pixels of a checkpoint's square training images."""


def binned(pipe: Parts, height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels of the trained size with the nearest aspect ratio.

    Raises:
        ValueError: no sizes are published for such a checkpoint.
    """
    side = pipe.family.latents.trained(pipe.denoiser.config)[0] * pipe.family.latents.pixels
    if side not in TABLES:
        raise ValueError(
            f"use_resolution_binning knows the sizes of checkpoints for {', '.join(map(str, TABLES))} pixels, and this "
            f"one is for {side} (its sample_size); pass use_resolution_binning=False"
        )
    rows, columns = min(TABLES[side], key=lambda each: abs(round(each[0] / each[1], 2) - height / width))
    return rows * side // 16, columns * side // 16


def resized_and_cropped(pixels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Images (batch, channels, h, w) enlarged or reduced until they cover a size, then cropped to it at the centre."""
    rows, columns = pixels.shape[2:]
    if (rows, columns) == (height, width):
        return pixels
    ratio = max(height / rows, width / columns)
    for axis, (before, wanted) in enumerate(((rows, height), (columns, width)), 2):
        size = int(before * ratio)
        start = (size - wanted) // 2
        pixels = _interpolated(pixels, axis, size, start, start + wanted)
    return pixels


def _interpolated(x: NDArray[np.float32], axis: int, size: int, start: int, stop: int) -> NDArray[np.float32]:
    """Positions ``start`` to ``stop`` of an axis resized to ``size``, linear between the centres of neighbours."""
    before = x.shape[axis]
    at = np.clip((np.arange(start, stop) + 0.5) * (before / size) - 0.5, 0, before - 1)
    low = np.floor(at).astype(np.int64)
    shape = [-1 if each == axis else 1 for each in range(x.ndim)]
    part = (at - low).astype(np.float32).reshape(shape)
    first, second = (np.take(x, np.minimum(index, before - 1), axis) for index in (low, low + 1))
    blended: NDArray[np.float32] = first + (second - first) * part
    return blended


class BinnedNoise(FromNoise):
    """Noise of a size that the network was trained on; the image is then brought to the requested size."""

    call: MaskedArguments
    asked: tuple[int, int] | None = None

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """The trained size with the aspect ratio nearest to the request's."""
        height, width = super().size(pipe)
        given = (self.call.height, self.call.width) != (None, None)
        if not self.call.use_resolution_binning or (self.call.latents is not None and not given):
            return height, width
        check_sides({"height": height, "width": width}, 1)
        checks.check_pixels_memory(self.call.count_images(), height, width)
        self.asked = height, width
        return binned(pipe, height, width)

    def fit(self, pixels: Floats) -> Floats:
        """See `Start`."""
        return pixels if self.asked is None else resized_and_cropped(pixels, *self.asked)
