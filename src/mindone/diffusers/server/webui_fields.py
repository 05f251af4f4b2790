"""The fields of the well-known web user interface's API.

Its clients send every field, most of them with the value that leaves things as they are. So a field that cannot be
honoured is refused unless it has such a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..utils.infotext import scheduler_of
from ..utils.types import Value
from .refusals import Refusal
from .request import LARGEST_SEED

_ANY_SWITCH = (True, False, None)

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "styles": ([], None),
    "subseed": (-1,),
    "subseed_strength": (0,),
    "seed_resize_from_h": (0, -1),
    "seed_resize_from_w": (0, -1),
    "restore_faces": (False, None),
    "tiling": (False, None),
    "do_not_save_samples": _ANY_SWITCH,  # nothing is saved here
    "do_not_save_grid": _ANY_SWITCH,
    "save_images": (False,),
    "send_images": (True,),
    "eta": (1, None),
    "s_min_uncond": (0, None),
    "s_churn": (0, None),
    "s_tmax": (0, None),
    "s_tmin": (0, None),
    "s_noise": (1, None),
    "override_settings_restore_afterwards": _ANY_SWITCH,  # a request's settings are its own
    "refiner_checkpoint": ("", None),
    "refiner_switch_at": (None,),
    "disable_extra_networks": (False,),
    "firstpass_image": (None,),
    "firstphase_width": (0,),
    "firstphase_height": (0,),
    "comments": ({}, None),
    "hr_second_pass_steps": (0,),
    "hr_resize_x": (0,),
    "hr_resize_y": (0,),
    "hr_checkpoint_name": ("", None),
    "hr_sampler_name": ("", None),
    "hr_scheduler": ("", None),
    "hr_prompt": ("", None),
    "hr_negative_prompt": ("", None),
    "force_task_id": ("", None),
    "script_name": ("", None),
    "script_args": ([], None),
    "alwayson_scripts": ({}, None),
    "infotext": ("", None),
    "resize_mode": (0,),
    "initial_noise_multiplier": (1, None),
    "image_cfg_scale": (1.5, None),  # for networks that are told two scales, of which there are none here
    "latent_mask": (None,),
    "mask_round": (True, None),
    "include_init_images": (False,),
}
"""Fields that change nothing at these values, and cannot be honoured at others."""


class Overrides(BaseModel):
    """The settings of that interface that a request may have for itself."""

    model_config = ConfigDict(extra="forbid")

    sd_model_checkpoint: str | None = None
    profile: Annotated[str | None, Field(description="Of our own: a speed that GET /v1/models lists.")] = None
    CLIP_stop_at_last_layers: Annotated[int, Field(ge=1, le=12)] = 1


class TextFields(BaseModel):
    """What both endpoints take."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    prompt: str = ""
    negative_prompt: str | None = ""
    seed: Annotated[int, Field(ge=-1, le=LARGEST_SEED)] = -1
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    batch_size: Annotated[int, Field(ge=1)] = 1
    n_iter: Annotated[int, Field(ge=1)] = 1
    steps: Annotated[int, Field(ge=1)] | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    width: Annotated[int, Field(ge=1)] | None = None
    height: Annotated[int, Field(ge=1)] | None = None
    override_settings: Overrides | None = None

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_ignored(cls, values: Value) -> Value:
        if not isinstance(values, dict):
            return values
        for name, neutral in NEUTRAL.items():
            if name in values and values[name] not in neutral:
                known = " or ".join(repr(each) for each in neutral)
                raise ValueError(f"{name} cannot be honoured here; leave it out, or at {known}")
        return {name: value for name, value in values.items() if name not in NEUTRAL}

    def job_fields(self) -> dict[str, object]:
        """The fields of a job.

        Raises:
            Refusal: an unknown sampler.
        """
        settings = self.override_settings or Overrides()
        return {
            "prompt": self.prompt,
            "prompt_weights": True,
            "negative_prompt": self.negative_prompt or None,
            "seed": None if self.seed == -1 else self.seed,
            "steps": self.steps,
            "guidance_scale": self.cfg_scale,
            "width": self.width,
            "height": self.height,
            "num_images": self.batch_size * self.n_iter,
            "scheduler": _scheduler(self.sampler_name or self.sampler_index, self.scheduler),
            "clip_skip": settings.CLIP_stop_at_last_layers - 1 or None,
        }


class Txt2Img(TextFields):
    """Text to image."""

    enable_hr: bool = False
    hr_scale: Annotated[float, Field(gt=1, le=4)] = 2.0
    hr_upscaler: str | None = "Latent"
    denoising_strength: Annotated[float, Field(ge=0, le=1)] | None = None

    def job_fields(self) -> dict[str, object]:
        """The fields of a job."""
        fields = super().job_fields()
        if not self.enable_hr:
            return fields
        if self.hr_upscaler not in ("Latent", None):
            raise Refusal(422, f"hr_upscaler must be 'Latent', got {self.hr_upscaler!r}", "hr_upscaler")
        return {**fields, "upscale": self.hr_scale, "strength": self.denoising_strength}


class Img2Img(TextFields):
    """Image to image, and inpainting."""

    init_images: Annotated[list[str], Field(min_length=1, max_length=1)]
    denoising_strength: Annotated[float, Field(gt=0, le=1)] = 0.75
    mask: str | None = None
    mask_blur: Annotated[int, Field(ge=0, le=64)] = 4
    inpainting_fill: Annotated[int, Field(ge=0, le=3)] = 1
    inpaint_full_res: bool = False
    inpaint_full_res_padding: Annotated[int, Field(ge=0)] = 0
    inpainting_mask_invert: Annotated[int, Field(ge=0, le=1)] = 0

    def job_fields(self) -> dict[str, object]:
        """The fields of a job."""
        if self.mask is not None and self.inpainting_fill != 1:
            raise Refusal(422, "inpainting_fill must be 1, the original picture", "inpainting_fill")
        if self.mask is not None and self.inpaint_full_res:
            raise Refusal(422, "inpaint_full_res must be false: the whole picture is drawn", "inpaint_full_res")
        return {**super().job_fields(), "strength": self.denoising_strength}


class Picture(BaseModel):
    """A PNG file in base64."""

    model_config = ConfigDict(extra="forbid")

    image: str


JOB_NAMES = {"num_images": "batch_size × n_iter", "guidance_scale": "cfg_scale", "strength": "denoising_strength"}
"""What this API calls a job's field."""


def _scheduler(sampler: str | None, schedule: str | None) -> str | None:
    """Our name of a sampler; None leaves it to the model."""
    if sampler is None:
        return None
    found = scheduler_of(sampler, (schedule or "automatic").capitalize())
    if found is None:
        told = f"{sampler[:80]!r}" + (f" with scheduler {schedule[:80]!r}" if schedule else "")
        raise Refusal(422, f"sampler_name {told} is not here; /sdapi/v1/samplers lists those that are", "sampler_name")
    return found
