"""The safety checker: images whose CLIP embedding lies near one of a checkpoint's concepts are returned black."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field, Strict

from ..engines import Engine
from ..loading.config import Config, read_config, write_config
from ..loading.fields import Flag, Pixels, Positive, Real, naming, read_fields
from ..utils import logging
from .capabilities import is_network
from .components import Component
from .image_processor import to_pil

logger = logging.get_logger(__name__)

CONFIG_NAME = "preprocessor_config.json"

_DEFAULTS: dict[str, object] = {
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
    """Pictures as CLIP's vision network wants them (Radford et al. 2021): resized, cropped, normalized.

    The config is the published ``preprocessor_config.json``, where ``size`` and ``crop_size`` may be one int.
    """

    def __init__(self, **config: object):
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

    def __call__(self, images: list[Image.Image]) -> np.ndarray:
        """float32 pixel values (images, 3, height, width); the images must come out of one size."""
        return np.stack([self._pixel_values(image) for image in images])

    def _pixel_values(self, image: Image.Image) -> np.ndarray:
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
        """The size (width, height) an image is resized to: exactly, or such that the shorter edge has a length."""
        size = self.config.size
        if isinstance(size, dict) and "shortest_edge" not in size:
            return size["width"], size["height"]
        edge = size["shortest_edge"] if isinstance(size, dict) else size
        if width <= height:
            return edge, int(edge * height / width)
        return int(edge * width / height), edge


def find_unsafe(embeds: np.ndarray, checker: Component) -> list[bool]:
    """Whether each image is nearer to one of the checker's concepts than the concept's threshold allows.

    A cosine similarity, less its threshold, counts after rounding to three decimals; closeness to one of the
    "special care" concepts makes all that follows stricter by 0.01.

    Args:
        embeds: projected image embeddings (images, projection_dim).
        checker: a ``StableDiffusionSafetyChecker`` with ``concept_embeds`` (concepts, projection_dim), their thresholds
            ``concept_embeds_weights`` (concepts,), and the same for ``special_care_embeds``.
    """
    special = _cosines(embeds, checker.array("special_care_embeds"))
    concepts = _cosines(embeds, checker.array("concept_embeds"))
    special_thresholds = checker.array("special_care_embeds_weights")
    thresholds = checker.array("concept_embeds_weights")
    verdicts = []
    for special_row, concept_row in zip(special, concepts):
        stricter = 0.0
        for cosine, threshold in zip(special_row, special_thresholds):
            if round(float(cosine) - float(threshold) + stricter, 3) > 0:
                stricter = 0.01
        scores = [round(float(c) - float(t) + stricter, 3) for c, t in zip(concept_row, thresholds)]
        verdicts.append(any(score > 0 for score in scores))
    return verdicts


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine similarity of every row of ``a`` with every row of ``b``."""
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    return a @ b.T


def blacken_unsafe(
    engine: Engine, checker: Component, feature_extractor: Component, images: np.ndarray
) -> tuple[np.ndarray, list[bool]]:
    """Run the safety checker on images in [0, 1], (images, height, width, 3): flagged ones become black.

    A function in the checker's place decides for itself what becomes of them; see `ask_function`.

    Returns:
        The images, and one verdict an image.
    """
    pixel_values = None if feature_extractor is None else pixel_values_of(feature_extractor, to_pil(images))
    if not is_network(checker):
        return ask_function(checker, images, pixel_values)
    unsafe = find_unsafe(engine.numpy(engine.run(checker, pixel_values)), checker)
    if any(unsafe):
        images = np.where(np.asarray(unsafe)[:, None, None, None], np.float32(0), images)
        logger.warning(
            f"The safety checker found {sum(unsafe)} of {len(unsafe)} images unsuitable and made them black; try "
            "another prompt or seed"
        )
    return images, unsafe


def ask_function(
    checker: Component, images: np.ndarray, pixel_values: np.ndarray | None
) -> tuple[np.ndarray, list[bool]]:
    """Call a user's function as the published pipelines call a safety checker.

    It is called as ``checker(images=…, clip_input=…)`` with pixels in [-1, 1], (images, 3, height, width), and with
    what the feature extractor made of them, or None without one. It returns images of the same shape and a verdict for
    each; one bool stands for all, None for no verdict. Those that it flags are taken to be in [0, 1] already.

    Args:
        checker: the function.
        images: pixels in [0, 1], (images, height, width, 3).
        pixel_values: (images, 3, image_size, image_size), or None.

    Returns:
        The images as they came in, or what the function made of them, and the verdicts.

    Raises:
        ValueError: it returned something else.
    """
    given = 2 * images.transpose(0, 3, 1, 2) - 1
    result = checker(images=given.copy(), clip_input=pixel_values)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise ValueError(f"the safety_checker must return images and a list of verdicts, got a {type(result).__name__}")
    made, verdicts = result
    if verdicts is None or isinstance(verdicts, (bool, np.bool_)):
        verdicts = [bool(verdicts)] * len(images)
    unsafe = [bool(verdict) for verdict in verdicts]
    if len(unsafe) != len(images) or np.shape(made) != given.shape:
        raise ValueError(
            f"the safety_checker must return {len(images)} images of the shape that it was given {given.shape} and as "
            f"many verdicts, got the shape {np.shape(made)} and {len(unsafe)} verdicts"
        )
    pixels = np.asarray(made, np.float32)
    if np.array_equal(pixels, given) and not any(unsafe):
        return images, unsafe  # and no rounding
    shown = np.where(np.asarray(unsafe)[:, None, None, None], pixels, pixels * 0.5 + 0.5)
    return np.clip(shown, 0.0, 1.0).transpose(0, 2, 3, 1), unsafe


def pixel_values_of(feature_extractor: Component, pictures: list[Image.Image]) -> np.ndarray:
    """float32 pixel values (pictures, 3, height, width): of ours, or of another library's ``pixel_values``."""
    made = feature_extractor(pictures)
    return np.stack([np.asarray(each, np.float32) for each in getattr(made, "pixel_values", made)])
