"""The conditions of SDXL's denoiser: two texts, and sizes and crops of pictures (Podell et al. 2023, §2.2)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Pair = Sequence[int]
"""Height and width, or top and left."""


def time_ids(pipe: Any, call: Any, own: Pair) -> tuple[list[float], list[float]]:
    """The numbers for the sizes of images of the size ``own``, and those for the negative half.

    Runs that begin with a picture default each negative size to that of the other half; refiners take an aesthetic
    score.
    """
    pooled, of_picture = _pooled_channels(pipe, call), "requires_aesthetics_score" in pipe.own_settings
    original, crop = call.original_size or own, call.crops_coords_top_left or (0, 0)
    target = call.target_size or own
    negative_crop = call.negative_crops_coords_top_left or (0, 0)
    if of_picture and pipe.own_settings.requires_aesthetics_score:
        ids = time_ids_of(pipe, pooled, "", original, crop, call.aesthetic_score)
        negative, score = call.negative_original_size or original, call.negative_aesthetic_score
        return ids, time_ids_of(pipe, pooled, "negative_", negative, negative_crop, score)
    ids = time_ids_of(pipe, pooled, "", original, crop, target)
    negative_original, negative_target = call.negative_original_size, call.negative_target_size
    if of_picture:
        # The published pipelines use the positive half's crop for both, and so do we.
        negative_original, negative_target = negative_original or original, negative_target or target
        return ids, time_ids_of(pipe, pooled, "negative_", negative_original, crop, negative_target)
    if negative_original is None or negative_target is None:
        return ids, ids
    return ids, time_ids_of(pipe, pooled, "negative_", negative_original, negative_crop, negative_target)


def _pooled_channels(pipe: Any, call: Any) -> int:
    """The channels of the pooled text, given or from the second text encoder."""
    if call.pooled_prompt_embeds is not None:
        return int(call.pooled_prompt_embeds.shape[-1])
    network, _ = pipe.text_towers[-1].both
    return int(network.config["projection_dim"])


def time_ids_of(
    pipe: Any, pooled: int, prefix: str, original_size: Pair, crop: Pair, target: Pair | float
) -> list[float]:
    """The denoiser's condition numbers, checked against the width of its layer for them.

    ``pooled`` is the number of channels of the pooled text, ``target`` the target size, or an aesthetic score instead.
    """
    given = {"original_size": original_size, "crops_coords_top_left": crop}
    if isinstance(target, Sequence):
        given["target_size"] = target
    for name, pair in given.items():
        if len(pair) != 2 or not all(isinstance(value, (int, np.integer)) for value in pair):
            order = "(top, left)" if name.startswith("crops") else "(height, width)"
            raise ValueError(f"{prefix}{name} must be two whole numbers {order}, got {pair!r}")
    ids = [float(value) for pair in given.values() for value in pair]
    if not isinstance(target, Sequence):
        ids.append(float(target))
    config = pipe.denoiser.config
    width = config["addition_time_embed_dim"]
    made, expected = len(ids) * width + pooled, config["projection_class_embeddings_input_dim"]
    if made == expected:
        return ids
    reason = "the denoiser and text_encoder_2 are not from one checkpoint"
    if made - expected == width:
        reason = "it is a refiner's; StableDiffusionXLImg2ImgPipeline runs it, with requires_aesthetics_score=True"
    elif expected - made == width:
        reason = "it takes no aesthetic score; set requires_aesthetics_score=False"
    raise ValueError(
        f"the denoiser is conditioned on {expected} numbers (projection_class_embeddings_input_dim), but {len(ids)} "
        f"numbers of {width} channels each (addition_time_embed_dim) and a pooled text of {pooled} (projection_dim) "
        f"make {made}: {reason}"
    )
