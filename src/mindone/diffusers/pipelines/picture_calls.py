"""The arguments of calls with pictures: groups and tasks; see `calls`."""

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
        "the picture to start from: a PIL image, an array, a list of them, or latents (see `ImageInput`). Without a "
        "height and width the images get its size, rounded down to a multiple of a latent's size.",
    )


@dataclass(frozen=True)
class FollowedImage:
    """A picture to follow, without one to start from."""

    image: ImageInput | None = argument(
        None,
        "the picture to follow, of the kind that the ControlNet was trained on: a PIL image, an array, or one per "
        "prompt. For several ControlNets a list with one each.",
    )


@dataclass(frozen=True)
class EditedImage:
    """A picture to edit."""

    image: ImageInput | None = argument(
        None,
        "the picture to edit: a PIL image, an array, a list of them, or latents as encoded, without "
        "``scaling_factor``. Without a height and width the images get its size.",
    )


@dataclass(frozen=True)
class Mask:
    """What to repaint."""

    mask_image: ImageInput | None = argument(
        None, "white (above 0.5) is repainted, black is kept. The mask is stretched to the picture's size."
    )


@dataclass(frozen=True)
class MaskedLatents:
    """The picture without the masked part."""

    masked_image_latents: Array | None = argument(
        None,
        "the encoded picture without the masked part, for networks of nine channels; by default it is computed.",
        checks.check_array,
    )


@dataclass(frozen=True)
class ControlImage:
    """A picture to follow, in addition to one to start from."""

    control_image: ImageInput | None = argument(
        None, "the picture to follow; for several ControlNets a list with one each."
    )


@dataclass(frozen=True)
class Depths:
    """Depths."""

    depth_map: Array | None = argument(
        None,
        "how near things are, (pictures, height, width), in any size and scale; larger is nearer. It is resized to the "
        "latents and scaled to [-1, 1].",
    )


@dataclass(frozen=True)
class Crop:
    """Cropping to the mask."""

    padding_mask_crop: int | None = argument(
        None,
        "generate only the rectangle around the mask, larger by this many pixels on each side, at full size, and put "
        "it back into the picture: small parts get more detail. Takes and returns PIL images.",
        checks.check_padding,
    )


@dataclass(frozen=True)
class Strength:
    """How much of the picture to change."""

    strength: float = argument(
        0.8,
        "how much of the picture, or of its masked part, to repaint, above 0 to 1: the last fraction ``strength`` of "
        "the steps is run.",
        checks.check_strength,
    )


@dataclass(frozen=True)
class DenoisingStart:
    """Where another pipeline stopped."""

    denoising_start: float | None = argument(
        None,
        "the fraction of the run, between 0 and 1, that ``image`` (latents) has completed: the base network's "
        "``denoising_end``. No noise is added then, and ``strength`` has no effect.",
    )


@dataclass(frozen=True)
class Following:
    """How to follow a ControlNet's picture."""

    controlnet_conditioning_scale: Scales = argument(
        1.0, "how much the picture counts; for several ControlNets a list with one each."
    )
    guess_mode: bool = argument(
        False,
        "apply the ControlNet only to the text's half of guidance, with less weight for its upper stages: it "
        "recognises what is in the picture even without a text; a guidance scale of 3 to 5 suits it.",
        checks.check_flag,
    )
    control_guidance_start: Scales = argument(
        0.0,
        "with ``control_guidance_end`` the fraction of the steps, from 0 to 1, that follows the picture; the others "
        "cost nothing more than a step without a ControlNet.",
    )
    control_guidance_end: Scales = argument(1.0, "see ``control_guidance_start``.")


@dataclass(frozen=True)
class Fill:
    """What is under the mask."""

    mask_fill: MaskFill = argument(
        "original",
        'what shows through at a strength below 1: the "original"; "blur", blurred colours from around the mask '
        '(takes PIL images); "noise" or "nothing" (zeros) in the latents.',
        checks.check_mask_fill,
    )


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageCall(Ending, SampledFromImage, OwnSteps, Strength, Image, Prompt):
    """Image-to-image."""


@dataclass(frozen=True)
class DepthCall(Ending, Shown, BothEmbeds, Sampled, Steps, Strength, Depths, Image, Prompt):
    """Image-to-image that keeps depths."""


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
    """Editing of a picture by an instruction."""

    num_inference_steps: int = 100
    image_guidance_scale: float = 1.5


@dataclass(frozen=True)
class MaskCall(Fill, Ending, SampledFromNoise, OwnSteps, Strength, Crop, Size, MaskedLatents, Mask, Image, Prompt):
    """Inpainting."""

    strength: float = 1.0


@dataclass(frozen=True)
class ControlCall(Ending, Following, SampledFromNoise, OwnSteps, Size, FollowedImage, Prompt):
    """Text-to-image with a ControlNet."""


@dataclass(frozen=True)
class ControlImageCall(Ending, Following, SampledFromImage, Steps, Strength, Size, ControlImage, Image, Prompt):
    """Image-to-image with a ControlNet."""

    controlnet_conditioning_scale: Scales = 0.8


@dataclass(frozen=True)
class ControlMaskCall(
    Fill, Ending, Following, SampledFromNoise, Steps, Strength, Crop, Size, ControlImage, Mask, Image, Prompt
):
    """Inpainting with a ControlNet."""

    strength: float = 1.0
    controlnet_conditioning_scale: Scales = 0.5


@dataclass(frozen=True)
class PictureArguments(
    Fill, Following, DenoisingStart, Strength, Crop, ControlImage, Depths, MaskedLatents, Mask, Image, Arguments
):
    """The arguments of a call of any task."""
