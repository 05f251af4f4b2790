"""The noise that a run starts from."""

import numpy as np

from ..engines import Array
from ..schedulers.base import Generators, draw_noise
from .run import Run


def initial_latents(run: Run, shape: tuple[int, ...], generator: Generators, latents: Array = None) -> Array:
    """Noise of ``shape`` (images, channels, height, width), or the user's own, as the scheduler's first sample."""
    noise = draw_noise(np.empty(shape, np.float32), generator) if latents is None else latents
    return run.engine.asarray(noise) * float(run.scheduler.init_noise_sigma)
