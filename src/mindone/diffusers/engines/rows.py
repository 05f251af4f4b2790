"""Which rows of a weight a layer takes that is one of several with one weight."""

import numpy as np
from numpy.typing import NDArray


def row_indices(count: int, part: int, parts: int, run: int) -> NDArray[np.int64]:
    """Of ``count`` rows in runs of ``run`` those of the runs ``part``, ``part + parts``, and so on."""
    rows: NDArray[np.int64] = np.arange(count).reshape(-1, parts, run)[:, part].reshape(-1)
    return rows
