"""Prepares pictures for CLIP's vision network, as a tokenizer prepares texts."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, Strict

from .config import Config, read_config, write_config
from .fields import Flag, Pixels, Positive, Real, naming, read_fields

CONFIG_NAME = "preprocessor_config.json"

_DEFAULTS: dict[str, Any] = {
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,  # PIL's bicubic
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}


@dataclass(frozen=True)
class ShortestEdge:
    """The length of a picture's shorter side."""

    shortest_edge: Pixels


@dataclass(frozen=True)
class HeightWidth:
    """Both sides of a picture."""

    height: Pixels
    width: Pixels


@dataclass(frozen=True)
class ImageProcessorFields:
    """The fields of ``preprocessor_config.json``."""

    do_resize: Flag = True
    size: Annotated[ShortestEdge | HeightWidth | Pixels, Field(union_mode="left_to_right")] = 224
    resample: Annotated[int, Strict(), Field(ge=0, le=5)] = 3
    do_center_crop: Flag = True
    crop_size: HeightWidth | Pixels = 224
    do_rescale: Flag = True
    rescale_factor: Positive = 1 / 255
    do_normalize: Flag = True
    image_mean: tuple[Real, Real, Real] = (0.48145466, 0.4578275, 0.40821073)
    image_std: tuple[Positive, Positive, Positive] = (0.26862954, 0.26130258, 0.27577711)


class CLIPImageProcessor:
    """Resizes, crops and normalizes pictures for CLIP's vision network (Radford et al. 2021).

    The config is the published ``preprocessor_config.json``, where ``size`` and ``crop_size`` may be one int.
    """

    def __init__(self, **config: Any):
        read_fields(ImageProcessorFields, config, type(self).__name__)
        self.config = Config(_DEFAULTS, config)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> "CLIPImageProcessor":
        """Read ``folder/preprocessor_config.json``."""
        with naming(Path(folder) / CONFIG_NAME):
            return cls(**read_config(folder, CONFIG_NAME))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write ``folder/preprocessor_config.json``, so that transformers reads it too."""
        write_config(folder, {"image_processor_type": "CLIPImageProcessor", **self.config}, CONFIG_NAME)

    def __call__(self, images: list[Image.Image]) -> NDArray[np.float32]:
        """float32 pixel values (images, 3, height, width); all images must end up the same size."""
        return np.stack([self._pixel_values(image) for image in images])

    def _pixel_values(self, image: Image.Image) -> NDArray[np.float32]:
        config = self.config
        image = image.convert("RGB")
        if config.do_resize:
            image = image.resize(self._resized(*image.size), Image.Resampling(config.resample))
        if config.do_center_crop:
            crop = config.crop_size
            height, width = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        pixels = np.asarray(image, np.float32)
        if config.do_rescale:
            pixels = pixels * config.rescale_factor
        if config.do_normalize:
            pixels = (pixels - np.asarray(config.image_mean)) / np.asarray(config.image_std)
        return pixels.astype(np.float32).transpose(2, 0, 1)

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """The size (width, height) to resize an image to: an exact size, or one with a given shorter edge."""
        size = self.config.size
        if isinstance(size, dict) and "shortest_edge" not in size:
            return size["width"], size["height"]
        edge = size["shortest_edge"] if isinstance(size, dict) else size
        if width <= height:
            return edge, int(edge * height / width)
        return int(edge * width / height), edge


def pixel_values_of(feature_extractor: Any, pictures: list[Image.Image]) -> NDArray[np.float32]:
    """float32 pixel values (pictures, 3, height, width), from our processor or another library's ``pixel_values``."""
    made = feature_extractor(pictures)
    return np.stack([np.asarray(each, np.float32) for each in getattr(made, "pixel_values", made)])
