"""The fields of AUTOMATIC1111's API."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..schedulers.registry import SHORT_NAMES
from ..schedulers.short_names import flow_sampler, name_of_sampler, schedules_of
from .asked import AskedFields, Neutral
from .refusals import Refusal
from .request import LARGEST_SEED, Count

NEUTRAL: Neutral = MappingProxyType(
    {
        "do_not_save_samples": None,  # the server saves nothing, so fields about saving have no effect
        "do_not_save_grid": None,
        "save_images": None,
        "comments": None,
        "url": None,  # for the client's own server, if it uses one
        "auth": None,
        "force_task_id": None,
        "seed_resize_from_h": (0, -1),
        "seed_resize_from_w": (0, -1),
        "subseed": (-1,),
        "subseed_strength": (0,),
        "s_min_uncond": (0,),
        "s_churn": (0,),
        "s_tmax": (0,),
        "s_tmin": (0,),
        "s_noise": (1,),
        "refiner_switch_at": (),
        "hr_second_pass_steps": (0,),
        "hr_resize_x": (0,),
        "hr_resize_y": (0,),
        "hr_checkpoint_name": ("Use same checkpoint",),
        "hr_sampler_name": ("Use same sampler",),
        "hr_scheduler": ("Use same scheduler",),
        "firstphase_width": (0,),
        "firstphase_height": (0,),
        "initial_noise_multiplier": (1,),
        "image_cfg_scale": (1.5,),  # for networks with two scales, which the server does not support
        "mask_round": (True,),
        "tiling": (),
        "restore_faces": (),
        "styles": (),
        "script_name": (),
        "alwayson_scripts": (),
        "refiner_checkpoint": (),
    }
)
"""AUTOMATIC1111's unsupported fields with their harmless values; see `asked`."""

NEUTRAL_OPTIONS: Neutral = MappingProxyType(
    {
        "samples_save": None,
        "grid_save": None,
        "samples_format": ("png",),
        "live_previews_enable": None,
        "show_progress_every_n_steps": None,
        "return_grid": None,
        "persistent_cond_cache": None,
        "batch_cond_uncond": None,
        "cross_attention_optimization": None,
        "auto_vae_precision": None,
        "enable_pnginfo": (True,),
        "enable_emphasis": (True,),
        "enable_batch_seeds": (True,),
        "comma_padding_backtrack": (20,),
        "randn_source": ("GPU",),
        "sd_unet": ("Automatic", "None"),
        "sdxl_crop_top": (0,),
        "sdxl_crop_left": (0,),
        "sdxl_refiner_low_aesthetic_score": (2.5,),
        "sdxl_refiner_high_aesthetic_score": (6,),
        "sd_vae_encode_method": ("Full",),
        "sd_vae_decode_method": ("Full",),
        "img2img_background_color": ("#ffffff",),
        "extra_networks_default_multiplier": (1,),
        "face_restoration_model": None,  # without face restoration its options have no effect
        "code_former_weight": None,
        "eta_ancestral": (1,),
        "s_noise": (1,),
        "k_sched_type": ("Automatic",),
        "ddim_discretize": ("uniform",),
        "uni_pc_variant": ("bh1",),
        "uni_pc_skip_type": ("time_uniform",),
        "uni_pc_order": (3,),
        "uni_pc_lower_order_final": (True,),
        "tiling": (),
        "emphasis": ("Original",),
        "sd_vae": ("Automatic", "None"),
        "sd_hypernetwork": ("None",),
        "sd_lora": ("None",),
        "eta_noise_seed_delta": (0,),
        "initial_noise_multiplier": (1,),
        "inpainting_mask_weight": (1,),
        "token_merging_ratio": (0,),
    }
)
"""The same for its options, which are harmless at AUTOMATIC1111's defaults."""

_SIDES = 8
"""AUTOMATIC1111 rounds sides down to multiples of this."""


class Overrides(AskedFields):
    """The supported options of AUTOMATIC1111, for one request or for all later ones."""

    sd_model_checkpoint: str | None = None
    profile: Annotated[str | None, Field(description="Ours: a speed profile listed by GET /v1/models.")] = None
    CLIP_stop_at_last_layers: Annotated[int, Field(ge=1, le=12)] = 1

    @classmethod
    def neutral(cls, values: Mapping[str, object]) -> Neutral:
        """AUTOMATIC1111's other options."""
        return NEUTRAL_OPTIONS

    def over(self, others: Overrides) -> Overrides:
        """These options, with the others for those left open. A model and its profile belong together."""
        rest = others.model_dump(exclude_unset=True)
        given = self.model_dump(exclude_unset=True)
        if given.keys() & {"sd_model_checkpoint", "profile"}:
            rest = {name: value for name, value in rest.items() if name not in ("sd_model_checkpoint", "profile")}
        return Overrides(**{**rest, **given})


class TextFields(AskedFields):
    """The fields of both endpoints."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: Annotated[int, Field(ge=-1, le=LARGEST_SEED)] = -1
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    batch_size: Count = 1
    n_iter: Count = 1
    steps: Count | None = None
    cfg_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    distilled_cfg_scale: Annotated[
        float | None,
        Field(ge=0, le=100, description="Forge's: the scale built into FLUX.1, whose cfg_scale is true guidance."),
    ] = None
    width: Annotated[Count, Field(ge=_SIDES)] | None = None
    height: Annotated[Count, Field(ge=_SIDES)] | None = None
    denoising_strength: Annotated[float, Field(ge=0, le=1)] | None = None
    clip_skip: Annotated[int, Field(ge=1, le=12)] | None = None
    eta: Annotated[float, Field(ge=0, le=1)] | None = None
    override_settings: Overrides = Overrides()
    override_settings_restore_afterwards: bool = True
    send_images: bool = True

    @classmethod
    def neutral(cls, values: Mapping[str, object]) -> Neutral:
        """AUTOMATIC1111's other fields."""
        return NEUTRAL

    @classmethod
    def idle(cls, values: Mapping[str, object]) -> Collection[str]:
        """The fields that this request's other fields switch off."""
        idle = set() if values.get("subseed_strength") else {"subseed"}
        idle |= set() if values.get("s_churn") else {"s_tmin", "s_tmax"}
        idle |= set() if values.get("refiner_checkpoint") else {"refiner_switch_at"}
        return idle | (set() if values.get("script_name") else {"script_args"})

    def job_fields(self, options: Overrides, is_flow: bool = False, guided: bool = False) -> dict[str, object]:
        """The fields of a job.

        Args:
            options: the options in effect for this request, including its own.
            is_flow: whether the model is trained on flow matching, where samplers have methods of their own.
            guided: whether it has true guidance beside a scale that is built in.

        Raises:
            Refusal: the sampler is unknown or does not allow this eta, or the model has no built-in scale.
        """
        scheduler = _scheduler(self.sampler_name or self.sampler_index, self.scheduler, is_flow)
        return {
            "prompt": self.prompt,
            "prompt_weights": True,
            "negative_prompt": self.negative_prompt or None,
            "seed": None if self.seed == -1 else self.seed,
            "steps": self.steps,
            **self._guidance(guided),
            "width": _rounded(self.width),
            "height": _rounded(self.height),
            "num_images": self.num_images,
            "scheduler": scheduler,
            "eta": _eta(self.eta, scheduler),
            "clip_skip": self.clip_stop(options)[0] - 1 or None,
        }

    def _guidance(self, guided: bool) -> dict[str, object]:
        """The fields of a job for both scales. As in Forge, true guidance without a negative prompt leads away from the
        empty one."""
        scale, built_in = self.cfg_scale, self.distilled_cfg_scale
        if not guided:
            if built_in not in (None, 0, _DISTILLED_CFG_SCALE):
                raise Refusal(
                    422, f"distilled_cfg_scale is for FLUX.1, got {built_in:g}; leave it out", "distilled_cfg_scale"
                )
            return {"guidance_scale": scale}
        empty = {"negative_prompt": self.negative_prompt} if scale is not None and scale > 1 else {}
        return {"guidance_scale": built_in, "true_cfg_scale": scale, **empty}

    @property
    def num_images(self) -> int:
        """The number of images."""
        return self.batch_size * self.n_iter

    @property
    def bounded(self) -> dict[str, int | None]:
        """The fields of a job with operator limits."""
        return {"height": self.height, "width": self.width, "steps": self.steps, "num_images": self.num_images}

    def clip_stop(self, options: Overrides) -> tuple[int, str]:
        """The text encoder's last layer to run, counted from the end (1 is the last), and the field that sets it."""
        if self.clip_skip is None or "CLIP_stop_at_last_layers" in self.override_settings.model_fields_set:
            return options.CLIP_stop_at_last_layers, "CLIP_stop_at_last_layers"
        return self.clip_skip, "clip_skip"

    @property
    def strength(self) -> float | None:
        """How much may change. AUTOMATIC1111 always runs at least one step, which a job expresses as 0."""
        strength = self.denoising_strength
        takes_none = strength is not None and self.steps is not None and int(self.steps * strength) < 1
        return 0.0 if takes_none else strength


class Txt2Img(TextFields):
    """Text to image."""

    enable_hr: bool = False
    hr_scale: Annotated[float, Field(gt=1, le=4)] = 2.0
    hr_upscaler: Literal["Latent"] = "Latent"
    denoising_strength: Annotated[float, Field(ge=0, le=1)] = 0.75

    @classmethod
    def neutral(cls, values: Mapping[str, object]) -> Neutral:
        """Fields of a second pass that repeat the first pass change nothing."""
        first = {"hr_second_pass_steps": "steps", "hr_sampler_name": "sampler_name", "hr_scheduler": "scheduler"}
        first |= {"hr_prompt": "prompt", "hr_negative_prompt": "negative_prompt"}
        first |= {"hr_cfg": "cfg_scale", "hr_distilled_cfg": "distilled_cfg_scale"}  # Forge's
        repeated = {name: (*(NEUTRAL.get(name) or ()), values.get(same)) for name, same in first.items()}
        return {**NEUTRAL, **repeated}

    @classmethod
    def idle(cls, values: Mapping[str, object]) -> Collection[str]:
        """Without a second pass, all its fields."""
        idle = super().idle(values)
        if values.get("enable_hr"):
            return idle
        return {*idle, "denoising_strength", *(name for name in values if name.startswith(("hr_", "firstphase_")))}

    def job_fields(self, options: Overrides, is_flow: bool = False, guided: bool = False) -> dict[str, object]:
        """The fields of a job."""
        fields = super().job_fields(options, is_flow, guided)
        return {**fields, "upscale": self.hr_scale, "strength": self.strength} if self.enable_hr else fields


class Img2Img(TextFields):
    """Image to image, and inpainting."""

    init_images: Annotated[list[str], Field(min_length=1, max_length=1)]
    denoising_strength: Annotated[float, Field(ge=0, le=1)] = 0.75
    resize_mode: Annotated[int, Field(ge=0, le=2, description="0: stretch, 1: crop, 2: extend the edges.")] = 0
    include_init_images: bool = False
    mask: str = ""
    mask_blur: Annotated[int, Field(ge=0, le=64)] | None = None
    mask_blur_x: Annotated[int, Field(ge=0, le=64)] = 4
    mask_blur_y: Annotated[int, Field(ge=0, le=64)] = 4
    inpainting_fill: Annotated[int, Field(ge=0, le=3)] = 0
    inpaint_full_res: bool = True
    inpaint_full_res_padding: Annotated[int, Field(ge=0, le=8192)] = 0
    inpainting_mask_invert: Annotated[int, Field(ge=0, le=1)] = 0

    @classmethod
    def idle(cls, values: Mapping[str, object]) -> Collection[str]:
        """Without a mask, all fields of masks."""
        idle = super().idle(values)
        if values.get("mask"):
            return idle if values.get("inpaint_full_res", True) else {*idle, "inpaint_full_res_padding"}
        return {*idle, "mask_round", "latent_mask", *(name for name in values if name.startswith(("mask_", "inpaint")))}

    def job_fields(self, options: Overrides, is_flow: bool = False, guided: bool = False) -> dict[str, object]:
        """The fields of a job."""
        fields = {**super().job_fields(options, is_flow, guided), "strength": self.strength}
        if not self.mask:
            return fields
        padding = self.inpaint_full_res_padding if self.inpaint_full_res else None
        return {**fields, "mask_fill": _FILLS[self.inpainting_fill], "padding_mask_crop": padding}

    @property
    def blur(self) -> tuple[int, int]:
        """The horizontal and vertical blur of the mask in pixels (a Gaussian's sigma)."""
        return (self.mask_blur_x, self.mask_blur_y) if self.mask_blur is None else (self.mask_blur, self.mask_blur)


class Picture(BaseModel):
    """A PNG, JPEG or WebP file in base64."""

    model_config = ConfigDict(extra="forbid")

    image: str


JOB_NAMES = {
    "num_images": "batch_size × n_iter",
    "guidance_scale": "cfg_scale",
    "image": "init_images",
    "upscale": "enable_hr",
    "strength": "denoising_strength",
    "mask_fill": "inpainting_fill",
    "padding_mask_crop": "inpaint_full_res_padding",
}
"""This API's names of a job's fields."""

TRUE_NAMES = {**JOB_NAMES, "true_cfg_scale": "cfg_scale", "guidance_scale": "distilled_cfg_scale"}
"""The same for a model with true guidance."""

_DISTILLED_CFG_SCALE = 3.5
"""Forge's default, which its clients send to every model."""

_FILLS = ("blur", "original", "noise", "nothing")
"""A job's ``mask_fill`` by AUTOMATIC1111's number."""


def _rounded(side: int | None) -> int | None:
    return None if side is None else side // _SIDES * _SIDES


def _scheduler(sampler: str | None, schedule: str | None, is_flow: bool) -> str | None:
    """Our name of a sampler; None uses the model's."""
    if not sampler:
        if (schedule or "automatic").casefold() != "automatic":
            raise Refusal(422, "scheduler needs sampler_name, because it sets that sampler's schedule", "scheduler")
        return None
    schedule_type = schedule or "automatic"
    own = is_flow and schedule_type.casefold() == "automatic"
    found = flow_sampler(sampler) if own else name_of_sampler(sampler, schedule_type)
    if found is None:
        schedules = schedules_of(sampler)
        if schedule and schedules:
            named = f"{sampler[:80]!r} has no schedule {schedule[:80]!r}; it takes Automatic, {', '.join(schedules)}"
            raise Refusal(422, f"scheduler: {named}", "scheduler")
        given = f"{sampler[:80]!r}" + (f" with scheduler {schedule[:80]!r}" if schedule else "")
        raise Refusal(422, f"sampler_name {given} is not here; see /sdapi/v1/samplers for the list", "sampler_name")
    return found


def _eta(eta: float | None, scheduler: str | None) -> float | None:
    """The eta of DDIM's steps. Ancestral and stochastic samplers always have 1, and the others none."""
    if scheduler in (None, "ddim"):
        return eta or None
    sampler = SHORT_NAMES[scheduler].sampler
    if eta not in (None, 1) and (sampler.endswith(" a") or "SDE" in sampler):
        raise Refusal(422, f"eta must be 1 for {sampler}, got {eta:g}", "eta")
    return None
