"""From latents to pictures: the decoder's output as NumPy arrays and PIL images."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..engines import Array, Engine
from ..utils import logging

logger = logging.get_logger(__name__)

Images: TypeAlias = list[Image.Image] | Array
"""What a pipeline returns: PIL images, a float32 array (images, height, width, 3) in [0, 1], or latents."""


def decode_latents(engine: Engine, vae: Any, latents: Array) -> NDArray[np.float32]:
    """Decode latents (batch, channels, height, width) of unit variance to images.

    Returns:
        float32 in [0, 1], (batch, image height, image width, 3).
    """
    latents = latents / vae.config["scaling_factor"] + (vae.config.get("shift_factor") or 0.0)
    image = engine.numpy(vae.decode_with(engine, latents))
    if not np.isfinite(image).all():
        logger.warning(
            f"The autoencoder's output has values that are not finite, which come out black: {vae.dtype} may be too "
            "narrow for this checkpoint; load it with mindspore_dtype float32 or bfloat16"
        )
        image = np.nan_to_num(image, nan=-1.0)
    return np.clip(image * 0.5 + 0.5, 0.0, 1.0).transpose(0, 2, 3, 1)


def to_pil(images: NDArray[np.float32]) -> list[Image.Image]:
    """PIL images of float arrays in [0, 1], (batch, height, width, 3)."""
    return [Image.fromarray(image) for image in (images * 255).round().astype(np.uint8)]
