"""The frequencies of timesteps and the slowest waves of a picture, for both engines."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def timestep_frequencies(channels: int, shift: float, max_period: float) -> NDArray[np.float32]:
    """The factors that turn timesteps into angles (Vaswani et al. 2017, §3.5): (channels / 2,).

    In float32, as in the reference and in training: in float64 the noise at timestep 900 differs in its sixth digit.
    """
    half = channels // 2
    exponents = np.float32(-math.log(max_period)) * np.arange(half, dtype=np.float32)
    frequencies: NDArray[np.float32] = np.exp(exponents / np.float32(half - shift))
    return frequencies


def rotary_frequencies(sizes: Sequence[int], theta: float) -> NDArray[np.float64]:
    """The factors that turn the positions along each axis into angles: (axes, sum(sizes) / 2), else zeros.

    Su et al. 2021, §3.4.2, with one axis for each of a head's parts, as in FLUX.
    """
    frequencies = np.zeros((len(sizes), sum(sizes) // 2))
    first = 0
    for axis, size in enumerate(sizes):
        frequencies[axis, first : first + size // 2] = theta ** (-2.0 * np.arange(size // 2) / size)
        first += size // 2
    return frequencies


def rotary_angles(before: int, height: int, width: int, sizes: Sequence[int], theta: float) -> NDArray[np.float64]:
    """The angles of a grid's places, row by row, after zeros for ``before`` tokens; see `rotary_grid`.

    (before + height · width, sum(sizes) / 2).
    """
    places = np.zeros((before + height * width, len(sizes)))
    places[before:, 1:3] = np.mgrid[:height, :width].reshape(2, -1).T
    angles: NDArray[np.float64] = places @ rotary_frequencies(sizes, theta)
    return angles


def grid_waves(height: int, width: int, channels: int, span: float) -> NDArray[np.float32]:
    """Sines, then cosines, of the column and then of the row of each place in a grid: (1, height · width, channels).

    Places are in float32, as in the reference, and angles in float64.
    """
    frequencies = 10000.0 ** (-np.arange(channels // 4) / (channels // 4))
    rows, columns = (np.arange(n, dtype=np.float32) * np.float32(span / n) for n in (height, width))
    parts = []
    for places in (np.tile(columns, height), np.repeat(rows, width)):
        angles = places.astype(np.float64)[:, None] * frequencies
        parts += [np.sin(angles), np.cos(angles)]
    return np.asarray(np.concatenate(parts, axis=1)[None], np.float32)


def lowest_waves(height: int, width: int) -> NDArray[np.float32]:
    """A basis of the real part of the Fourier coefficients -1 and 0 of rows and columns: (7, height · width)."""
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    angles = [2 * np.pi * y / height, 2 * np.pi * x / width, 2 * np.pi * (y / height + x / width)]
    waves = [np.ones(height * width), *(wave(angle) for angle in angles for wave in (np.cos, np.sin))]
    return np.asarray(np.stack(waves), np.float32)
