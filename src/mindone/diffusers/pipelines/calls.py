"""What a call may ask for: one frozen dataclass per task, from which the published ``__call__``s are made.

Each argument is declared once, with its type, default, help and check, in a group of those that belong together. A task
is its groups, and what it changes of their defaults. Python collects the fields of a dataclass from its last base to
its first: read from the bottom up, the bases of a task are the published order of its arguments.

`Arguments` has them all. It is what the stages of drawing get, whatever the task; what a task does not have keeps its
default there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from ..adapters.image_prompts import ImageEmbeds, ImagePrompts
from ..engines import Array
from ..schedulers.base import Generators
from . import checks
from .image_processor import ImageInput
from .mask_fills import MaskFill
from .run import Interval, StepCallback

T = TypeVar("T")

Texts: TypeAlias = str | list[str] | None
Scales: TypeAlias = float | Sequence[float]
"""One number, or one per ControlNet."""


def argument(default: T, help: str, check: Callable[[str, T], None] | None = None) -> T:
    """A field of a call.

    Args:
        default: its value where a call does not name it.
        help: what it means, for the call's docstring.
        check: given the argument's name and value, raises ValueError where it cannot be.
    """
    declared: T = field(default=default, metadata={"help": help, "check": check})
    return declared


# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """What to draw."""

    prompt: Texts = argument(None, "what to draw: a text, or a list of them.")


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

    masked_image_latents: Array = argument(
        None,
        "the encoded picture without the masked part, for networks of nine channels, if it is not to be computed.",
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

    depth_map: Array = argument(
        None,
        "how near things are, (pictures, height, width), of any size and scale; more is nearer. It is brought to the "
        "size of the latents and to [-1, 1].",
    )


@dataclass(frozen=True)
class Size:
    """Of the images."""

    height: int | None = argument(
        None, "pixels; by default what the network was trained on, or the size of the picture to follow or start from."
    )
    width: int | None = argument(None, "pixels, as ``height``.")


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
class Steps:
    """From noise to image."""

    num_inference_steps: int = argument(
        50,
        "denoising steps; more is slower and, up to a point, better. By default what a profile that is on or the "
        "checkpoint's ``generation_config.json`` says.",
    )


@dataclass(frozen=True)
class Timesteps:
    """Steps of one's own."""

    timesteps: list[int] | None = argument(
        None, "steps of your own instead of ``num_inference_steps``, for schedulers that take them."
    )


@dataclass(frozen=True)
class Sigmas:
    """The same as noise levels."""

    sigmas: list[float] | None = argument(None, "the same as noise levels, σ.")


@dataclass(frozen=True)
class OriginalSteps:
    """Of a latent consistency model."""

    original_inference_steps: int | None = argument(
        None, "the distillation's steps, from which the run's are chosen; by default the scheduler's own, 50."
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
class DenoisingEnd:
    """Where another pipeline goes on."""

    denoising_end: float | None = argument(
        None, 'a part of the way, between 0 and 1, to stop at; with output_type "latent", for a refiner.'
    )


@dataclass(frozen=True)
class GuidanceScale:
    """How closely to follow the text."""

    guidance_scale: float | None = argument(
        None,
        "how closely to follow the prompt; at 1 or less there is no guidance, in half the time. By default what the "
        "checkpoint's ``generation_config.json`` says, and the pipeline's ``default_guidance_scale`` where there is "
        "none.",
    )


@dataclass(frozen=True)
class ImageGuidance:
    """How closely to follow a picture that is edited."""

    image_guidance_scale: float | None = argument(
        None, "how closely to follow the picture, from 1; below 1 there is no guidance."
    )


@dataclass(frozen=True)
class Negative:
    """What not to draw."""

    negative_prompt: Texts = argument(None, "what to avoid, under guidance. A single text serves all prompts.")


@dataclass(frozen=True)
class Count:
    """How many."""

    num_images_per_prompt: int = argument(1, "images of each prompt.", checks.check_count)


@dataclass(frozen=True)
class Eta:
    """How much noise steps add."""

    eta: float = argument(
        0.0, "η of DDIM (Song et al. 2021, eq. 16), or γ of TCD. Other schedulers have no use for it."
    )


@dataclass(frozen=True)
class Generator:
    """Where noise comes from."""

    generator: Generators = argument(
        None, "where noise comes from: one ``np.random.Generator``, or a list of one per image."
    )


@dataclass(frozen=True)
class Latents:
    """Noise of one's own."""

    latents: Array = argument(
        None,
        "noise of your own, standard normal, (images, channels, height / 8, width / 8); where a picture is started "
        "from, noisy latents to go on from instead.",
    )


@dataclass(frozen=True)
class Embeds:
    """Instead of a text."""

    prompt_embeds: Array = argument(None, "text embeddings instead of texts, (prompts, tokens, channels).")


@dataclass(frozen=True)
class NegativeEmbeds:
    """Instead of a negative text."""

    negative_prompt_embeds: Array = argument(None, "the same for the negative prompts.")


@dataclass(frozen=True)
class PicturePrompts:
    """Pictures for IP-Adapters."""

    ip_adapter_image: ImagePrompts = argument(
        None,
        "a PIL image to follow, for pipelines with an IP-Adapter; a list with one for each of several adapters, where "
        "a list in the list is several images for one.",
    )
    ip_adapter_image_embeds: ImageEmbeds = argument(
        None, "what `prepare_ip_adapter_image_embeds` made of such images, instead of them."
    )


@dataclass(frozen=True)
class Output:
    """What comes out."""

    output_type: str = argument(
        "pil", '"pil", "np" (float32 in [0, 1], (images, height, width, 3)) or "latent".', checks.check_output_type
    )
    return_dict: bool = argument(True, "False gives a plain tuple.")


@dataclass(frozen=True)
class Adapters:
    """For LoRAs."""

    cross_attention_kwargs: Mapping[str, object] | None = argument(
        None, '``{"scale": 0.5}`` for this call has LoRAs that are not fused count half as much.'
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
class Rescale:
    """Against guidance's high contrast."""

    guidance_rescale: float = argument(
        0.0, "φ of Lin et al. 2023, eq. 16; 0.7 suits v-prediction with zero terminal signal."
    )


@dataclass(frozen=True)
class ClipSkip:
    """Layers of the text encoder."""

    clip_skip: int | None = argument(None, "how many of the text encoder's last layers to leave out.")


@dataclass(frozen=True)
class Callbacks:
    """What watches the run."""

    callback_on_step_end: StepCallback | None = argument(
        None,
        "called as ``callback(pipe, step, timestep, tensors)`` after every step; the dict that it returns replaces "
        "these tensors. It may set ``pipe.interrupt`` or ``pipe.guidance_scale``.",
    )
    callback_on_step_end_tensor_inputs: Sequence[str] = argument(
        ("latents",),
        "what ``tensors`` holds, of ``pipe.callback_tensors``. Under guidance, ``prompt_embeds`` is the batch that the "
        "network gets: the negative rows, then the others.",
    )


@dataclass(frozen=True)
class GuidedPart:
    """Which steps are guided."""

    guidance_interval: Interval = argument(
        (0.0, 1.0),
        "the part of the steps, from 0 to 1, that is guided (Kynkäänniemi et al. 2024); the others run the prompt "
        "alone, in half the time.",
        checks.check_interval,
    )


@dataclass(frozen=True)
class Fill:
    """What is under a mask."""

    mask_fill: MaskFill = argument(
        "original",
        'what shows through at a strength below 1: the "original"; "blur", blurred colours of what is around the mask '
        '(takes PIL images); "noise" or "nothing" (zeros) in the latents.',
        checks.check_mask_fill,
    )


@dataclass(frozen=True)
class OwnSteps(Sigmas, Timesteps, Steps):
    """A number of steps, or steps of one's own."""


@dataclass(frozen=True)
class Sampled(Generator, Eta, Count, Negative, GuidanceScale):
    """What every task has in the middle."""


@dataclass(frozen=True)
class BothEmbeds(NegativeEmbeds, Embeds):
    """Embeddings of texts, of both signs."""


@dataclass(frozen=True)
class Shown(Adapters, Output):
    """What comes out, and how LoRAs count."""


@dataclass(frozen=True)
class Ending(GuidedPart, Callbacks, ClipSkip):
    """What most tasks end with."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextCall(Ending, Rescale, Shown, PicturePrompts, BothEmbeds, Latents, Sampled, OwnSteps, Size, Prompt):
    """A text to images."""


@dataclass(frozen=True)
class LatentConsistencyCall(
    GuidedPart,
    NegativeEmbeds,
    Negative,
    Eta,
    Sigmas,
    Callbacks,
    ClipSkip,
    Shown,
    PicturePrompts,
    Embeds,
    Latents,
    Generator,
    Count,
    GuidanceScale,
    Timesteps,
    OriginalSteps,
    Steps,
    Size,
    Prompt,
):
    """A text to images, with the arguments that latent consistency models are published with."""

    num_inference_steps: int = 4
    negative_prompt: Texts = argument(
        None, "must be None: the network was distilled with guidance against the empty text.", checks.check_no_negative
    )
    negative_prompt_embeds: Array = argument(None, "must be None, as ``negative_prompt``.", checks.check_no_negative)


@dataclass(frozen=True)
class ImageCall(Ending, Shown, PicturePrompts, BothEmbeds, Sampled, OwnSteps, Strength, Image, Prompt):
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
class MaskCall(
    Fill,
    Ending,
    Shown,
    PicturePrompts,
    BothEmbeds,
    Latents,
    Sampled,
    OwnSteps,
    Strength,
    Crop,
    Size,
    MaskedLatents,
    Mask,
    Image,
    Prompt,
):
    """A text, a picture and a mask to images."""

    strength: float = 1.0


@dataclass(frozen=True)
class ControlCall(
    Ending, Following, Shown, PicturePrompts, BothEmbeds, Latents, Sampled, OwnSteps, Size, FollowedImage, Prompt
):
    """A text and a picture to follow to images."""


@dataclass(frozen=True)
class ControlImageCall(
    Ending, Following, Shown, PicturePrompts, BothEmbeds, Sampled, Steps, Strength, Size, ControlImage, Image, Prompt
):
    """A text, a picture to start from and one to follow to images."""

    controlnet_conditioning_scale: Scales = 0.8


@dataclass(frozen=True)
class ControlMaskCall(
    Fill,
    Ending,
    Following,
    Shown,
    PicturePrompts,
    BothEmbeds,
    Latents,
    Sampled,
    Steps,
    Strength,
    Crop,
    Size,
    ControlImage,
    Mask,
    Image,
    Prompt,
):
    """A text, a picture, a mask and a picture to follow to images."""

    strength: float = 1.0
    controlnet_conditioning_scale: Scales = 0.5


@dataclass(frozen=True)
class Arguments(
    Fill,
    Ending,
    Rescale,
    Following,
    Shown,
    PicturePrompts,
    BothEmbeds,
    Latents,
    Generator,
    Eta,
    Count,
    Negative,
    ImageGuidance,
    GuidanceScale,
    DenoisingEnd,
    DenoisingStart,
    OwnSteps,
    OriginalSteps,
    Strength,
    Crop,
    Size,
    ControlImage,
    Depths,
    MaskedLatents,
    Mask,
    Image,
    Prompt,
):
    """What a call has been asked, whatever its task."""

    def count_images(self) -> int:
        """How many images are asked for.

        Raises:
            ValueError: texts or embeddings that cannot be.
        """
        embeds = (self.prompt_embeds, self.negative_prompt, self.negative_prompt_embeds)
        return checks.check_prompts(self.prompt, *embeds) * self.num_images_per_prompt
