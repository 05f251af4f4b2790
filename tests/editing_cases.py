"""Networks that see a picture or depths beside the latents: what the golden file holds, and the oracle runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from image_pipelines import beside_checkpoint, photo

EDIT, EDIT_XL = "StableDiffusionInstructPix2PixPipeline", "StableDiffusionXLInstructPix2PixPipeline"
DEPTH = "StableDiffusionDepth2ImgPipeline"

FOLDERS: dict[str, Callable[[], Path]] = {
    EDIT: lambda: beside_checkpoint("sd1", EDIT, 8),
    EDIT_XL: lambda: beside_checkpoint("sdxl", EDIT_XL, 8),
    DEPTH: lambda: beside_checkpoint("sd2", DEPTH, 5),
}
WITHOUT: dict[str, dict[str, Any]] = {DEPTH: {"depth_estimator": None, "feature_extractor": None}}
"""Components that are not loaded."""


def depths(count: int = 1, height: int = 50, width: int = 70) -> np.ndarray:
    """Hills, float32 (count, height, width)."""
    y, x = np.mgrid[:height, :width]
    hills = [np.sin(x / (9 + i)) * 40 + y for i in range(count)]
    return np.stack(hills).astype(np.float32)


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "edit": (EDIT, {"image": photo()}),
    "edit closely": (
        EDIT,
        {"image": photo(), "guidance_scale": 12.0, "image_guidance_scale": 2.2, "negative_prompt": "on"},
    ),
    "edit without guidance": (EDIT, {"image": photo(), "image_guidance_scale": 0.9}),
    "edit a size that is rounded": (EDIT, {"image": photo(91, 50)}),
    "edit two of each": (EDIT, {"image": photo(), "num_images_per_prompt": 2}),
    "edit two pictures": (EDIT, {"prompt": ["a cat", "red mat"], "image": [photo(seed=1), photo(seed=2)]}),
    "edit xl": (EDIT_XL, {"image": photo(), "guidance_rescale": 0.5, "original_size": (900, 800), "prompt_2": "on"}),
    "edit xl sized": (EDIT_XL, {"image": photo(80, 80), "height": 48, "width": 80, "negative_prompt": "on"}),
    "depth": (DEPTH, {"image": photo(), "depth_map": depths()}),
    "depth of a size that is rounded": (DEPTH, {"image": photo(91, 50), "depth_map": depths(), "strength": 0.5}),
    "depth two of each": (DEPTH, {"image": photo(), "depth_map": depths(), "num_images_per_prompt": 2, "clip_skip": 1}),
    "depth two pictures": (
        DEPTH,
        {"prompt": ["a cat", "red mat"], "image": [photo(seed=1), photo(seed=2)], "depth_map": depths(2)},
    ),
}
"""A pipeline, and the arguments of the call."""
