"""The slowest waves of a picture, as both engines compute with them."""

import numpy as np
from numpy.typing import NDArray


def lowest_waves(height: int, width: int) -> NDArray[np.float32]:
    """What spans the real part of the Fourier coefficients -1 and 0 of rows and columns: (7, height · width)."""
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    angles = [2 * np.pi * y / height, 2 * np.pi * x / width, 2 * np.pi * (y / height + x / width)]
    waves = [np.ones(height * width), *(wave(angle) for angle in angles for wave in (np.cos, np.sin))]
    return np.stack(waves).astype(np.float32)
