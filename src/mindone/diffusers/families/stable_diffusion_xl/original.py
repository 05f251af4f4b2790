"""Stable Diffusion XL in one file: base, refiner and inpainting, and facts that no file holds."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from ...loading.original.clip import CLIP, OPEN_CLIP
from ...loading.original.key_map import sides
from ...loading.original.layout import NetworkLayout, OriginalLayout, Part, Parts, Release
from ...loading.original.training import Training
from ..stable_diffusion.original import ALONE, EULER, IMAGE_PARTS, by_channels, has_sizes, trained
from ..stable_diffusion.original_unet import cross_attention_dim

_EDIT = "StableDiffusionXLInstructPix2PixPipeline"
_CHANNELS = {4: "StableDiffusionXLPipeline", 8: _EDIT, 9: "StableDiffusionXLInpaintPipeline"}
_SECOND_TEXT = "conditioner.embedders.1."

XL = Release(
    "Stable Diffusion XL",
    partial(by_channels, _CHANNELS, "Stable Diffusion XL"),
    EULER,
    128,
    {"text_encoder": "<|endoftext|>", "text_encoder_2": "!"},
    0.13025,
    {"force_zeros_for_empty_prompt": True},
    modelspec="stable-diffusion-xl-v1-base",
    absent=("text_encoder", "tokenizer"),
)
XL_REFINER = replace(
    XL,
    title="the refiner of Stable Diffusion XL",
    pipeline=partial(by_channels, {4: "StableDiffusionXLImg2ImgPipeline"}, "the refiner of Stable Diffusion XL"),
    text_encoders={"text_encoder_2": "!"},
    options={"force_zeros_for_empty_prompt": False, "requires_aesthetics_score": True},
    modelspec="stable-diffusion-xl-v1-refiner",
)


def _release(parts: Parts, networks: Mapping[str, NetworkLayout]) -> Release:
    alone = "text_encoder_2" in networks and "text_encoder" not in networks
    unet = parts.get("unet") or parts.get("controlnet") or {}
    return XL_REFINER if alone or cross_attention_dim(unet) == 1280 else XL


def _trained(release: Release, training: Training, parts: Parts) -> Release:
    unet = parts.get("unet", {})
    if "conv_in.weight" in unet and _CHANNELS.get(sides(unet, "conv_in.weight", 4)[1]) == _EDIT:
        release = replace(release, options={**release.options, "is_cosxl_edit": training.sigmas is not None})
    return trained(release, training, parts)


def _is_of_others(names: Iterable[str]) -> bool:
    return not has_sizes(names) and not any(name.startswith(_SECOND_TEXT) for name in names)


ORIGINAL = OriginalLayout(
    known="Stable Diffusion XL (base, refiner and inpainting)",
    denoiser="unet",
    parts=(
        *IMAGE_PARTS,
        Part("conditioner.embedders.0.transformer.", "text_encoder", CLIP),
        Part("conditioner.embedders.0.model.", "text_encoder_2", OPEN_CLIP, without="text_encoder"),
        Part(f"{_SECOND_TEXT}model.", "text_encoder_2", OPEN_CLIP),
    ),
    release=_release,
    trained=_trained,
    alone=ALONE,
    excludes=_is_of_others,
    unread={
        "cond_stage_model.1.": "stable-diffusion.cpp renamed its text encoders, and does not say which way round it "
        "stored the second one's projection",
    },
)
