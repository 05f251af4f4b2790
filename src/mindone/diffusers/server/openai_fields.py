"""The supported fields of OpenAI's images API, and ours. The server refuses others by name."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ..jobs.job import SchedulerName, check_prompt
from .asked import AskedFields
from .refusals import Refusal
from .request import LARGEST_SEED, Count

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


class ImageFields(AskedFields):
    """The fields of both endpoints."""

    prompt: Annotated[str, Field(description="What to generate.")]
    model: Annotated[
        str | None, Field(description="A model listed by GET /v1/models; by default the profile's, or the first one.")
    ] = None
    n: Annotated[Count, Field(description="How many images; image i has the seed plus i.")] = 1
    size: Annotated[str, Field(description="WIDTHxHEIGHT, or auto for the model's size.")] = "auto"
    response_format: Literal["b64_json"] = "b64_json"
    stream: Annotated[bool, Field(description="Answer with server-sent events, previews among them.")] = False
    partial_images: Annotated[int, Field(ge=0, le=100, description="How many previews to send while generating.")] = 0
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Annotated[
        int | None, Field(ge=0, le=100, description="The quality of jpeg and webp, from 0 to 100; 90 by default.")
    ] = None
    background: Literal["auto", "opaque"] = "auto"
    quality: Annotated[
        Literal["auto", "standard", "hd", "low", "medium", "high"],
        Field(description="No effect: there is one quality."),
    ] = "auto"
    style: Annotated[Literal["vivid"], Field(description="No effect: describe the style in the prompt.")] = "vivid"
    moderation: Literal["auto", "low"] = "auto"
    user: Annotated[str | None, Field(description="Ignored.")] = None
    safety_identifier: Annotated[str | None, Field(description="Ignored.")] = None

    negative_prompt: Annotated[
        str | None, Field(description="What to avoid. Not in OpenAI's API, like the fields below.")
    ] = None
    seed: Annotated[
        int | None, Field(ge=0, le=LARGEST_SEED, description="The same seed gives the same image; random by default.")
    ] = None
    steps: Annotated[Count | None, Field(description="Denoising steps; the model's by default.")] = None
    guidance_scale: Annotated[
        float | None,
        Field(ge=0, le=100, description="How closely to follow the prompt, from 0 to 100; the model's by default."),
    ] = None
    true_cfg_scale: Annotated[
        float | None,
        Field(ge=0, le=100, description="For FLUX.1: guidance away from the negative prompt, in twice the time."),
    ] = None
    scheduler: Annotated[
        SchedulerName | None, Field(description="The scheduler's short name; the model's own scheduler by default.")
    ] = None
    prompt_weights: Annotated[
        bool, Field(description="Read (cat:1.3), [cat] and BREAK like AUTOMATIC1111, and prompts of any length.")
    ] = False
    profile: Annotated[str | None, Field(description="A speed profile listed by GET /v1/models.")] = None
    controlnet: Annotated[str | None, Field(description="A ControlNet listed by GET /v1/models.")] = None
    control_kind: Annotated[
        Literal["canny", "image"],
        Field(description="What the ControlNet sees: the picture's edges (canny) or the picture itself (image)."),
    ] = "canny"
    control_scale: Annotated[float, Field(ge=0, le=2, description="How closely to follow the picture.")] = 1.0
    progress: Annotated[bool, Field(description="With stream: send an event after every step.")] = False

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, size: str) -> str:
        if size != "auto" and not _SIZE.fullmatch(size):
            raise ValueError("must be WIDTHxHEIGHT in pixels, such as 512x512, or auto")
        return size

    @model_validator(mode="after")
    def _draws_something(self) -> ImageFields:
        try:
            check_prompt(self.prompt)
        except ValueError as error:
            raise Refusal(422, str(error), "prompt") from None
        return self

    @model_validator(mode="after")
    def _go_together(self) -> ImageFields:
        for name in ("partial_images", "progress"):
            if getattr(self, name) and not self.stream:
                raise Refusal(422, f"{name} needs stream", name)
        if self.output_compression not in (None, 100) and self.output_format == "png":
            raise Refusal(422, "output_compression is for the output_format jpeg or webp", "output_compression")
        return self

    def job_fields(self) -> dict[str, object]:
        """The fields of a job."""
        found = _SIZE.fullmatch(self.size)
        width, height = (int(found[1]), int(found[2])) if found else (None, None)
        names = ("prompt", "negative_prompt", "seed", "steps", "guidance_scale", "true_cfg_scale", "scheduler")
        own = {"num_images": self.n, "width": width, "height": height, "prompt_weights": self.prompt_weights}
        return {**{name: getattr(self, name) for name in names}, **own}


class GenerationFields(ImageFields):
    """The fields of text to image; the body itself contains a picture to follow."""

    upscale: Annotated[float | None, Field(gt=1, le=4, description="Enlarge the image by this factor.")] = None
    strength: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="With upscale: how much a second pass may change; without it, upscale only sharpens edges.",
        ),
    ] = None
    control_image: Annotated[str | None, Field(description="A picture in base64 for controlnet.")] = None

    @model_validator(mode="after")
    def _strength_has_a_picture(self) -> GenerationFields:
        if self.strength is not None and self.upscale is None:
            raise Refusal(422, "strength needs upscale here; to start from a picture, use /v1/images/edits", "strength")
        return self

    def job_fields(self) -> dict[str, object]:
        """The fields of a job."""
        return {**super().job_fields(), "upscale": self.upscale, "strength": self.strength}


class EditFields(ImageFields):
    """The fields of an edit besides its pictures."""

    input_fidelity: Annotated[Literal["low"], Field(description="No effect: strength sets how much to keep.")] = "low"
    strength: Annotated[
        float | None,
        Field(gt=0, le=1, description="How much of the picture may change."),
    ] = None

    def job_fields(self) -> dict[str, object]:
        """The fields of a job."""
        return {**super().job_fields(), "strength": self.strength}


JOB_NAMES = {"num_images": "n", "height": "size", "width": "size"}
"""This API's names of a job's fields."""
