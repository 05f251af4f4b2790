"""The arguments of FLUX.1's calls: groups and tasks; see `calls`."""

from dataclasses import dataclass

from ..adapters.image_prompts import ImageEmbeds, ImagePrompts
from .calls import (
    Callbacks,
    Count,
    Embeds,
    Generator,
    GuidanceScale,
    GuidedPart,
    Latents,
    Negative,
    NegativeEmbeds,
    Output,
    PicturePrompts,
    Prompt,
    Size,
    argument,
)
from .flow_calls import FlowArguments, FlowSteps, JointAttention, LongTexts, check_given
from .loop import Interval
from .picture_calls import Crop, Fill, Image, Mask, MaskedLatents, Strength
from .xl_calls import Negative2, NegativePooled, Pooled, Prompt2

# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrueGuidance:
    """Guidance in addition to the built-in one."""

    true_cfg_scale: float = argument(
        1.0,
        "how far to guide away from a negative prompt: if there is one and this is above 1, each step takes two "
        "rows per image, and twice the time.",
        check_given,
    )


@dataclass(frozen=True)
class NegativePicturePrompts:
    """Pictures for IP-Adapters."""

    negative_ip_adapter_image: ImagePrompts = argument(None, "must be None, as ``ip_adapter_image``.")
    negative_ip_adapter_image_embeds: ImageEmbeds = argument(None, "must be None, likewise.")


@dataclass(frozen=True)
class FluxTexts(TrueGuidance, Negative2, Negative, Prompt2, Prompt):
    """What to generate, and what to avoid."""


@dataclass(frozen=True)
class FluxEnding(
    GuidedPart,
    LongTexts,
    Callbacks,
    JointAttention,
    Output,
    NegativePooled,
    NegativeEmbeds,
    NegativePicturePrompts,
    PicturePrompts,
    Pooled,
    Embeds,
    Latents,
    Generator,
    Count,
    GuidanceScale,
    FlowSteps,
):
    """The arguments of every task from the steps on."""

    num_inference_steps: int = 28
    max_sequence_length: int = 512


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FluxTextCall(FluxEnding, Size, FluxTexts):
    """Text-to-image."""


@dataclass(frozen=True)
class FluxImageCall(FluxEnding, Strength, Size, Image, FluxTexts):
    """Image-to-image."""

    strength: float = 0.6


@dataclass(frozen=True)
class FluxMaskCall(Fill, FluxEnding, Strength, Crop, Size, MaskedLatents, Mask, Image, FluxTexts):
    """Inpainting."""

    strength: float = 0.6


@dataclass(frozen=True)
class FluxArguments(NegativePicturePrompts, TrueGuidance, FlowArguments):
    """The arguments of a call of any task."""

    @property
    def has_negative(self) -> bool:
        """Whether there is a negative prompt to guide away from."""
        return self.negative_prompt is not None or self.negative_prompt_embeds is not None

    @property
    def negatives(self) -> list[str]:
        """See `Arguments`: as published, a second negative prompt counts only beside a first."""
        return super().negatives if self.has_negative else []

    @property
    def guidance(self) -> tuple[float | None, float, Interval, float | None]:
        """See `Arguments`: the network reads the built-in scale."""
        return self.true_cfg_scale if self.has_negative else 1.0, 0.0, self.guidance_interval, None
