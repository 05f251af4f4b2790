"""Checks of the arguments of a pipeline's call, before any network runs."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np

from ..engines import Array
from ..families.components import StoredNetwork
from ..families.family import Family
from ..loading.tokenizer_base import LONGEST
from ..models.autoencoder import Autoencoder
from ..utils import decoder_memory
from ..utils.finite import check_flag as check_flag, check_number as check_number, is_whole
from ..utils.nearest import check_names as check_names
from ..utils.printable import shown
from ..utils.sizes import check_sides
from .mask_fills import MASK_FILLS
from .parts import Parts

_RESIZED_CHANNELS = 4
"""Resizing peaks at five arrays of three channels, as much as a decoder with feature maps of four."""
OUTPUT_TYPES = ("pil", "np", "latent")


def default_size(pipe: Parts, height: int | None, width: int | None, latents: Array | None) -> tuple[int, int]:
    """Height and width in pixels: the user's, or that of the latents, or else the network's training size."""
    factor = pipe.vae_scale_factor
    if len(shape := tuple(getattr(latents, "shape", ()))) == 4:
        rows, columns = shape[2:]
    else:
        rows, columns = pipe.family.latents.trained(pipe.denoiser.config)
    return (rows * factor if height is None else height, columns * factor if width is None else width)


def check_size(pipe: Parts, height: int, width: int) -> None:
    """Check that both sides are positive multiples of a token's size, and that the denoiser has places for all."""
    check_sides({"height": height, "width": width}, pipe.pixels_per_token)
    if entry := pipe.family.latents.places:
        _check_places(pipe, entry, height=height, width=width)


def _check_places(pipe: Parts, entry: str, **sides: int) -> None:
    """Check that neither side has more tokens than the denoiser has places for."""
    places = int(pipe.denoiser.config[entry])
    most = places * pipe.pixels_per_token
    for name, value in sides.items():
        if value > most:
            raise ValueError(
                f"{name} must be at most {most}, got {value}: the {pipe.family.denoiser} has places for {places} "
                f"tokens along a side ({entry})"
            )


def check_prompts(
    prompt: str | list[str] | None,
    prompt_embeds: Array | None,
    negative_prompt: str | list[str] | None,
    negative_prompt_embeds: Array | None,
    /,
    **further: str | list[str] | None,
) -> int:
    """Check that there are texts or embeddings, not both, and as many negative ones. Returns the number of prompts.

    ``further`` holds the texts for text encoders after the first: ``prompt_2``, ``negative_prompt_2`` and so on.
    """
    texts = {"prompt": prompt, "negative_prompt": negative_prompt, **further}
    for name, value in texts.items():
        _check_text(name, value)
        embeds = negative_prompt_embeds if name.startswith("negative") else prompt_embeds
        if value is not None and embeds is not None:
            rival = "negative_prompt_embeds" if name.startswith("negative") else "prompt_embeds"
            raise ValueError(f"{name} and {rival} were both given; pass one of them")
    if (given := prompt_embeds if prompt is None else prompt) is None:
        raise ValueError("nothing to generate: pass prompt (a string or a list of strings) or prompt_embeds")
    for name, embeds in (("prompt_embeds", prompt_embeds), ("negative_prompt_embeds", negative_prompt_embeds)):
        shape = tuple(getattr(embeds, "shape", ()))
        if embeds is not None and (len(shape) != 3 or 0 in shape):
            found = shape or type(embeds).__name__
            raise ValueError(f"{name} must have the shape (prompts, tokens, channels), got {found}")
    count = 1 if isinstance(given, str) else len(given) if isinstance(given, list) else given.shape[0]
    for name, value in texts.items():
        if isinstance(value, list) and len(value) != count:
            raise ValueError(f"{name} must hold one text for each of the {count} prompts, got {len(value)}")
    if prompt_embeds is not None and negative_prompt_embeds is not None:
        ours, theirs = tuple(prompt_embeds.shape), tuple(negative_prompt_embeds.shape)
        if ours != theirs:
            raise ValueError(f"prompt_embeds and negative_prompt_embeds must have one shape, got {ours} and {theirs}")
    if negative_prompt_embeds is not None and (rows := negative_prompt_embeds.shape[0]) != count:
        raise ValueError(f"negative_prompt_embeds must hold one row for each of the {count} prompts, got {rows}")
    return count


def as_list(text: str | list[str] | None, count: int) -> list[str]:
    """One text for each of ``count`` prompts: a single text is repeated, None is the empty text."""
    return list(text) if isinstance(text, list) else [text or ""] * count


def check_lengths(prompt_embeds: Array, negative_prompt_embeds: Array, is_negative_given: bool) -> None:
    """Check that given embeddings, the negative ones or the others, have as many tokens as those of the other text."""
    pair = [("prompt_embeds", prompt_embeds.shape[1]), ("negative_prompt_embeds", negative_prompt_embeds.shape[1])]
    (given, own), (other, read) = reversed(pair) if is_negative_given else pair
    if own != read:
        raise ValueError(f"{given} has {own} tokens but the text encoder gives {read}; pass {other} of that length too")


def why_unguided(pipe: Parts, scale: float, picture: float | None = None) -> str:
    """Why a run has no guidance away from a negative prompt; empty if it has.

    Args:
        pipe: the pipeline.
        scale: the weight of the prompt against the negative one: ``guidance_scale``, or ``true_cfg_scale`` where the
            family has one.
        picture: the weight of a picture to edit, which must be at least 1.
    """
    family = pipe.family
    if not scale > 1:
        if family.true_guidance:
            return f"at true_cfg_scale {scale:g}; above 1 it has"
        return f"at guidance_scale {scale:g}, without guidance"
    if picture is not None and picture < 1:
        return f"at image_guidance_scale {picture:g}, without guidance"
    is_built_in = not family.true_guidance and family.has_built_in_guidance(pipe.denoiser.config)
    return "on a network with built-in guidance" if is_built_in else ""


def lost_negative(name: str, why: str) -> str:
    """The warning about a negative prompt, the argument ``name``, in a run without guidance."""
    return f"{name} has no effect {why}"


def check_pooled(prefix: str, embeds: Array | None, pooled: Array | None) -> None:
    """Check that embeddings (``prefix`` is "negative_" or empty) come with pooled ones, a row for each prompt."""
    if embeds is None and pooled is None:
        return
    if embeds is None or pooled is None:
        raise ValueError(f"{prefix}prompt_embeds and {prefix}pooled_prompt_embeds go together; pass both or neither")
    if len(pooled.shape) != 2 or pooled.shape[0] != embeds.shape[0]:
        raise ValueError(
            f"{prefix}pooled_prompt_embeds must have the shape ({embeds.shape[0]}, channels), got {tuple(pooled.shape)}"
        )


def _check_text(name: str, value: object) -> None:
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and len(text) > LONGEST:
            raise ValueError(f"{name} may have {LONGEST} characters, got {len(text)}")
    if value is None or isinstance(value, str):
        return
    if not isinstance(value, list):
        raise ValueError(f"{name} must be a string or a list of strings, got {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is an empty list; give at least one text")
    for i, text in enumerate(value):
        if not isinstance(text, str):
            raise ValueError(f"{name}[{i}] must be a string, got {type(text).__name__}")


def check_count(name: str, value: object) -> None:
    """Check a count: an int of at least 1."""
    if not is_whole(value) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_generator(generator: object, images: int) -> None:
    """Check for None, a NumPy generator, or a list with one per image."""
    for each in generator if isinstance(generator, list) else [generator]:
        if each is None and not isinstance(generator, list):
            return
        if not isinstance(each, np.random.Generator):
            raise ValueError(
                "generator must be a NumPy generator such as np.random.default_rng(0), or a list of one per image, "
                f"got {type(each).__name__}"
            )
    if isinstance(generator, list) and len(generator) != images:
        raise ValueError(f"generator must hold one generator for each of the {images} images, got {len(generator)}")


def check_latents(latents: Array | None, shape: tuple[int, int, int, int]) -> None:
    """Check that the user's latents have the shape of the run's."""
    if latents is not None and (given := tuple(getattr(latents, "shape", ()))) != shape:
        raise ValueError(
            f"latents must have the shape {shape} (images, channels, height, width), got {given or shown(latents)}"
        )


def check_ready(family: Family, components: Mapping[str, object]) -> None:
    """Check, before a run begins, that every needed component is there.

    Raises:
        ValueError: the denoising network, the autoencoder or the scheduler is None, or a safety checker has no feature
            extractor.
    """
    for name in (family.denoiser, "vae", "scheduler"):
        if components[name] is None:
            raise ValueError(f"the pipeline's {name} is None, and it cannot generate without one; set pipe.{name}")
    if is_network(components.get("safety_checker")) and components["feature_extractor"] is None:
        raise ValueError("a safety_checker needs a feature_extractor; pass one, or safety_checker=None")


def is_network(component: object) -> TypeGuard[StoredNetwork]:
    """Whether it is a network that an engine can run; otherwise it is a user's function, or None."""
    return hasattr(component, "parameters_and_names")


def check_drawing(pipe: Parts, images: int, generator: object, callback_tensors: Sequence[str]) -> None:
    """The checks that all calls share: the pipeline is complete and offers what the call asks for."""
    check_ready(pipe.family, pipe.components)
    check_generator(generator, images)
    if unknown := [name for name in callback_tensors if name not in pipe.callback_tensors]:
        names, known = ", ".join(map(repr, unknown)), ", ".join(pipe.callback_tensors)
        raise ValueError(f"callback_on_step_end_tensor_inputs names {names}; choose from {known}")


def check_memory(pipe: Parts, images: int, height: int, width: int) -> None:
    """Check that memory suffices to decode this many images of that size, with the current slicing and tiling.

    Raises:
        ValueError: it does not.
    """
    vae, part = pipe.vae, (height, width, images)
    if isinstance(vae, Autoencoder):
        tile = vae.tile_pixels if vae.use_tiling else (height, width)
        part = (min(height, tile[0]), min(width, tile[1]), 1 if vae.use_slicing else images)
    decoder_memory.check_memory(decoder_memory.widest(vae.config), (height, width), images, pipe.dtype, part)


def check_pixels_memory(images: int, height: int, width: int) -> None:
    """Check that memory suffices to resize this many images to that size.

    Raises:
        ValueError: it does not.
    """
    decoder_memory.check_memory(_RESIZED_CHANNELS, (height, width), images, "float32")


def check_readers(pipe: Parts, names: Sequence[str], embeds: str) -> None:
    """Check that the components that read texts are there; ``embeds`` says what a call may pass in place of texts."""
    if name := next((name for name in names if pipe.components[name] is None), None):
        raise ValueError(f"the pipeline's {name} is None, so it reads no texts; pass {embeds}, or set one")


def check_output_type(name: str, value: str) -> None:
    """Check the form of the images."""
    if value not in OUTPUT_TYPES:
        raise ValueError(f"{name} must be one of {', '.join(OUTPUT_TYPES)}, got {value!r}")


def check_mask_fill(name: str, value: str) -> None:
    """Check the fill under a mask."""
    if value not in MASK_FILLS:
        raise ValueError(f"{name} must be one of {', '.join(MASK_FILLS)}, got {value!r}")


def check_no_negative(name: str, value: object) -> None:
    """Check that there is no negative prompt: built-in guidance has its own."""
    if value is not None:
        raise ValueError("negative_prompt means nothing to a latent consistency model; leave it out")


def check_strength(name: str, value: object) -> None:
    """Check how much of a picture to repaint: above 0, at most 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ValueError(f"{name} must be above 0 (the picture unchanged) and at most 1 (all new), got {value!r}")


def check_padding(name: str, value: object) -> None:
    """Check a number of pixels, at least 0, or None."""
    if value is not None and (not is_whole(value) or value < 0):
        raise ValueError(f"{name} must be None or a whole number of pixels, 0 or more, got {shown(value)}")


def check_array(name: str, value: object) -> None:
    """Check for an array of any engine or None."""
    if value is not None and not hasattr(value, "shape"):
        raise ValueError(f"{name} must be an array or None, got {shown(value)}")


def check_lines(name: str, value: object) -> None:
    """Check for lines of text or None: a single text would count as one line per letter."""
    if value is not None and (not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value)):
        raise ValueError(f"{name} must be None or a list of lines, which are strings, got {value!r:.80}")


def check_interval(name: str, value: object) -> None:
    """Check where guidance starts and stops, as fractions of the steps."""
    pair = tuple(value) if isinstance(value, (list, tuple)) else ()
    numbers = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in pair)
    if len(pair) != 2 or not numbers or not 0 <= pair[0] <= pair[1] <= 1:
        raise ValueError(
            f"{name} must be where guidance starts and stops, as fractions of the steps such as (0.0, 0.5), "
            f"got {value!r}"
        )


def check_clip_skip(clip_skip: int | None, most: int) -> None:
    """Check how many of a text encoder's last layers to skip: 0 to ``most``."""
    if clip_skip is not None and (isinstance(clip_skip, (bool, float)) or clip_skip not in range(most + 1)):
        raise ValueError(f"clip_skip must be a whole number from 0 to {most}, got {clip_skip!r}")
