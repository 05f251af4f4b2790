"""The fields of a job. A new field automatically becomes an option of the command line, PNG files and batches."""

import math
import os
import secrets
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from ..acceleration.solver import Solver
from ..acceleration.speedup import Cache
from ..acceleration.stack import Caches, Stack, caches_in_words, parse_caches
from ..pipelines.mask_fills import MaskFill
from ..schedulers.calibration_rows import check_rows, parse_rows
from ..schedulers.registry import SHORT_NAMES
from ..schedulers.short_names import listed
from ..utils.printable import shown
from .fields import Fields, OneOf, Option
from .loras import merged


def _as_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


MOST_PIXELS = 2**15
"""The longest side of an image."""
MOST_IMAGES = 10**5
"""The most images of one job."""
LARGEST_SEED = 2**64 - 1
LONGEST_PROMPT = 10**5
"""The most characters of a prompt."""
MOST_STEPS = 1000
LAST_TIMESTEP = 10**6
"""The most timesteps of any model's training."""
MOST_VALUES = 64
"""The most values of a field with several."""

SchedulerName = Annotated[str, OneOf(SHORT_NAMES, listed)]

PathOrId = Annotated[str, BeforeValidator(_as_text)]
"""A folder, the name of a bundled checkpoint, or a hub id."""

EngineName = Annotated[
    Literal["auto", "openvino", "mindspore"] | None,
    Field(description="The engine that runs the networks."),
    Option(unset="auto, or the environment variable MINDONE_ENGINE"),
]

_PATH = Option(metavar="PATH_OR_ID")

Revision = Annotated[
    str | None, Field(description="The branch, tag or commit of the model on the hub."), Option(metavar="NAME")
]
Variant = Annotated[
    str | None,
    Field(description='The variant of the model\'s weight files: "fp16" for ….fp16.safetensors.'),
    Option(metavar="NAME"),
]

TinyVae = Annotated[
    PathOrId | None, Field(description="Decode with this tiny autoencoder, such as madebyollin/taesd."), _PATH
]

Without = Annotated[
    tuple[str, ...],
    Field(
        max_length=MOST_VALUES,
        description="A component that the model can do without, which is then not loaded: text_encoder_3 leaves out "
        "Stable Diffusion 3's T5; repeat for several.",
    ),
    Option(metavar="COMPONENT"),
]

Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]
Dtype = Annotated[Precision, Field(description="The precision. Half precision is faster and takes less memory.")]

CONTROL_KINDS = ("canny", "image")
"""What a ControlNet can follow: a picture's edges (Canny 1986), or the picture itself."""


class PipelineKey(Fields):
    """The fields that determine the pipeline: jobs with equal keys can share a loaded one."""

    model: Annotated[
        PathOrId,
        Field(
            description="The model: a checkpoint's folder, a hub id such as stable-diffusion-v1-5/stable-diffusion-"
            "v1-5, the name of a checkpoint that comes with the package, or a FILE.safetensors or FILE.gguf of a whole "
            "pipeline."
        ),
        _PATH,
    ] = "icons"
    revision: Revision = None
    variant: Variant = None
    config: Annotated[
        str | None,
        Field(
            description="For a model that is one file: the checkpoint (a folder, a hub id, a bundled name) whose "
            "configs and tokenizers replace those derived from the file."
        ),
        _PATH,
    ] = None
    gguf: Annotated[
        PathOrId | None,
        Field(
            description="Take the denoiser's weights, in 2 to 8 bits, from this GGUF file or its address on the hub, "
            "and all else from the model, which is a folder or a hub id."
        ),
        Option(metavar="FILE.gguf"),
    ] = None
    tiny_vae: TinyVae = None
    without: Without = ()
    lora: Annotated[
        tuple[str, ...],
        Field(
            max_length=MOST_VALUES,
            description="A LoRA's file, folder or hub id, then a colon and its weight (1 by default), or two: for the "
            "text encoders and for the denoiser; repeat for several.",
        ),
        Option(metavar="PATH:WEIGHT"),
    ] = ()
    controlnet: Annotated[
        tuple[str, ...],
        Field(
            max_length=MOST_VALUES,
            description="A ControlNet's folder, hub id or FILE.safetensors, to go with --control; repeat for several.",
        ),
        _PATH,
    ] = ()
    dtype: Dtype = "float16"
    engine: EngineName = None
    int8: Annotated[
        bool,
        Field(description="Convert the denoising network to int8 while loading; `quantize` does so permanently."),
    ] = False
    int8_vae: Annotated[
        bool, Field(description="Decode in int8: convert the autoencoder while loading, a tiny one as well.")
    ] = False
    token_downsampling: Annotated[
        int | None,
        Field(
            ge=1,
            le=MOST_PIXELS,
            description="Attend to only every N-th row and column at the denoiser's largest level; N is usually 2.",
        ),
        Option(unset="all of them"),
    ] = None

    @model_validator(mode="after")
    def _loras_have_weights(self) -> "PipelineKey":
        merged(self.lora)
        return self


class Drawing(Fields):
    """How to generate, whatever the prompt; the model decides unset fields."""

    negative_prompt: Annotated[
        str | None,
        Field(max_length=LONGEST_PROMPT, description="What to avoid in the image."),
        Option(metavar="TEXT", argument="negative_prompt"),
    ] = None
    height: Annotated[
        int | None,
        Field(ge=1, le=MOST_PIXELS, description="In pixels."),
        Option(unset="the model's", argument="height"),
    ] = None
    width: Annotated[
        int | None,
        Field(ge=1, le=MOST_PIXELS, description="In pixels."),
        Option(unset="the model's", argument="width"),
    ] = None
    steps: Annotated[
        int | None,
        Field(ge=1, le=MOST_STEPS, description="Denoising steps: fewer are faster."),
        Option(unset="the pipeline's", argument="num_inference_steps"),
    ] = None
    last_timestep: Annotated[
        int | None,
        Field(
            ge=0,
            le=LAST_TIMESTEP,
            description="The timestep of the last step, out of 1000 in training; 20 to 50 make runs of few steps "
            "much better.",
        ),
        Option(unset="the scheduler's"),
    ] = None
    calibration: Annotated[
        tuple[str, ...],
        Field(
            max_length=MOST_STEPS,
            description="DPM-Solver++ steps with weights fitted to this model, one per step: `tune` "
            "writes them into profiles.",
        ),
        Option(metavar="TIMESTEP:WEIGHT:WEIGHT…"),
    ] = ()
    guidance_scale: Annotated[
        float | None,
        Field(description="How closely to follow the prompt; 1 switches guidance off."),
        Option(unset="the model's", argument="guidance_scale"),
    ] = None
    true_cfg_scale: Annotated[
        float | None,
        Field(
            ge=0,
            le=1000,
            description="For FLUX.1: how far to guide away from the negative prompt, beside the scale that is built "
            "in; above 1 a step takes twice the time.",
        ),
        Option(unset="not at all", argument="true_cfg_scale"),
    ] = None
    guidance_interval: Annotated[
        tuple[float, float] | None,
        Field(description="The part of the steps with guidance, from 0 to 1; the others take half the time."),
        Option(metavar="START,STOP", unset="all of them", argument="guidance_interval"),
    ] = None
    cache: Annotated[
        tuple[str, ...],
        Field(
            max_length=MOST_VALUES,
            description="A cache that skips work of the network, one of each kind, with optional numbers.",
        ),
        Option(metavar="NAME[:NUMBER…]", in_words=caches_in_words),
    ] = ()
    scheduler: Annotated[
        SchedulerName | None,
        Field(description="The scheduler (sampler)."),
        Option(metavar="NAME", unset="the model's"),
    ] = None
    eta: Annotated[
        float | None,
        Field(ge=0, le=1, description="How much fresh noise each step of DDIM or TCD adds."),
        Option(unset="none", argument="eta"),
    ] = None
    clip_skip: Annotated[
        int | None,
        Field(ge=0, le=1000, description="Skip this many of the text encoder's last layers."),
        Option(argument="clip_skip"),
    ] = None

    @model_validator(mode="after")
    def _no_contradictions(self) -> "Drawing":
        if self.guidance_interval is not None and not 0 <= self.guidance_interval[0] <= self.guidance_interval[1] <= 1:
            start, stop = self.guidance_interval
            raise ValueError(f"guidance_interval must run from 0 to 1 at most, in this order, got {start:g},{stop:g}")
        _ = self.caches  # parsed now, so that a mistake is the job's error
        if self.calibration:
            check_calibration(self.calibration, self.steps, self.scheduler, self.last_timestep)
        if self.guidance_scale is not None and self.guidance_scale <= 1 and self.true_cfg_scale is None:
            self._check_unguided(self.guidance_scale)
        return self

    def _check_unguided(self, guidance_scale: float) -> None:
        for text, cache in zip(self.cache, self.caches):
            if cache.kind == "guidance":
                raise ValueError(
                    f"cache {text} has no effect at guidance_scale {guidance_scale:g}, without guidance; "
                    "leave one of them out"
                )

    @property
    def caches(self) -> tuple[Cache, ...]:
        """The caches of ``cache``."""
        return parse_caches(self.cache)

    @property
    def stack(self) -> Stack:
        """The speed-ups to put on a pipeline for this job; without ``cache``, the network's own caches apply."""
        caches = [Caches(self.caches)] if self.cache else []
        return Stack([*caches, Solver(None, self.scheduler, self.last_timestep, self.calibration)])


def check_prompt(prompt: str) -> None:
    """Refuse a prompt without a word in it.

    Raises:
        ValueError: names the field and what to change.
    """
    if not prompt.strip():
        raise ValueError("prompt is empty; describe the image")


def check_calibration(
    calibration: tuple[str, ...], steps: int | None, scheduler: str | None, last_timestep: int | None
) -> None:
    """Refuse a wrong calibration, or one that contradicts other fields about steps.

    Raises:
        ValueError: names the field and what to change.
    """
    check_rows(parse_rows(calibration), LAST_TIMESTEP)
    if steps not in (None, len(calibration)):
        raise ValueError(f"calibration has {len(calibration)} steps and steps is {steps}; leave steps out")
    if scheduler not in (None, "dpm++"):
        raise ValueError(f"calibration is for the scheduler dpm++, got {shown(scheduler)}; leave scheduler out")
    if last_timestep is not None:
        raise ValueError("calibration sets the last timestep; leave last_timestep out")


class Job(Drawing, PipelineKey):
    """An image to generate. A missing seed is chosen at random once, so that every job can be repeated."""

    prompt: Annotated[str, Field(max_length=LONGEST_PROMPT, description="What to generate."), Option(argument="prompt")]
    prompt_weights: Annotated[
        bool,
        Field(description="Read (cat:1.3), [cat] and BREAK in prompts as in AUTOMATIC1111, and prompts of any length."),
    ] = False
    seed: Annotated[
        int,
        Field(
            ge=0, le=LARGEST_SEED, description="The same seed gives the same image; image i of several has seed + i."
        ),
        Option(unset="random"),
    ] = Field(default_factory=lambda: secrets.randbelow(2**32))
    num_images: Annotated[
        int,
        Field(ge=1, le=MOST_IMAGES, description="How many images to generate."),
        Option(argument="num_images_per_prompt"),
    ] = 1

    image: Annotated[
        PathOrId | None,
        Field(description="Start from this picture (a file or an address) instead of noise; it sets the image's size."),
        Option(metavar="FILE"),
    ] = None
    strength: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="How much to change the picture; with --upscale, in the second pass. 0 runs only the last "
            "step.",
        ),
        Option(unset="the pipeline's", argument="strength"),
    ] = None
    mask: Annotated[
        PathOrId | None,
        Field(description="Repaint the picture where this mask, stretched over it, is white; the rest stays."),
        Option(metavar="FILE"),
    ] = None
    mask_fill: Annotated[
        MaskFill | None,
        Field(
            description="What lies under the mask at a strength below 1: the original, the blurred colours "
            "around it, noise, or nothing."
        ),
        Option(unset="original", argument="mask_fill"),
    ] = None
    padding_mask_crop: Annotated[
        int | None,
        Field(
            ge=0,
            le=MOST_PIXELS,
            description="Generate only the rectangle around the mask, larger by this many pixels on each side, at full "
            "size, and put it back into the picture.",
        ),
        Option(metavar="PIXELS", unset="the whole picture", argument="padding_mask_crop"),
    ] = None
    control: Annotated[
        tuple[str, ...],
        Field(
            max_length=MOST_VALUES,
            description="Follow a picture, one for each --controlnet: canny=FILE its edges, image=FILE the picture as "
            "it is.",
        ),
        Option(metavar="KIND=FILE"),
    ] = ()
    control_scale: Annotated[
        tuple[float, ...],
        Field(max_length=MOST_VALUES, description="The weight of each --control picture."),
        Option(unset="the pipeline's", argument="controlnet_conditioning_scale"),
    ] = ()
    upscale: Annotated[
        float | None,
        Field(
            gt=1,
            le=8,
            description="Generate, enlarge the image by this factor, and sharpen its edges; with --strength, enlarge "
            "the latents and generate details from there.",
        ),
        Option(metavar="TIMES"),
    ] = None

    @model_validator(mode="after")
    def _prompts_can_be_read(self) -> "Job":
        if self.prompt_weights:
            from ..prompts.syntax import parse_prompt, refuse_composition  # only now: it imports an engine

            refuse_composition(self.prompt)
            parse_prompt(self.prompt)
            parse_prompt(self.negative_prompt or "", "negative_prompt")
        return self

    @model_validator(mode="after")
    def _pictures_go_together(self) -> "Job":
        if self.calibration and (self.image is not None or self.upscale is not None):
            raise ValueError("calibrated steps begin with noise; leave out calibration, or image and upscale")
        if self.mask is not None and self.image is None:
            raise ValueError("mask needs image, the picture to repaint")
        for name in ("mask_fill", "padding_mask_crop"):
            if getattr(self, name) is not None and self.mask is None:
                raise ValueError(f"{name} needs mask, which marks where to repaint")
        if self.upscale is not None and self.image is not None:
            raise ValueError(
                "upscale enlarges images generated from noise, not image; give height and width to resize image"
            )
        if self.strength is not None:
            self._check_strength(self.strength)
        if len(self.control) != len(self.controlnet):
            numbers = f"{len(self.control)} and {len(self.controlnet)}"
            raise ValueError(f"control and controlnet go in pairs, one picture for each network: got {numbers}")
        if self.control_scale and not self.control:
            raise ValueError("control_scale needs control, the picture whose weight it is")
        if self.control_scale and len(self.control_scale) != len(self.control):
            raise ValueError(
                f"control_scale must hold one number for each control, got {len(self.control_scale)} for "
                f"{len(self.control)}"
            )
        for each in self.control:
            kind, _, path = each.partition("=")
            if not path or kind not in CONTROL_KINDS:
                known = " or ".join(f"{kind}=FILE" for kind in CONTROL_KINDS)
                raise ValueError(f"control must be {known}, got {shown(each)}")
        return self

    def _check_strength(self, strength: float) -> None:
        if self.image is None and self.upscale is None:
            raise ValueError("strength needs image, the picture to start from, or upscale")
        if strength and self.steps is not None and int(self.steps * strength) < 1:
            least = math.ceil(1 / strength)
            raise ValueError(f"strength {strength:g} of {self.steps} steps leaves none; use at least {least} steps")

    @property
    def pictures(self) -> tuple[str, ...]:
        """The files and addresses of its input pictures."""
        named = (self.image, self.mask, *(each.partition("=")[2] for each in self.control))
        return tuple(path for path in named if path is not None)

    @property
    def pipeline_key(self) -> PipelineKey:
        """The fields that determine the pipeline; for LoRAs only the set counts, since each job has its own weights."""
        values = {name: getattr(self, name) for name in PipelineKey.model_fields}
        return PipelineKey(**{**values, "lora": tuple(lora.path for lora in merged(self.lora))})

    @property
    def seeds(self) -> list[int]:
        """The seeds, one per image."""
        return [self.seed + i for i in range(self.num_images)]

    @property
    def arguments(self) -> dict[str, object]:
        """The arguments of the pipeline's call, without unset fields."""
        named = {name: self.option(name).argument for name in type(self).model_fields}
        given = {argument: getattr(self, name) for name, argument in named.items() if argument}
        if self.calibration:
            given["num_inference_steps"] = len(self.calibration)
        return {argument: value for argument, value in given.items() if value not in (None, ())}
