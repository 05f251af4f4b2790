"""The arguments of calls: one frozen dataclass per task, from which the published ``__call__``s are made.

Each argument is declared once, with type, default, help and check, in a group of related arguments. A task is its
groups plus the defaults that it changes. Python collects the fields of a dataclass from its last base to its first:
read from the bottom up, a task's bases give the published order of its arguments.

The stages of a call get `Arguments`, whatever the task; arguments that a task lacks keep their defaults there. Tasks
with pictures are in `picture_calls`.
"""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from inspect import Parameter, Signature
from typing import Any, TypeAlias, TypeVar

from ..adapters.image_prompts import ImageEmbeds, ImagePrompts
from ..engines import Array
from ..schedulers.base import Generators
from ..utils.finite import all_finite, python_numbers
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
        default: its value if a call does not set it.
        help: its description, for the call's docstring.
        check: given the argument's name and value, raises ValueError if the value is wrong.
    """
    declared: T = field(default=default, metadata={"help": help, "check": check})
    return declared


def declared(task: Callable[..., Any], name: str) -> Mapping[str, Any]:
    """The declaration by `argument`, also if a task only changes the default."""
    found = (vars(cls).get("__dataclass_fields__", {}).get(name) for cls in getattr(task, "__mro__", ()))
    return next((each.metadata for each in found if each is not None and each.metadata), {})


# ---- groups of arguments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prompt:
    """What to generate."""

    prompt: Texts = argument(None, "what to generate: a text, or a list of texts.")


@dataclass(frozen=True)
class Size:
    """The size of the images."""

    height: int | None = argument(
        None, "pixels; by default the size of the network's training, or of the picture to follow or start from."
    )
    width: int | None = argument(None, "pixels, as ``height``.")


@dataclass(frozen=True)
class Steps:
    """From noise to image."""

    num_inference_steps: int = argument(
        50,
        "denoising steps; more is slower and, up to a point, better. By default the value of the profile or the "
        "checkpoint's ``generation_config.json``.",
    )


@dataclass(frozen=True)
class Timesteps:
    """Your own steps."""

    timesteps: list[int] | None = argument(
        None, "your own steps instead of ``num_inference_steps``, for schedulers that take them."
    )


@dataclass(frozen=True)
class Sigmas:
    """Your own steps as noise levels."""

    sigmas: list[float] | None = argument(None, "your own steps as noise levels, σ.")


@dataclass(frozen=True)
class OriginalSteps:
    """The steps of a latent consistency model."""

    original_inference_steps: int | None = argument(
        None, "the distillation's steps, from which the run's are chosen; by default the scheduler's own, 50."
    )


@dataclass(frozen=True)
class DenoisingEnd:
    """Where another pipeline takes over."""

    denoising_end: float | None = argument(
        None, 'the fraction of the run, between 0 and 1, after which to stop; with output_type "latent", for a refiner.'
    )


@dataclass(frozen=True)
class GuidanceScale:
    """How closely to follow the text."""

    guidance_scale: float | None = argument(
        None,
        "how closely to follow the prompt; at 1 or less there is no guidance, and steps take half the time. By "
        "default the value of the checkpoint's ``generation_config.json``, or the pipeline's "
        "``default_guidance_scale`` if there is none.",
        checks.check_number,
    )


@dataclass(frozen=True)
class ImageGuidance:
    """How closely to follow the edited picture."""

    image_guidance_scale: float | None = argument(
        None,
        "how closely to follow the picture, 1 or more; below 1 there is no guidance.",
        checks.check_number,
    )


@dataclass(frozen=True)
class Negative:
    """What to avoid."""

    negative_prompt: Texts = argument(None, "what to avoid; needs guidance. A single text applies to all prompts.")


@dataclass(frozen=True)
class Count:
    """How many images."""

    num_images_per_prompt: int = argument(1, "images per prompt.", checks.check_count)


@dataclass(frozen=True)
class Eta:
    """How much noise steps add."""

    eta: float = argument(
        0.0, "η of DDIM (Song et al. 2021, eq. 16), or γ of TCD. Other schedulers ignore it.", checks.check_number
    )


@dataclass(frozen=True)
class Generator:
    """Where noise comes from."""

    generator: Generators = argument(
        None, "the source of noise: one ``np.random.Generator``, or a list with one per image."
    )


@dataclass(frozen=True)
class Latents:
    """Your own noise."""

    latents: Array | None = argument(
        None,
        "your own noise, standard normal, (images, channels, height / 8, width / 8); if a picture is the "
        "start, noisy latents to go on from instead.",
    )


@dataclass(frozen=True)
class Embeds:
    """Embeddings instead of a text."""

    prompt_embeds: Array | None = argument(None, "text embeddings instead of texts, (prompts, tokens, channels).")


@dataclass(frozen=True)
class NegativeEmbeds:
    """Embeddings instead of a negative text."""

    negative_prompt_embeds: Array | None = argument(None, "the same for the negative prompts.")


@dataclass(frozen=True)
class PicturePrompts:
    """Pictures for IP-Adapters."""

    ip_adapter_image: ImagePrompts = argument(
        None,
        "a PIL image to follow, for pipelines with an IP-Adapter; for several adapters a list with one each, in which "
        "an inner list holds several images for one adapter.",
    )
    ip_adapter_image_embeds: ImageEmbeds = argument(
        None, "the result of `prepare_ip_adapter_image_embeds`, instead of images."
    )


@dataclass(frozen=True)
class OutputType:
    """The form of the images."""

    output_type: str = argument(
        "pil", '"pil", "np" (float32 in [0, 1], (images, height, width, 3)) or "latent".', checks.check_output_type
    )


@dataclass(frozen=True)
class ReturnDict:
    """The form of the output."""

    return_dict: bool = argument(True, "False returns a plain tuple.", checks.check_flag)


@dataclass(frozen=True)
class Output(ReturnDict, OutputType):
    """The form of the result."""


@dataclass(frozen=True)
class Adapters:
    """The scale of LoRAs."""

    cross_attention_kwargs: Mapping[str, object] | None = argument(
        None, '``{"scale": 0.5}`` halves the weight of unfused LoRAs in this call.'
    )


@dataclass(frozen=True)
class Rescale:
    """Against the high contrast of guidance."""

    guidance_rescale: float = argument(
        0.0, "φ of Lin et al. 2023, eq. 16; 0.7 suits v-prediction with zero terminal signal.", checks.check_number
    )


@dataclass(frozen=True)
class ClipSkip:
    """Skipped layers of the text encoder."""

    clip_skip: int | None = argument(None, "how many of the text encoder's last layers to skip.")


@dataclass(frozen=True)
class Callbacks:
    """Callbacks of the run."""

    callback_on_step_end: StepCallback | None = argument(
        None,
        "called as ``callback(pipe, step, timestep, tensors)`` after every step; the dict that it returns replaces "
        "these tensors. It may set ``pipe.interrupt`` or ``pipe.guidance_scale``.",
    )
    callback_on_step_end_tensor_inputs: Sequence[str] = argument(
        ("latents",),
        "the names in ``tensors``, from ``pipe.callback_tensors``. With guidance, ``prompt_embeds`` is the batch that "
        "the network gets: the negative rows, then the others.",
        checks.check_names,
    )


@dataclass(frozen=True)
class GuidedPart:
    """Which steps use guidance."""

    guidance_interval: Interval = argument(
        (0.0, 1.0),
        "the fraction of the steps, from 0 to 1, with guidance (Kynkäänniemi et al. 2024); the others run only the "
        "prompt, in half the time.",
        checks.check_interval,
    )


@dataclass(frozen=True)
class OwnSteps(Sigmas, Timesteps, Steps):
    """A number of steps, or your own steps."""


@dataclass(frozen=True)
class Sampled(Generator, Eta, Count, Negative, GuidanceScale):
    """The middle arguments of every task."""


@dataclass(frozen=True)
class BothEmbeds(NegativeEmbeds, Embeds):
    """Embeddings of positive and negative texts."""


@dataclass(frozen=True)
class Shown(Adapters, Output):
    """The form of the result, and the scale of LoRAs."""


@dataclass(frozen=True)
class SampledFromImage(Shown, PicturePrompts, BothEmbeds, Sampled):
    """From guidance to the result, for tasks that take no noise from the user."""


@dataclass(frozen=True)
class SampledFromNoise(Shown, PicturePrompts, BothEmbeds, Latents, Sampled):
    """From guidance to the result."""


@dataclass(frozen=True)
class Ending(GuidedPart, Callbacks, ClipSkip):
    """The last arguments of most tasks."""


# ---- tasks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TextCall(Ending, Rescale, SampledFromNoise, OwnSteps, Size, Prompt):
    """Text-to-image."""


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
    """Text-to-image, with the published arguments of latent consistency models."""

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
    """The arguments of a call of any task; with pictures they are `picture_calls.PictureArguments`."""

    @property
    def adapter_options(self) -> Mapping[str, object] | None:
        """The scale of LoRAs, under the family's name for it."""
        return self.cross_attention_kwargs

    @property
    def guidance(self) -> tuple[float | None, float, Interval, float | None]:
        """How much texts and pictures count, and where: what `Pipeline.begin` takes."""
        return self.guidance_scale, self.guidance_rescale or 0.0, self.guidance_interval, self.image_guidance_scale

    @property
    def layout_options(self) -> dict[str, object]:
        """Further arguments for the scheduler to lay out steps."""
        steps = self.original_inference_steps
        return {} if steps is None else {"original_inference_steps": steps}

    @property
    def negatives(self) -> list[str]:
        """The arguments with negative prompts: texts that are not empty, and embeddings."""
        names = sorted(name for name in vars(self) if re.fullmatch(r"negative_prompt(_\d|_embeds)?", name))
        return [name for name in names if _is_said(getattr(self, name))]

    def count_images(self) -> int:
        """The number of requested images.

        Raises:
            ValueError: texts or embeddings are wrong.
        """
        embeds = (self.prompt_embeds, self.negative_prompt, self.negative_prompt_embeds)
        further = {name: text for name, text in vars(self).items() if re.fullmatch(r"(negative_)?prompt_\d", name)}
        return checks.check_prompts(self.prompt, *embeds, **further) * self.num_images_per_prompt


def _is_said(value: object) -> bool:
    """Whether a negative prompt says anything: it is not None and has a text that is not empty."""
    return any(value) if isinstance(value, list) else value is not None and (not isinstance(value, str) or value != "")


# ---- reading a call --------------------------------------------------------------------------------------------------


def asked(
    task: Callable[..., object],
    name: str,
    usual: Mapping[str, Any],
    positional: Sequence[Any],
    named: Mapping[str, Any],
) -> dict[str, Any]:
    """All arguments of a call, checked: the given ones, the ``usual`` ones, and the task's defaults.

    The older ``callback`` and ``callback_steps`` become ``callback_on_step_end``. A task whose defaults depend on other
    arguments has a method ``implied``, which returns them for the given ones.

    Args:
        task: the dataclass of the call.
        name: the call's name, for messages.

    Raises:
        TypeError: the task lacks an argument (the message names the nearest), or there are too many, or one twice.
        ValueError: an argument is wrong.
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
    return python_numbers(all_finite(values))


def documented(call: Callable[..., object], task: Callable[..., object], returns: object) -> None:
    """Give a pipeline's ``__call__`` the arguments of its task, with their types, defaults and help."""
    signature = inspect.signature(task)
    parameters = [Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *signature.parameters.values()]
    call.__signature__ = Signature(parameters, return_annotation=returns)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters[1:]} | {"return": returns}
    call.__doc__ = _docstring(task, signature)


def _docstring(task: Any, signature: Signature) -> str:
    each = (_paragraph(f"{name}: {declared(task, name)['help']}") for name in signature.parameters)
    return "\n".join(
        [
            "Draw images.",
            "",
            "Args:",
            *each,
            "",
            "Returns:",
            "    Images and, if the pipeline may have a safety checker, its verdicts (None without one).",
            "",
            "Raises:",
            "    ValueError: an argument is wrong; raised before any network runs.",
            "    TypeError: the call has no such argument.",
        ]
    )


@cache
def _paragraph(text: str) -> str:
    """Wrapped once: most tasks have most arguments."""
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="        ")
