"""From latents to pictures: the decoder's output as NumPy arrays and PIL images."""

from typing import Any

import numpy as np
from PIL import Image

from ..utils import logging

logger = logging.get_logger(__name__)


def decode_latents(engine: Any, vae: Any, latents: Any) -> np.ndarray:
    """Decode latents (batch, channels, height, width) of unit variance to images.

    Returns:
        float32 in [0, 1], (batch, image height, image width, 3).
    """
    latents = latents / vae.config["scaling_factor"]
    image = engine.numpy(vae.decode_with(engine, latents))
    if not np.isfinite(image).all():
        logger.warning(
            f"The autoencoder's output has values that are not finite, which come out black: {vae.dtype} may be too "
            "narrow for this checkpoint; load it with mindspore_dtype float32 or bfloat16"
        )
        image = np.nan_to_num(image, nan=-1.0)
    return np.clip(image * 0.5 + 0.5, 0.0, 1.0).transpose(0, 2, 3, 1)


def to_pil(images: np.ndarray) -> list[Image.Image]:
    """PIL images of float arrays in [0, 1], (batch, height, width, 3)."""
    return [Image.fromarray(image) for image in (images * 255).round().astype(np.uint8)]
