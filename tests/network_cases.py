"""Every network at a tiny size, with its inputs: what the golden file holds and what the live comparison runs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import checkpoints
from mindone.diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    StableDiffusionSafetyChecker,
    UNet2DConditionModel,
)


@dataclass(frozen=True)
class Case:
    """A network, its config, the method to call, and the inputs by name."""

    cls: type
    config: dict[str, Any]
    inputs: dict[str, np.ndarray]
    method: str = "construct"


def _draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal(shape).astype(np.float32)


def _unet(family: str, height: int = 8, width: int = 8, **more: np.ndarray) -> Case:
    config = checkpoints.UNETS[family]
    inputs = {
        "sample": _draw(1, 2, config["in_channels"], height, width),
        "timestep": np.array([981.0, 1.0], np.float32),
        "encoder_hidden_states": _draw(2, 2, 77, config["cross_attention_dim"]),
        **more,
    }
    return Case(UNet2DConditionModel, config, inputs)


def _text(cls: type, kind: str, batch: int = 2) -> Case:
    ids = np.random.Generator(np.random.PCG64(3)).integers(0, 500, (2, 77)).astype(np.int32)
    ids[0, 9:] = ids[1, 30:] = 520  # the end of the text, and the padding after it
    return Case(cls, {**checkpoints.TEXTS[kind], "vocab_size": 521}, {"input_ids": ids[:batch]})


_sizes = np.array([[1024, 1024, 0, 0, 512, 1024], [512, 768, 64, 0, 512, 768]], np.float32)
_latents, _image = _draw(4, 2, 4, 8, 8), np.tanh(_draw(5, 1, 3, 64, 72))

CASES = {
    "unet_sd1": _unet("sd1"),
    "unet_odd_size": _unet("sd1", 9, 11),
    "unet_sd2": _unet("sd2"),
    "unet_sdxl": _unet("sdxl", text_embeds=_draw(6, 2, 12), time_ids=_sizes),
    "unet_ssd": _unet("ssd"),
    "unet_bk_sdm": _unet("bk_sdm"),
    "unet_lcm": _unet("lcm", timestep_cond=_draw(7, 2, 32)),
    "unet_inpainting": _unet("inpainting"),
    "text_clip": _text(CLIPTextModel, "clip"),
    "text_openclip": _text(CLIPTextModel, "openclip"),
    "text_projection": _text(CLIPTextModelWithProjection, "projection"),
    "text_one": _text(CLIPTextModelWithProjection, "projection", batch=1),
    "vision": Case(StableDiffusionSafetyChecker, checkpoints.SAFETY_CHECKER, {"pixel_values": _draw(8, 2, 3, 32, 32)}),
    "autoencoder_decode": Case(AutoencoderKL, checkpoints.AUTOENCODER, {"latents": _latents}, "decode_latents"),
    "autoencoder_encode": Case(AutoencoderKL, checkpoints.AUTOENCODER, {"image": _image}, "encode_moments"),
    "tiny_decode": Case(AutoencoderTiny, checkpoints.TINY_AUTOENCODER, {"latents": _latents}, "decode_latents"),
    "tiny_encode": Case(AutoencoderTiny, checkpoints.TINY_AUTOENCODER, {"image": _image}, "encode_latents"),
}
