"""What a call of Stable Diffusion 3 may be asked: its groups of arguments, and its tasks; see `calls`."""

from collections.abc import Mapping, Sequence
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
from .flow_calls import FlowSteps, JointAttention, LongTexts, check_given
from .picture_calls import Crop, Fill, Image, Mask, MaskedLatents, PictureArguments, Strength
from .xl_calls import Negative2, PooledEmbeds, Prompt2

# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt3:
    """For T5."""

    prompt_3: Texts = argument(None, "a text for the third text encoder, T5, if it is to read another than the first.")


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
        "from what it predicts without them, which takes a third row per image.",
    )
    skip_layer_guidance_scale: float = argument(2.8, "how far.", check_given)
    skip_layer_guidance_stop: float = argument(
        0.2, "the part of the steps, from 0 to 1, at which this ends.", check_given
    )
    skip_layer_guidance_start: float = argument(0.01, "the part at which it begins.", check_given)


@dataclass(frozen=True)
class Shift:
    """Of a flow."""

    mu: float | None = argument(
        None,
        "the run's shift towards noise, for schedulers with ``use_dynamic_shifting``; by default that of the image's "
        "size.",
        checks.check_number,
    )


@dataclass(frozen=True)
class ThreeTexts(Prompt3, Prompt2, Prompt):
    """What to draw."""


@dataclass(frozen=True)
class SampledByFlow(
    PooledEmbeds, BothEmbeds, Latents, Generator, Count, Negative3, Negative2, Negative, GuidanceScale, FlowSteps
):
    """What every task has in the middle."""


@dataclass(frozen=True)
class FlowEnding(LongTexts, Callbacks, ClipSkip, JointAttention):
    """What every task has towards the end."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SD3TextCall(GuidedPart, Shift, SkipLayers, FlowEnding, Output, PicturePrompts, SampledByFlow, Size, ThreeTexts):
    """A text to images."""

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
    """A text and a picture to images."""

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
    """A text, a picture and a mask to images."""

    strength: float = 0.6


@dataclass(frozen=True)
class SD3Arguments(
    Shift,
    SkipLayers,
    LongTexts,
    JointAttention,
    PooledEmbeds,
    Negative3,
    Prompt3,
    Negative2,
    Prompt2,
    PictureArguments,
):
    """What a call has been asked, whatever its task."""

    @property
    def adapter_options(self) -> Mapping[str, object] | None:
        """See `Arguments`."""
        return self.joint_attention_kwargs

    @property
    def layout_options(self) -> dict[str, object]:
        """See `Arguments`: the shift, where one is given."""
        return {} if self.mu is None else {"mu": self.mu}

    @property
    def further_texts(self) -> dict[str, Texts]:
        """Those for other text encoders than the first, by their names."""
        return {
            "prompt_2": self.prompt_2,
            "prompt_3": self.prompt_3,
            "negative_prompt_2": self.negative_prompt_2,
            "negative_prompt_3": self.negative_prompt_3,
        }

    def count_images(self) -> int:
        """See `Arguments.count_images`."""
        embeds = (self.prompt_embeds, self.negative_prompt, self.negative_prompt_embeds)
        return checks.check_prompts(self.prompt, *embeds, **self.further_texts) * self.num_images_per_prompt
