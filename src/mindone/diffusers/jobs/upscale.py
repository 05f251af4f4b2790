"""Images larger than a network was trained for: draw, enlarge the latents, and draw again from there.

At its own size a network composes; enlarged latents keep that, and image-to-image (SDEdit, Meng et al. 2022) draws the
details that they lack.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..pipelines.auto import AutoPipelineForImage2Image
from ..pipelines.components import Component
from .pictures import Pictures

STRENGTH = 0.6
"""How much the second pass draws anew by default: enlarged latents are blurred, and below half it shows."""


def draw_enlarged(
    pipe: Component,
    arguments: Mapping[str, object],
    pictures: Pictures,
    height: int | None,
    width: int | None,
    times: float,
) -> list[Image.Image]:
    """Images ``times`` as large as ``height`` × ``width``.

    Args:
        pipe: a pipeline from text to images.
        arguments: of both passes; ``strength`` is the second's.
        pictures: what ControlNets follow, if anything.

    Raises:
        ValueError: an argument is wrong, or there is no image-to-image pipeline for ``pipe``; raised before any network
            runs.
    """
    second: Component = AutoPipelineForImage2Image.from_pipe(pipe)
    common = {name: value for name, value in arguments.items() if name != "strength"}
    drawn = pipe(**common, **pictures.arguments(height, width), output_type="latent").images
    latents = enlarged(pipe.engine.numpy(drawn), times)
    size = [side * pipe.vae_scale_factor for side in latents.shape[2:]]
    arguments = {"strength": STRENGTH, **arguments, **pictures.control_arguments(*size)}
    return list(second(**arguments, image=latents).images)


def enlarged(latents: NDArray[np.float32], times: float) -> NDArray[np.float32]:
    """Latents (images, channels, height, width) with so many times as many rows and columns, bilinearly."""
    from scipy.ndimage import zoom

    larger = zoom(latents, (1, 1, times, times), order=1, mode="nearest", grid_mode=True)
    return np.ascontiguousarray(larger, np.float32)
