"""The arguments of Stable Diffusion 3's calls: groups and tasks; see `calls`."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import checks
from .calls import (
    BothEmbeds,
    Callbacks,
    ClipSkip,
    Count,
    Generator,
    GuidanceScale,
    GuidedPart,
    Latents,
    Negative,
    Output,
    OutputType,
    PicturePrompts,
    Prompt,
    ReturnDict,
    Size,
    Texts,
    argument,
)
from .flow_calls import FlowArguments, FlowSteps, JointAttention, LongTexts, check_given
from .picture_calls import Crop, Fill, Image, Mask, MaskedLatents, Strength
from .xl_calls import Negative2, PooledEmbeds, Prompt2

# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt3:
    """The prompt for T5."""

    prompt_3: Texts = argument(None, "a different text for the third text encoder, T5; by default it reads the first.")


@dataclass(frozen=True)
class Negative3:
    """The same for the negative prompt."""

    negative_prompt_3: Texts = argument(None, "a negative text for the third text encoder, likewise.")


@dataclass(frozen=True)
class SkipLayers:
    """Guidance away from a network without some of its layers."""

    skip_guidance_layers: Sequence[int] | None = argument(
        None,
        "numbers of the transformer's layers, such as [7, 8, 9] for Stable Diffusion 3.5 medium: steps are guided away "
        "from its prediction without them, which takes a third row per image.",
    )
    skip_layer_guidance_scale: float = argument(2.8, "how far.", check_given)
    skip_layer_guidance_stop: float = argument(
        0.2, "the fraction of the steps, from 0 to 1, at which this ends.", check_given
    )
    skip_layer_guidance_start: float = argument(0.01, "the fraction at which it begins.", check_given)


@dataclass(frozen=True)
class Shift:
    """The shift of flow matching."""

    mu: float | None = argument(
        None,
        "the run's shift towards noise, for schedulers with ``use_dynamic_shifting``; by default that of the image's "
        "size.",
        checks.check_number,
    )


@dataclass(frozen=True)
class ThreeTexts(Prompt3, Prompt2, Prompt):
    """What to generate."""


@dataclass(frozen=True)
class SampledByFlow(
    PooledEmbeds, BothEmbeds, Latents, Generator, Count, Negative3, Negative2, Negative, GuidanceScale, FlowSteps
):
    """The middle arguments of every task."""


@dataclass(frozen=True)
class FlowEnding(LongTexts, Callbacks, ClipSkip, JointAttention):
    """Later arguments of every task."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SD3TextCall(GuidedPart, Shift, SkipLayers, FlowEnding, Output, PicturePrompts, SampledByFlow, Size, ThreeTexts):
    """Text-to-image."""

    num_inference_steps: int = 28


@dataclass(frozen=True)
class SD3ImageCall(
    GuidedPart,
    Shift,
    FlowEnding,
    ReturnDict,
    PicturePrompts,
    OutputType,
    SampledByFlow,
    Strength,
    Image,
    Size,
    ThreeTexts,
):
    """Image-to-image."""

    strength: float = 0.6


@dataclass(frozen=True)
class SD3MaskCall(
    Fill,
    GuidedPart,
    Shift,
    FlowEnding,
    Output,
    PicturePrompts,
    SampledByFlow,
    Strength,
    Crop,
    Size,
    MaskedLatents,
    Mask,
    Image,
    ThreeTexts,
):
    """Inpainting."""

    strength: float = 0.6


@dataclass(frozen=True)
class SD3Arguments(Shift, SkipLayers, Negative3, Prompt3, FlowArguments):
    """The arguments of a call of any task."""

    @property
    def layout_options(self) -> dict[str, object]:
        """See `Arguments`: the shift, if given."""
        return {} if self.mu is None else {"mu": self.mu}
