"""Images larger than the network's training size: generate at its own size, enlarge, and continue from there.

At its own size a network composes the picture, and image-to-image (SDEdit, Meng et al. 2022) adds the detail that the
enlarged image lacks. The second pass's strength says how much. At a high strength the network composes again, in pieces
of its own size. So without ``strength`` the pixels are enlarged and only the last steps run, without guidance: edges
become sharp and nothing is added. On ``icons`` 0.15 of DPM++'s steps work at two and three times the size; guidance
adds debris from 0.15 on, and PNDM, whose first steps are coarse, leaves grain.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..pipelines.auto import AutoPipelineForImage2Image
from ..pipelines.checks import default_size
from ..pipelines.packing import as_in_runs
from ..pipelines.published import PublishedPipeline
from ..schedulers.short_names import deterministic
from .pictures import Pictures

_SHARPENING = {"strength": 0.15, "num_inference_steps": 20, "guidance_scale": 1.0}
"""The second pass without ``strength``."""
_NOT_IN_IT = ("negative_prompt", "negative_prompt_embeds", "negative_pooled_prompt_embeds", "guidance_interval", "eta")


def draw_enlarged(
    pipe: PublishedPipeline,
    arguments: Mapping[str, object],
    pictures: Pictures,
    height: int | None,
    width: int | None,
    times: float,
) -> list[Image.Image]:
    """Images ``times`` as large as ``height`` × ``width``.

    Args:
        pipe: a text-to-image pipeline.
        arguments: for both passes; ``strength`` is the second's, which without it only sharpens edges.
        pictures: the pictures for ControlNets, if any.

    Raises:
        ValueError: an argument is wrong, or there is no image-to-image pipeline for ``pipe``; raised before any network
            runs.
    """
    second: PublishedPipeline = AutoPipelineForImage2Image.from_pipe(pipe)
    if "strength" not in arguments:
        images = pipe(**arguments, **pictures.arguments(height, width)).images
        return _sharpened(second, images, arguments, pictures, times)
    common = {name: value for name, value in arguments.items() if name != "strength"}
    drawn = pipe(**common, **pictures.arguments(height, width), output_type="latent").images
    drawn = as_in_runs(pipe, drawn, *default_size(pipe, height, width, None))
    latents = enlarged(pipe.engine.numpy(drawn), times, pipe.family.latents.patch)
    size = [side * pipe.vae_scale_factor for side in latents.shape[2:]]
    return list(second(**arguments, **pictures.control_arguments(*size), image=latents, **_sides(second, *size)).images)


def _sharpened(
    second: PublishedPipeline,
    images: list[Image.Image],
    arguments: Mapping[str, object],
    pictures: Pictures,
    times: float,
) -> list[Image.Image]:
    """The enlarged images with sharpened edges."""
    second.scheduler = deterministic(second.scheduler)
    second.caches = ()
    factor = second.pixels_per_token
    width, height = (round(side * times / factor) * factor for side in images[0].size)
    larger = [image.resize((width, height), Image.Resampling.LANCZOS) for image in images]
    kept = {name: value for name, value in arguments.items() if name not in _NOT_IN_IT}
    followed = pictures.control_arguments(height, width)
    sides = _sides(second, height, width)
    return list(second(**{**kept, **_SHARPENING}, **followed, image=larger, **sides).images)


def _sides(second: PublishedPipeline, height: int, width: int) -> dict[str, int]:
    """The size as arguments, for calls that otherwise use their network's size."""
    known = inspect.signature(type(second).__call__).parameters
    return {name: side for name, side in (("height", height), ("width", width)) if name in known}


def enlarged(latents: NDArray[np.float32], times: float, patch: int = 1) -> NDArray[np.float32]:
    """Latents (images, channels, height, width) enlarged by a factor in both directions, bilinearly.

    Their sides become multiples of ``patch``.
    """
    from scipy.ndimage import zoom

    factors = [times if patch == 1 else round(side * times / patch) * patch / side for side in latents.shape[2:]]
    larger = zoom(latents, (1, 1, *factors), order=1, mode="nearest", grid_mode=True)
    return np.ascontiguousarray(larger, np.float32)
