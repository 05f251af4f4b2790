"""The rows of a shared weight that belong to one of its layers."""

import numpy as np
from numpy.typing import NDArray


def row_indices(count: int, part: int, parts: int, run: int) -> NDArray[np.int64]:
    """Out of ``count`` rows in runs of ``run``, the rows of the runs ``part``, ``part + parts``, and so on."""
    rows: NDArray[np.int64] = np.arange(count).reshape(-1, parts, run)[:, part].reshape(-1)
    return rows
