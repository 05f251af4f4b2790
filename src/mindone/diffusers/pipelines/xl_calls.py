"""The arguments of Stable Diffusion XL's calls: groups and tasks; see `calls`."""

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
    """The prompt for the second text encoder."""

    prompt_2: Texts = argument(None, "a different text for the second text encoder; by default it reads the first.")


@dataclass(frozen=True)
class Negative2:
    """The same for the negative prompt."""

    negative_prompt_2: Texts = argument(None, "a negative text for the second text encoder, likewise.")


@dataclass(frozen=True)
class Pooled:
    """Pooled embeddings instead of texts."""

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
    """The image's supposed original size and crop (Podell et al. 2023, §2.2)."""

    original_size: Pair | None = argument(
        None, "(height, width) of the supposed original, before any resizing; by default the image's own size."
    )
    crops_coords_top_left: Pair = argument(
        (0, 0), "(top, left) where the image seems to have been cropped; (0, 0) looks well centred."
    )
    target_size: Pair | None = argument(
        None, "(height, width) to which the image seems to have been resized; by default its own size."
    )


@dataclass(frozen=True)
class NegativeSizes:
    """The same for the negative prompt."""

    negative_original_size: Pair | None = argument(
        None, "the same for the negative prompt; used if this and ``negative_target_size`` are both given."
    )
    negative_crops_coords_top_left: Pair = argument((0, 0), "see ``negative_original_size``.")
    negative_target_size: Pair | None = argument(None, "see ``negative_original_size``.")


@dataclass(frozen=True)
class Aesthetics:
    """The aesthetic scores of refiners."""

    aesthetic_score: float = argument(
        6.0, "how beautiful the image should be, for refiners (``requires_aesthetics_score``)."
    )
    negative_aesthetic_score: float = argument(2.5, "the aesthetic score of the negative prompt.")


@dataclass(frozen=True)
class XLTexts(Prompt2, Prompt):
    """What to generate."""


@dataclass(frozen=True)
class XLSampled(Generator, Eta, Count, Negative2, Negative, GuidanceScale):
    """The middle arguments of every task."""


@dataclass(frozen=True)
class XLEmbeds(PooledEmbeds, BothEmbeds):
    """Embeddings of texts."""


@dataclass(frozen=True)
class XLSampledFromNoise(Shown, PicturePrompts, XLEmbeds, Latents, XLSampled):
    """From guidance to the result."""


@dataclass(frozen=True)
class FromPicture(DenoisingEnd, DenoisingStart, OwnSteps, Strength):
    """Which steps to run."""


@dataclass(frozen=True)
class AllSizes(NegativeSizes, Sizes):
    """Sizes for the prompt and the negative prompt."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class XLTextCall(Ending, AllSizes, Rescale, XLSampledFromNoise, DenoisingEnd, OwnSteps, Size, XLTexts):
    """Text-to-image."""


@dataclass(frozen=True)
class XLImageCall(Ending, Aesthetics, AllSizes, Rescale, XLSampledFromNoise, FromPicture, Image, XLTexts):
    """Image-to-image."""

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
    """Inpainting."""

    strength: float = 0.9999


@dataclass(frozen=True)
class XLControlCall(
    Ending, AllSizes, Following, XLSampledFromNoise, DenoisingEnd, OwnSteps, Size, FollowedImage, XLTexts
):
    """Text-to-image with a ControlNet."""


@dataclass(frozen=True)
class XLControlImageCall(
    Ending, Aesthetics, AllSizes, Following, XLSampledFromNoise, Steps, Strength, Size, ControlImage, Image, XLTexts
):
    """Image-to-image with a ControlNet."""

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
    """Inpainting with a ControlNet."""

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
    """Editing of a picture by an instruction."""

    num_inference_steps: int = 100
    image_guidance_scale: float = 1.5


@dataclass(frozen=True)
class XLArguments(Aesthetics, AllSizes, PooledEmbeds, Negative2, Prompt2, PictureArguments):
    """The arguments of a call of any task."""
