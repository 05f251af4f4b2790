"""What a call of Stable Diffusion XL may be asked: its groups of arguments, and its tasks; see `calls`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..engines import Array
from . import checks
from .calls import (
    Adapters,
    BothEmbeds,
    Callbacks,
    Count,
    DenoisingEnd,
    Ending,
    Eta,
    Generator,
    GuidanceScale,
    ImageGuidance,
    Latents,
    Negative,
    Output,
    OwnSteps,
    PicturePrompts,
    Prompt,
    Rescale,
    Shown,
    Size,
    Steps,
    Texts,
    argument,
)
from .picture_calls import (
    ControlImage,
    Crop,
    DenoisingStart,
    EditedImage,
    Fill,
    FollowedImage,
    Following,
    Image,
    Mask,
    MaskedLatents,
    PictureArguments,
    Scales,
    Strength,
)

Pair: TypeAlias = Sequence[int]
"""Height and width, or top and left, in pixels."""


# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt2:
    """For the second text encoder."""

    prompt_2: Texts = argument(None, "a text for the second text encoder, if it is to read another than the first.")


@dataclass(frozen=True)
class Negative2:
    """The same for the negative prompt."""

    negative_prompt_2: Texts = argument(None, "a negative text for the second text encoder, likewise.")


@dataclass(frozen=True)
class Pooled:
    """Instead of texts."""

    pooled_prompt_embeds: Array | None = argument(
        None, "goes with ``prompt_embeds``, (prompts, channels).", checks.check_array
    )


@dataclass(frozen=True)
class NegativePooled:
    """Instead of negative texts."""

    negative_pooled_prompt_embeds: Array | None = argument(
        None, "goes with ``negative_prompt_embeds``.", checks.check_array
    )


@dataclass(frozen=True)
class PooledEmbeds(NegativePooled, Pooled):
    """Instead of texts of both signs."""


@dataclass(frozen=True)
class Sizes:
    """What the network knows of the image's past (Podell et al. 2023, §2.2)."""

    original_size: Pair | None = argument(
        None, "(height, width) that the image is to look as if it had been shot in; by default its own size."
    )
    crops_coords_top_left: Pair = argument(
        (0, 0), "(top, left) that it is to look as if it had been cut at; (0, 0) looks well centred."
    )
    target_size: Pair | None = argument(
        None, "(height, width) that it is to look as if it had been resized to; by default its own size."
    )


@dataclass(frozen=True)
class NegativeSizes:
    """The same for the negative prompt."""

    negative_original_size: Pair | None = argument(
        None, "the same for the negative prompt; of texts in force when this and ``negative_target_size`` are given."
    )
    negative_crops_coords_top_left: Pair = argument((0, 0), "see ``negative_original_size``.")
    negative_target_size: Pair | None = argument(None, "see ``negative_original_size``.")


@dataclass(frozen=True)
class Aesthetics:
    """What refiners read."""

    aesthetic_score: float = argument(
        6.0, "how beautiful the picture is to be, for refiners (``requires_aesthetics_score``)."
    )
    negative_aesthetic_score: float = argument(2.5, "the aesthetic score of the negative prompt.")


@dataclass(frozen=True)
class XLTexts(Prompt2, Prompt):
    """What to draw."""


@dataclass(frozen=True)
class XLSampled(Generator, Eta, Count, Negative2, Negative, GuidanceScale):
    """What every task has in the middle."""


@dataclass(frozen=True)
class XLEmbeds(PooledEmbeds, BothEmbeds):
    """Embeddings of texts."""


@dataclass(frozen=True)
class XLSampledFromNoise(Shown, PicturePrompts, XLEmbeds, Latents, XLSampled):
    """From guidance to what comes out."""


@dataclass(frozen=True)
class FromPicture(DenoisingEnd, DenoisingStart, OwnSteps, Strength):
    """Which steps are run."""


@dataclass(frozen=True)
class AllSizes(NegativeSizes, Sizes):
    """Sizes of both signs."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class XLTextCall(Ending, AllSizes, Rescale, XLSampledFromNoise, DenoisingEnd, OwnSteps, Size, XLTexts):
    """A text to images."""


@dataclass(frozen=True)
class XLImageCall(Ending, Aesthetics, AllSizes, Rescale, XLSampledFromNoise, FromPicture, Image, XLTexts):
    """A text and a picture to images."""

    strength: float = 0.3


@dataclass(frozen=True)
class XLMaskCall(
    Fill,
    Ending,
    Aesthetics,
    AllSizes,
    Rescale,
    XLSampledFromNoise,
    FromPicture,
    Crop,
    Size,
    MaskedLatents,
    Mask,
    Image,
    XLTexts,
):
    """A text, a picture and a mask to images."""

    strength: float = 0.9999


@dataclass(frozen=True)
class XLControlCall(
    Ending, AllSizes, Following, XLSampledFromNoise, DenoisingEnd, OwnSteps, Size, FollowedImage, XLTexts
):
    """A text and a picture to follow to images."""


@dataclass(frozen=True)
class XLControlImageCall(
    Ending, Aesthetics, AllSizes, Following, XLSampledFromNoise, Steps, Strength, Size, ControlImage, Image, XLTexts
):
    """A text, a picture to start from and one to follow to images."""

    controlnet_conditioning_scale: Scales = 0.8


@dataclass(frozen=True)
class XLControlMaskCall(
    Fill,
    Ending,
    Aesthetics,
    Sizes,
    Rescale,
    Following,
    Shown,
    PooledEmbeds,
    PicturePrompts,
    BothEmbeds,
    Latents,
    XLSampled,
    DenoisingEnd,
    DenoisingStart,
    Steps,
    Strength,
    Crop,
    Size,
    ControlImage,
    Mask,
    Image,
    XLTexts,
):
    """A text, a picture, a mask and a picture to follow to images."""

    strength: float = 0.9999


@dataclass(frozen=True)
class XLEditCall(
    Sizes,
    Rescale,
    Adapters,
    Callbacks,
    Output,
    XLEmbeds,
    Latents,
    Generator,
    Eta,
    Count,
    Negative2,
    Negative,
    ImageGuidance,
    GuidanceScale,
    DenoisingEnd,
    Steps,
    Size,
    EditedImage,
    XLTexts,
):
    """An instruction and a picture to images."""

    num_inference_steps: int = 100
    image_guidance_scale: float = 1.5


@dataclass(frozen=True)
class XLArguments(Aesthetics, AllSizes, PooledEmbeds, Negative2, Prompt2, PictureArguments):
    """What a call has been asked, whatever its task."""

    def count_images(self) -> int:
        """See `Arguments.count_images`."""
        embeds = (self.prompt_embeds, self.negative_prompt, self.negative_prompt_embeds)
        count = checks.check_prompts(
            self.prompt, *embeds, prompt_2=self.prompt_2, negative_prompt_2=self.negative_prompt_2
        )
        return count * self.num_images_per_prompt
