"""What SDXL's UNet is conditioned on: two texts, and sizes and crops of pictures (Podell et al. 2023, §2.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..engines import Array
from . import checks
from .arguments import Texts
from .components import Component
from .run import Run

Size = Sequence[int]
"""Height and width, or top and left, in pixels."""

Sizes = tuple[Size | None, Size | None, Size | None]
"""The original size, the crop's corner, and the target size; None stands for the image's own, and (0, 0)."""


@dataclass(frozen=True)
class XLPrompts:
    """`arguments.Conditions` for SDXL. Pairs are for both text encoders, or of embeddings and pooled ones."""

    prompts: tuple[Texts, Texts]
    negative_prompts: tuple[Texts, Texts]
    embeds: tuple[Array, Array]
    negative_embeds: tuple[Array, Array]
    sizes: Sizes
    negative_sizes: Sizes
    clip_skip: int | None
    num_images_per_prompt: int
    cross_attention_kwargs: Mapping[str, object] | None

    def count_images(self) -> int:
        """See `arguments.Conditions`."""
        checks.check_count("num_images_per_prompt", self.num_images_per_prompt)
        (prompt, prompt_2), (negative_prompt, negative_prompt_2) = self.prompts, self.negative_prompts
        embeds, negative_embeds = self.embeds[0], self.negative_embeds[0]
        texts = (prompt, embeds, negative_prompt, negative_embeds, prompt_2, negative_prompt_2)
        return checks.check_prompts(*texts) * self.num_images_per_prompt

    def apply(self, run: Run, height: int, width: int) -> None:
        """See `arguments.Conditions`."""
        run.settings.clip_skip = self.clip_skip
        time_ids, negative_time_ids = self.time_ids(run.pipe, (height, width))
        embeds = run.pipe.encode_prompt(
            *self.prompts,
            self.num_images_per_prompt,
            run.do_classifier_free_guidance,
            *self.negative_prompts,
            self.embeds[0],
            self.negative_embeds[0],
            self.embeds[1],
            self.negative_embeds[1],
            self.clip_skip,
        )
        run.pipe._condition(run, *embeds, time_ids, negative_time_ids)

    def pooled_channels(self, pipe: Component) -> int:
        """How many channels the pooled text has: that which is given, or what the second text encoder makes."""
        if self.embeds[1] is not None:
            return int(self.embeds[1].shape[-1])
        pipe.text_towers[-1].check()
        return int(pipe.text_encoder_2.config["projection_dim"])

    def time_ids(self, pipe: Component, own: Size) -> tuple[list[float], list[float]]:
        """The numbers for the sizes, and those for the negative half, of images of the size ``own``."""
        pooled = self.pooled_channels(pipe)
        original, crop, target = self.sizes
        ids = time_ids_of(pipe, pooled, "", original or own, crop or (0, 0), target or own)
        original, crop, target = self.negative_sizes
        if original is None or target is None:
            return ids, ids
        return ids, time_ids_of(pipe, pooled, "negative_", original, crop or (0, 0), target)


@dataclass(frozen=True)
class XLPicturePrompts(XLPrompts):
    """The same for pipelines that start from pictures, some of which are told how beautiful it is to be (refiners)."""

    aesthetic_scores: tuple[float, float] = (6.0, 2.5)
    """What the picture is to be worth, and what it is to stay away from."""

    def time_ids(self, pipe: Component, own: Size) -> tuple[list[float], list[float]]:
        """See `XLPrompts.time_ids`. Here each negative size has a default of its own, that of the other half."""
        pooled = self.pooled_channels(pipe)
        (original, crop, target), (negative_original, negative_crop, negative_target) = self.sizes, self.negative_sizes
        original, crop, target = original or own, crop or (0, 0), target or own
        negative_original, negative_crop = negative_original or original, negative_crop or (0, 0)
        if pipe.own_settings.requires_aesthetics_score:
            score, negative_score = self.aesthetic_scores
            ids = time_ids_of(pipe, pooled, "", original, crop, score)
            return ids, time_ids_of(pipe, pooled, "negative_", negative_original, negative_crop, negative_score)
        ids = time_ids_of(pipe, pooled, "", original, crop, target)
        # The published pipelines take the crop of the positive half for both, and so do we.
        return ids, time_ids_of(pipe, pooled, "negative_", negative_original, crop, negative_target or target)


def time_ids_of(
    pipe: Component, pooled: int, prefix: str, original_size: Size, crop: Size, target: Size | float
) -> list[float]:
    """The numbers that the UNet is conditioned on, checked against the width of its layer for them.

    ``pooled`` is the number of channels of the pooled text, ``target`` the target size, or an aesthetic score in its
    place.
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
    config = pipe.unet.config
    width = config["addition_time_embed_dim"]
    made, expected = len(ids) * width + pooled, config["projection_class_embeddings_input_dim"]
    if made == expected:
        return ids
    reason = "unet and text_encoder_2 are not of one checkpoint"
    if made - expected == width:
        reason = "it is a refiner's; StableDiffusionXLImg2ImgPipeline runs it, with requires_aesthetics_score=True"
    elif expected - made == width:
        reason = "it is not told of beauty; set requires_aesthetics_score=False"
    raise ValueError(
        f"the UNet is conditioned on {expected} numbers (projection_class_embeddings_input_dim), but {len(ids)} "
        f"numbers of {width} channels each (addition_time_embed_dim) and a pooled text of {pooled} (projection_dim) "
        f"make {made}: {reason}"
    )
