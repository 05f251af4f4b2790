"""Shared parts of pipelines whose transformers read a text's tokens and also its pooled embedding."""

from typing import Protocol

from ..engines import Array
from . import checks
from .calls import Arguments
from .capabilities import check_image_prompts
from .pipeline import Pipeline

_PICTURES = (
    "ip_adapter_image",
    "ip_adapter_image_embeds",
    "negative_ip_adapter_image",
    "negative_ip_adapter_image_embeds",
)


class GivenTexts(Protocol):
    """The embeddings of a call, in place of texts."""

    @property
    def prompt_embeds(self) -> Array | None:
        """The tokens of the prompts."""

    @property
    def pooled_prompt_embeds(self) -> Array | None:
        """The pooled prompts."""

    @property
    def negative_prompt_embeds(self) -> Array | None:
        """The same of the negative prompts."""

    @property
    def negative_pooled_prompt_embeds(self) -> Array | None:
        """The same of the negative prompts."""


def check_embeds(pipe: Pipeline, call: GivenTexts) -> None:
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
