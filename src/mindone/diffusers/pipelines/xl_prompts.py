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

    def time_ids(self, pipe: Component, own: Size) -> tuple[list[int], list[int]]:
        """The numbers for the sizes, and those for the negative half, of images of the size ``own``."""
        original, crop, target = self.sizes
        ids = time_ids_of(pipe, "", original or own, crop or (0, 0), target or own)
        original, crop, target = self.negative_sizes
        if original is None or target is None:
            return ids, ids
        return ids, time_ids_of(pipe, "negative_", original, crop or (0, 0), target)


def time_ids_of(pipe: Component, prefix: str, original_size: Size, crop: Size, target_size: Size) -> list[int]:
    """Six numbers that the UNet is conditioned on, checked against the width of its layer for them."""
    given = {"original_size": original_size, "crops_coords_top_left": crop, "target_size": target_size}
    for name, pair in given.items():
        if len(pair) != 2 or not all(isinstance(value, (int, np.integer)) for value in pair):
            order = "(top, left)" if name.startswith("crops") else "(height, width)"
            raise ValueError(f"{prefix}{name} must be two whole numbers {order}, got {pair!r}")
    ids = [int(value) for pair in given.values() for value in pair]
    config = pipe.unet.config
    width, pooled = config["addition_time_embed_dim"], pipe.text_encoder_2.config["projection_dim"]
    made, expected = len(ids) * width + pooled, config["projection_class_embeddings_input_dim"]
    if made != expected:
        raise ValueError(
            f"the UNet is conditioned on {expected} numbers (projection_class_embeddings_input_dim), but six sizes "
            f"of {width} channels and a pooled text of {pooled} make {made}: unet and text_encoder_2 are not of "
            "one checkpoint, or the UNet is a refiner's, which this pipeline does not run"
        )
    return ids
