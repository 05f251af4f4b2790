"""Texts with a mask that marks their padding, for the denoisers of PixArt and Sana."""

from typing import NamedTuple

from ..engines import Array
from ..families.components import TextTokenizer
from ..families.masked_texts import TextReading
from . import checks
from .calls import Texts
from .loop import Run, repeat_each
from .masked_calls import MaskedArguments
from .parts import Parts

CALLBACK_TENSORS = ("latents", "prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds")
"""The tensors that a step callback may get and replace."""


class Given(NamedTuple):
    """Texts, or embeddings and their mask instead, and how to read texts."""

    texts: Texts
    embeds: Array | None
    mask: Array | None
    reading: TextReading


def unread(tokenizer: TextTokenizer | None, *texts: tuple[TextReading, str]) -> list[str | None]:
    """A sentence for each text that is too long to be read completely."""
    return [] if tokenizer is None else [reading.unread(tokenizer, text) for reading, text in texts]


def check_texts(pipe: Parts, call: MaskedArguments) -> None:
    """Check that embeddings come with their masks and have the denoiser's channels.

    Raises:
        ValueError: they do not.
    """
    check_masks("", call.prompt_embeds, call.prompt_attention_mask)
    check_masks("negative_", call.negative_prompt_embeds, call.negative_prompt_attention_mask)
    config, name = pipe.denoiser.config, pipe.family.denoiser
    channels = config.get("caption_channels") or config["cross_attention_dim"]
    given = {"prompt_embeds": call.prompt_embeds, "negative_prompt_embeds": call.negative_prompt_embeds}
    for argument, embeds in given.items():
        if embeds is not None and embeds.shape[-1] != channels:
            raise ValueError(
                f"{argument} must have the {channels} channels that the {name} reads, got {embeds.shape[-1]}"
            )


def encode_texts(
    pipe: Parts, prompts: Given, negative: Given | None, images: int
) -> tuple[Array, Array, Array | None, Array | None]:
    """Embeddings and mask of prompts, then those of negative prompts, None if there are none.

    All are the engine's arrays: (prompts · images, tokens, channels) and (prompts · images, tokens); images of one
    prompt are adjacent, each with the mask of its own prompt.

    Raises:
        ValueError: the arguments do not match, or the pipeline has no text encoder.
    """
    others = (None, None) if negative is None else (negative.texts or None, negative.embeds)
    count, engine = checks.check_prompts(prompts.texts, prompts.embeds, *others), pipe.engine
    check_masks("", prompts.embeds, prompts.mask)
    if negative is not None:
        check_masks("negative_", negative.embeds, negative.mask)
    read = _read(pipe, prompts, count)
    embeds, mask = (repeat_each(engine, x, images) for x in read)
    if negative is None:
        return embeds, mask, None, None
    read = _read(pipe, negative, count)
    checks.check_lengths(embeds, read[0], negative.embeds is not None)
    negative_embeds, negative_mask = (repeat_each(engine, x, images) for x in read)
    return embeds, mask, negative_embeds, negative_mask


def condition(run: Run, call: MaskedArguments, reading: TextReading, negative_reading: TextReading | None) -> None:
    """Give the run its network's conditions: the text and its mask.

    ``negative_reading`` is None for networks with built-in guidance.
    """
    negative = None
    if negative_reading is not None and run.do_classifier_free_guidance:
        given = call.negative_prompt_embeds, call.negative_prompt_attention_mask
        negative = Given(call.negative_prompt, *given, negative_reading)
    prompts = Given(call.prompt, call.prompt_embeds, call.prompt_attention_mask, reading)
    embeds, mask, negative_embeds, negative_mask = encode_texts(run.pipe, prompts, negative, call.num_images_per_prompt)
    run.condition_on(
        prompt_embeds=run.rows_of(embeds, negative_embeds),
        prompt_attention_mask=run.rows_of(mask, negative_mask),
        negative_prompt_embeds=negative_embeds,
    )


def check_masks(prefix: str, embeds: Array | None, mask: Array | None) -> None:
    """Check that embeddings and their mask match; ``prefix`` is that of their names.

    Raises:
        ValueError: one is missing, or they do not fit each other.
    """
    if (embeds is None) != (mask is None):
        raise ValueError(f"{prefix}prompt_embeds and {prefix}prompt_attention_mask go together; pass both or neither")
    if mask is not None and not hasattr(mask, "shape"):
        raise ValueError(f"{prefix}prompt_attention_mask must be an array (prompts, tokens), got {type(mask).__name__}")
    if embeds is not None and mask is not None and tuple(mask.shape) != tuple(embeds.shape[:2]):
        raise ValueError(
            f"{prefix}prompt_attention_mask must have the shape {tuple(embeds.shape[:2])} of {prefix}prompt_embeds "
            f"without channels, got {tuple(mask.shape)}"
        )


def _read(pipe: Parts, given: Given, count: int) -> tuple[Array, Array]:
    """Embeddings and mask of texts, one row each, or the given ones."""
    if given.embeds is not None and given.mask is not None:
        return pipe.engine.asarray(given.embeds), pipe.engine.asarray(given.mask)
    readers = ("text_encoder", "tokenizer")
    embeds = "prompt_embeds and prompt_attention_mask, with guidance the negative ones too"
    checks.check_readers(pipe, readers, embeds)
    network, tokenizer = (pipe.components[name] for name in readers)
    return given.reading.encode(pipe.engine, network, tokenizer, checks.as_list(given.texts, count))
