"""What a call may ask for: one frozen dataclass per task, from which the published ``__call__``s are made.

Each argument is declared once, with its type, default, help and check, in a group of those that belong together. A task
is its groups, and what it changes of their defaults. Python collects the fields of a dataclass from its last base to
its first: read from the bottom up, the bases of a task are the published order of its arguments.

`Arguments` is what the stages of drawing get, whatever the task; what a task does not have keeps its default there.
Tasks with pictures are in `picture_calls`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from ..adapters.image_prompts import ImageEmbeds, ImagePrompts
from ..engines import Array
from ..schedulers.base import Generators
from ..utils.finite import all_finite
from ..utils.nearest import nearest
from . import checks
from .absent import CALLS
from .callbacks import OlderCallback, StepCallback
from .loop import Interval

T = TypeVar("T")

Texts: TypeAlias = str | list[str] | None


def argument(default: T, help: str, check: Callable[[str, T], None] | None = None) -> T:
    """A field of a call.

    Args:
        default: its value where a call does not name it.
        help: what it means, for the call's docstring.
        check: given the argument's name and value, raises ValueError where it cannot be.
    """
    declared: T = field(default=default, metadata={"help": help, "check": check})
    return declared


def declared(task: Callable[..., Any], name: str) -> Mapping[str, Any]:
    """What `argument` says of an argument, where a task has no more than another default for it."""
    found = (vars(cls).get("__dataclass_fields__", {}).get(name) for cls in getattr(task, "__mro__", ()))
    return next((each.metadata for each in found if each is not None and each.metadata), {})


# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """What to draw."""

    prompt: Texts = argument(None, "what to draw: a text, or a list of them.")


@dataclass(frozen=True)
class Size:
    """Of the images."""

    height: int | None = argument(
        None, "pixels; by default what the network was trained on, or the size of the picture to follow or start from."
    )
    width: int | None = argument(None, "pixels, as ``height``.")


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
        checks.check_number,
    )


@dataclass(frozen=True)
class ImageGuidance:
    """How closely to follow a picture that is edited."""

    image_guidance_scale: float | None = argument(
        None,
        "how closely to follow the picture, from 1; below 1 there is no guidance.",
        checks.check_number,
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

    latents: Array | None = argument(
        None,
        "noise of your own, standard normal, (images, channels, height / 8, width / 8); where a picture is started "
        "from, noisy latents to go on from instead.",
    )


@dataclass(frozen=True)
class Embeds:
    """Instead of a text."""

    prompt_embeds: Array | None = argument(None, "text embeddings instead of texts, (prompts, tokens, channels).")


@dataclass(frozen=True)
class NegativeEmbeds:
    """Instead of a negative text."""

    negative_prompt_embeds: Array | None = argument(None, "the same for the negative prompts.")


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
class OutputType:
    """What images are."""

    output_type: str = argument(
        "pil", '"pil", "np" (float32 in [0, 1], (images, height, width, 3)) or "latent".', checks.check_output_type
    )


@dataclass(frozen=True)
class ReturnDict:
    """What they come in."""

    return_dict: bool = argument(True, "False gives a plain tuple.")


@dataclass(frozen=True)
class Output(ReturnDict, OutputType):
    """What comes out."""


@dataclass(frozen=True)
class Adapters:
    """For LoRAs."""

    cross_attention_kwargs: Mapping[str, object] | None = argument(
        None, '``{"scale": 0.5}`` for this call has LoRAs that are not fused count half as much.'
    )


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
class SampledFromImage(Shown, PicturePrompts, BothEmbeds, Sampled):
    """From guidance to what comes out, for tasks that take no noise of the user's own."""


@dataclass(frozen=True)
class SampledFromNoise(Shown, PicturePrompts, BothEmbeds, Latents, Sampled):
    """From guidance to what comes out."""


@dataclass(frozen=True)
class Ending(GuidedPart, Callbacks, ClipSkip):
    """What most tasks end with."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextCall(Ending, Rescale, SampledFromNoise, OwnSteps, Size, Prompt):
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
    negative_prompt_embeds: Array | None = argument(
        None, "must be None, as ``negative_prompt``.", checks.check_no_negative
    )


@dataclass(frozen=True)
class Arguments(
    Ending,
    Rescale,
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
    OwnSteps,
    OriginalSteps,
    Size,
    Prompt,
):
    """What a call of any task has been asked; with pictures it is `picture_calls.PictureArguments`."""

    @property
    def adapter_options(self) -> Mapping[str, object] | None:
        """How LoRAs count, under the family's name for it."""
        return self.cross_attention_kwargs

    @property
    def guidance(self) -> tuple[float | None, float, Interval, float | None]:
        """How much texts and pictures count, and where: what `Pipeline.begin` takes."""
        return self.guidance_scale, self.guidance_rescale, self.guidance_interval, self.image_guidance_scale

    @property
    def layout_options(self) -> dict[str, object]:
        """What the scheduler gets to lay out steps with, besides their number or the user's own."""
        steps = self.original_inference_steps
        return {} if steps is None else {"original_inference_steps": steps}

    def count_images(self) -> int:
        """How many images are asked for.

        Raises:
            ValueError: texts or embeddings that cannot be.
        """
        embeds = (self.prompt_embeds, self.negative_prompt, self.negative_prompt_embeds)
        return checks.check_prompts(self.prompt, *embeds) * self.num_images_per_prompt


# ---- what was asked --------------------------------------------------------------------------------------------------


def asked(
    task: Callable[..., object],
    name: str,
    usual: Mapping[str, Any],
    positional: Sequence[Any],
    named: Mapping[str, Any],
) -> dict[str, Any]:
    """All arguments of a call: those that were given, those that are ``usual``, and the task's defaults; checked.

    The older ``callback`` and ``callback_steps`` become ``callback_on_step_end``. A task whose defaults depend on what
    else is given has a method ``implied``, which says so of the arguments that are.

    Args:
        task: the dataclass of the call.
        name: the call's, for messages.

    Raises:
        TypeError: an argument that the task does not have; the nearest one is named. Or too many, or one twice.
        ValueError: one that cannot be.
    """
    signature, named = inspect.signature(task), dict(named)
    callback, every = named.pop("callback", None), named.pop("callback_steps", None)
    for keyword in named:
        if keyword not in signature.parameters:
            known = [*signature.parameters]
            meant = CALLS.get(keyword) or nearest(keyword, known) or f"it has {', '.join(known)}"
            raise TypeError(f"{name} has no argument {keyword!r}; {meant}")
    try:
        given = signature.bind_partial(*positional, **named).arguments
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None
    if callback is not None:
        newer = given.get("callback_on_step_end")
        given["callback_on_step_end"] = OlderCallback(callback, 1 if every is None else every, newer)
    own = {each: value for each, value in usual.items() if each in signature.parameters}
    implied = getattr(task, "implied", None)
    values = vars(task(**{**own, **(implied({**own, **given}) if implied else {}), **given}))
    for argument_name, value in values.items():
        if check := declared(task, argument_name).get("check"):
            check(argument_name, value)
    return all_finite(values)
