"""What a call with pictures may ask for: its groups of arguments, and its tasks; see `calls`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..engines import Array
from . import checks
from .calls import (
    Adapters,
    Arguments,
    BothEmbeds,
    Callbacks,
    Count,
    Ending,
    Eta,
    Generator,
    GuidanceScale,
    ImageGuidance,
    Latents,
    Negative,
    Output,
    OwnSteps,
    Prompt,
    Sampled,
    SampledFromImage,
    SampledFromNoise,
    Shown,
    Size,
    Steps,
    argument,
)
from .image_processor import ImageInput
from .mask_fills import MaskFill

Scales: TypeAlias = float | Sequence[float]
"""One number, or one per ControlNet."""


# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Image:
    """A picture to start from."""

    image: ImageInput | None = argument(
        None,
        "what to start from: a PIL image, an array, a list of them, or latents (see `ImageInput`). Without a height "
        "and width the images get its size, rounded down to a multiple of what a latent stands for.",
    )


@dataclass(frozen=True)
class FollowedImage:
    """A picture to follow, where there is none to start from."""

    image: ImageInput | None = argument(
        None,
        "the picture to follow, as the ControlNet was trained on: a PIL image, an array, or one per prompt. For "
        "several ControlNets a list with one each.",
    )


@dataclass(frozen=True)
class EditedImage:
    """A picture to edit."""

    image: ImageInput | None = argument(
        None,
        "the picture to edit: a PIL image, an array, a list of them, or latents as they are encoded, without "
        "``scaling_factor``. Without a height and width the images get its size.",
    )


@dataclass(frozen=True)
class Mask:
    """What of it is drawn anew."""

    mask_image: ImageInput | None = argument(
        None, "white (above 0.5) is drawn anew, black is kept. It is stretched to the picture's size."
    )


@dataclass(frozen=True)
class MaskedLatents:
    """The picture without it."""

    masked_image_latents: Array | None = argument(
        None,
        "the encoded picture without the masked part, for networks of nine channels, if it is not to be computed.",
        checks.check_array,
    )


@dataclass(frozen=True)
class ControlImage:
    """A picture to follow, beside one to start from."""

    control_image: ImageInput | None = argument(
        None, "the picture to follow; for several ControlNets a list with one each."
    )


@dataclass(frozen=True)
class Depths:
    """How far away things are."""

    depth_map: Array | None = argument(
        None,
        "how near things are, (pictures, height, width), of any size and scale; more is nearer. It is brought to the "
        "size of the latents and to [-1, 1].",
    )


@dataclass(frozen=True)
class Crop:
    """A part of a picture."""

    padding_mask_crop: int | None = argument(
        None,
        "draw only the rectangle around the mask, larger by this many pixels on each side, at the full size, and put "
        "it back into the picture: small parts get more detail. Takes and gives PIL images.",
    )


@dataclass(frozen=True)
class Strength:
    """How far from the picture."""

    strength: float = argument(
        0.8,
        "how much of the picture, or of its masked part, is drawn anew, above 0 to 1: the last part ``strength`` of "
        "the steps is run.",
        checks.check_strength,
    )


@dataclass(frozen=True)
class DenoisingStart:
    """Where another pipeline stopped."""

    denoising_start: float | None = argument(
        None,
        "the part of the way, between 0 and 1, that ``image`` (latents) has behind it, as the base network left it at "
        "its ``denoising_end``; no noise is added then, and ``strength`` has no effect.",
    )


@dataclass(frozen=True)
class Following:
    """How to follow a ControlNet's picture."""

    controlnet_conditioning_scale: Scales = argument(
        1.0, "how much the picture counts; for several ControlNets a list with one each."
    )
    guess_mode: bool = argument(
        False,
        "let the ControlNet see the text's half of guidance alone, and its upper stages count less: it then recognises "
        "what is in the picture even without a text; a guidance scale of 3 to 5 suits it.",
    )
    control_guidance_start: Scales = argument(
        0.0,
        "with ``control_guidance_end`` the part of the steps, from 0 to 1, that follows the picture; the others cost "
        "nothing more than a step without a ControlNet.",
    )
    control_guidance_end: Scales = argument(1.0, "see ``control_guidance_start``.")


@dataclass(frozen=True)
class Fill:
    """What is under a mask."""

    mask_fill: MaskFill = argument(
        "original",
        'what shows through at a strength below 1: the "original"; "blur", blurred colours of what is around the mask '
        '(takes PIL images); "noise" or "nothing" (zeros) in the latents.',
        checks.check_mask_fill,
    )


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageCall(Ending, SampledFromImage, OwnSteps, Strength, Image, Prompt):
    """A text and a picture to images."""


@dataclass(frozen=True)
class DepthCall(Ending, Shown, BothEmbeds, Sampled, Steps, Strength, Depths, Image, Prompt):
    """The same, keeping how far away things are."""


@dataclass(frozen=True)
class EditCall(
    Adapters,
    Callbacks,
    Output,
    BothEmbeds,
    Latents,
    Generator,
    Eta,
    Count,
    Negative,
    ImageGuidance,
    GuidanceScale,
    Steps,
    EditedImage,
    Prompt,
):
    """An instruction and a picture to images."""

    num_inference_steps: int = 100
    image_guidance_scale: float = 1.5


@dataclass(frozen=True)
class MaskCall(Fill, Ending, SampledFromNoise, OwnSteps, Strength, Crop, Size, MaskedLatents, Mask, Image, Prompt):
    """A text, a picture and a mask to images."""

    strength: float = 1.0


@dataclass(frozen=True)
class ControlCall(Ending, Following, SampledFromNoise, OwnSteps, Size, FollowedImage, Prompt):
    """A text and a picture to follow to images."""


@dataclass(frozen=True)
class ControlImageCall(Ending, Following, SampledFromImage, Steps, Strength, Size, ControlImage, Image, Prompt):
    """A text, a picture to start from and one to follow to images."""

    controlnet_conditioning_scale: Scales = 0.8


@dataclass(frozen=True)
class ControlMaskCall(
    Fill, Ending, Following, SampledFromNoise, Steps, Strength, Crop, Size, ControlImage, Mask, Image, Prompt
):
    """A text, a picture, a mask and a picture to follow to images."""

    strength: float = 1.0
    controlnet_conditioning_scale: Scales = 0.5


@dataclass(frozen=True)
class PictureArguments(
    Fill, Following, DenoisingStart, Strength, Crop, ControlImage, Depths, MaskedLatents, Mask, Image, Arguments
):
    """What a call has been asked, whatever its task."""
