"""The safety checker: images whose CLIP embedding lies near one of a checkpoint's concepts come back black."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..engines import Engine, single
from ..families.components import FunctionOrNetwork, StoredNetwork
from ..loading.clip_image_processor import pixel_values_of
from ..utils import logging
from ..utils.images import to_pil
from .checks import is_network

logger = logging.get_logger(__name__)


def find_unsafe(embeds: NDArray[np.float32], checker: StoredNetwork) -> list[bool]:
    """Whether each image is nearer to one of the checker's concepts than the concept's threshold allows.

    A cosine similarity minus its threshold counts after rounding to three decimals; closeness to a "special care"
    concept makes all later thresholds stricter by 0.01.

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


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity of every row of ``a`` with every row of ``b``."""
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    cosines: NDArray[np.float32] = a @ b.T
    return cosines


def blacken_unsafe(
    engine: Engine,
    checker: FunctionOrNetwork,
    feature_extractor: Callable[..., object] | None,
    images: NDArray[np.float32],
) -> tuple[NDArray[np.float32], list[bool]]:
    """Run the safety checker on images in [0, 1], (images, height, width, 3): flagged ones become black.

    A function in place of the checker decides itself what to do with them; see `ask_function`.

    Returns:
        The images, and one verdict per image.
    """
    pixel_values = None if feature_extractor is None else pixel_values_of(feature_extractor, to_pil(images))
    if not is_network(checker):
        return ask_function(checker, images, pixel_values)
    unsafe = find_unsafe(engine.numpy(single(engine.run(checker, pixel_values))), checker)
    if any(unsafe):
        images = np.where(np.asarray(unsafe)[:, None, None, None], np.float32(0), images)
        logger.warning(
            f"The safety checker found {sum(unsafe)} of {len(unsafe)} images unsuitable and made them black; try "
            "another prompt or seed"
        )
    return images, unsafe


def ask_function(
    checker: Callable[..., object], images: NDArray[np.float32], pixel_values: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], list[bool]]:
    """Call a user's function the way the published pipelines call a safety checker.

    It is called as ``checker(images=…, clip_input=…)`` with pixels in [-1, 1], (images, 3, height, width), and with the
    feature extractor's output, or None without one. It returns images of the same shape and a verdict for each; one
    bool applies to all, None means no verdict. Flagged images count as already in [0, 1].

    Args:
        checker: the function.
        images: pixels in [0, 1], (images, height, width, 3).
        pixel_values: (images, 3, image_size, image_size), or None.

    Returns:
        The images, unchanged or as the function returned them, and the verdicts.

    Raises:
        ValueError: it returned anything else.
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
            f"the safety_checker must return {len(images)} images of the given shape {given.shape} and as "
            f"many verdicts, got the shape {np.shape(made)} and {len(unsafe)} verdicts"
        )
    pixels = np.asarray(made, np.float32)
    if np.array_equal(pixels, given) and not any(unsafe):
        return images, unsafe  # and no rounding
    shown = np.where(np.asarray(unsafe)[:, None, None, None], pixels, pixels * 0.5 + 0.5)
    return np.clip(shown, 0.0, 1.0).transpose(0, 2, 3, 1), unsafe
