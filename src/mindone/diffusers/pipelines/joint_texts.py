"""What pipelines share whose transformers read tokens of a text and, besides, the text as a whole."""

from collections.abc import Sequence
from typing import Protocol

from ..engines import Array
from . import checks
from .pipeline import Pipeline


class GivenTexts(Protocol):
    """What a call may have instead of texts."""

    @property
    def prompt_embeds(self) -> Array | None:
        """The tokens of the prompts."""

    @property
    def pooled_prompt_embeds(self) -> Array | None:
        """The prompts as a whole."""

    @property
    def negative_prompt_embeds(self) -> Array | None:
        """The same of the negative prompts."""

    @property
    def negative_pooled_prompt_embeds(self) -> Array | None:
        """The same of the negative prompts."""


def check_embeds(pipe: Pipeline, call: GivenTexts) -> None:
    """Embeddings come with their pooled ones, and have the channels that the denoiser reads.

    Raises:
        ValueError: they do not, or have not.
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


def refuse_pictures(pipeline: type[Pipeline], names: Sequence[str]) -> None:
    """Refuse what is for IP-Adapters, by its ``names``; nothing without any.

    Raises:
        ValueError: there is some.
    """
    if names:
        raise ValueError(
            f"{pipeline.__name__} takes no IP-Adapters: none are known for {pipeline.family.title}; leave out "
            f"{' and '.join(names)}"
        )
