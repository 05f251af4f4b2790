"""Weights as 8-bit integers with a scale per output channel."""

import numpy as np
from numpy.typing import NDArray


def round_to_int8(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``values`` and ``scale`` with ``weight ≈ values · scale``, the scale (out,) as small as each row (out, …) allows.

    The values are symmetric, from -127 to 127: then a product needs no correction for a zero point of its weights.
    """
    rows = weight.reshape(weight.shape[0], -1)
    scale = np.maximum(np.abs(rows).max(axis=1), np.finfo(np.float32).tiny * 127) / np.float32(127)
    values = np.rint(rows / scale[:, None]).astype(np.int8)
    return values.reshape(weight.shape), scale.astype(np.float32)
