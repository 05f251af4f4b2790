"""The noise that a run starts from."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..loading.dtypes import parse_dtype
from ..schedulers.base import Generators, draw_noise
from .run import Run


def initial_latents(run: Run, shape: tuple[int, ...], generator: Generators, latents: Array = None) -> Array:
    """Noise of ``shape`` (images, channels, height, width), or the user's own, as the scheduler's first sample."""
    noise = draw_noise(np.empty(shape, np.float32), generator) if latents is None else latents
    return run.engine.asarray(noise) * float(run.scheduler.init_noise_sigma)


def randn_tensor(
    shape: Sequence[int],
    generator: Generators = None,
    device: object = None,
    dtype: object = None,
    layout: object = None,
) -> NDArray[np.floating]:
    """Standard normal noise under its published name, as latents or a scheduler's noise are drawn here.

    Args:
        shape: of the array, the first axis the batch.
        generator: a NumPy generator, a list with one for each row, or None for fresh noise.
        device, layout: taken for published scripts, and not needed.
        dtype: "float16" makes the array float16; it is float32 otherwise.

    Raises:
        ValueError: a list of another length than the batch.
    """
    narrow = dtype is not None and parse_dtype(dtype) == "float16"
    noise: NDArray[np.floating] = draw_noise(np.empty(tuple(shape), np.float16 if narrow else np.float32), generator)
    return noise
