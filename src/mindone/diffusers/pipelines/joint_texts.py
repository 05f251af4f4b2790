"""Shared parts of pipelines whose denoisers read a text's tokens and also its pooled embedding."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

from ..engines import Array, Engine
from . import checks
from .calls import Arguments, Texts
from .capabilities import check_image_prompts
from .flow_calls import FlowArguments
from .loop import Run, repeat_each
from .pipeline import Pipeline

_PICTURES = (
    "ip_adapter_image",
    "ip_adapter_image_embeds",
    "negative_ip_adapter_image",
    "negative_ip_adapter_image_embeds",
)

Encoded: TypeAlias = tuple[Array, Array, Array | None, Array | None]
"""Embeddings and pooled texts of the prompts, then those of the negative prompts, None without guidance."""


def check_embeds(pipe: Pipeline, call: FlowArguments) -> None:
    """Check that embeddings come with their pooled ones and have the denoiser's channels.

    Raises:
        ValueError: they do not.
    """
    checks.check_pooled("", call.prompt_embeds, call.pooled_prompt_embeds)
    checks.check_pooled("negative_", call.negative_prompt_embeds, call.negative_pooled_prompt_embeds)
    given = {
        "prompt_embeds": (call.prompt_embeds, "joint_attention_dim"),
        "negative_prompt_embeds": (call.negative_prompt_embeds, "joint_attention_dim"),
        "pooled_prompt_embeds": (call.pooled_prompt_embeds, "pooled_projection_dim"),
        "negative_pooled_prompt_embeds": (call.negative_pooled_prompt_embeds, "pooled_projection_dim"),
    }
    for name, (embeds, entry) in given.items():
        channels = pipe.denoiser.config[entry]
        if embeds is not None and embeds.shape[-1] != channels:
            raise ValueError(
                f"{name} must have the {channels} channels that the transformer reads ({entry}), got {embeds.shape[-1]}"
            )


def refuse_pictures(pipe: Pipeline, call: Arguments) -> None:
    """Refuse pictures for IP-Adapters in a call of a family that has none.

    Raises:
        ValueError: there are some.
    """
    given = [name for name in _PICTURES if getattr(call, name, None) is not None]
    check_image_prompts(type(pipe).__name__, pipe.family, given)


Read: TypeAlias = Callable[[Sequence[list[str]], int], tuple[Array, Array]]
"""The embeddings and the pooled texts of texts, given the number of CLIP's last layers to skip."""


def texts_of(count: int, first: Texts, *others: Texts) -> list[list[str]]:
    """One text per prompt for each text encoder; those after the first read its texts unless they have others."""
    return [checks.as_list(text or first, count) for text in (first, *others)]


class Given(NamedTuple):
    """One text per prompt for each text encoder, or embeddings and pooled ones instead."""

    texts: Sequence[list[str]]
    embeds: Array | None
    pooled: Array | None

    def encoded(self, engine: Engine, read: Read, images: int, clip_skip: int = 0) -> tuple[Array, Array]:
        """Embeddings and pooled texts, each row ``images`` times."""
        embeds, pooled = self.embeds, self.pooled
        if embeds is None or pooled is None:
            embeds, pooled = read(self.texts, clip_skip)
        embeds, pooled = (repeat_each(engine, engine.asarray(x), images) for x in (embeds, pooled))
        return embeds, pooled


def encode_texts(
    engine: Engine,
    read: Read,
    prompts: Given,
    negative: Given | None,
    images: int,
    clip_skip: int = 0,
    at_once: bool = True,
) -> Encoded:
    """All as the engine's arrays, (prompts · images, …), with images of one prompt adjacent.

    Args:
        engine: makes the arrays.
        read: reads texts.
        prompts, negative: what to encode; no negative prompts without guidance.
        images: for each prompt.
        clip_skip: the number of layers to skip for the prompts.
        at_once: read both in one batch if possible, so that a large text encoder reads its weights once.
    """
    is_negative_given = negative is not None and negative.embeds is not None
    if at_once and negative is not None and prompts.embeds is None and negative.embeds is None and not clip_skip:
        count = len(prompts.texts[0])
        both = read([[*a, *b] for a, b in zip(prompts.texts, negative.texts)], 0)
        prompts, negative = (Given((), *(x[part] for x in both)) for part in (slice(count), slice(count, None)))
    embeds, pooled = prompts.encoded(engine, read, images, clip_skip)
    if negative is None:
        return embeds, pooled, None, None
    negative_embeds, negative_pooled = negative.encoded(engine, read, images)
    checks.check_lengths(embeds, negative_embeds, is_negative_given)
    return embeds, pooled, negative_embeds, negative_pooled


def condition(run: Run, texts: Encoded) -> None:
    """Give the run its network's conditions: the text and the pooled text."""
    embeds, pooled, negative, negative_pooled = texts
    run.condition_on(
        prompt_embeds=run.rows_of(embeds, negative),
        pooled_prompt_embeds=run.rows_of(pooled, negative_pooled),
        negative_prompt_embeds=negative,
        negative_pooled_prompt_embeds=negative_pooled,
    )
