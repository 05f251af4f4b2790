"""Every network at a tiny size, with its inputs: what the golden file holds and what the live comparison runs."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import checkpoints
from mindone.diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderTiny,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    FluxTransformer2DModel,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
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
    constants: dict[str, Any] = field(default_factory=dict)


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


SANA = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 4,
    "attention_head_dim": 8,
    "num_layers": 2,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 24,
    "cross_attention_dim": 32,
    "caption_channels": 12,
    "sample_size": 8,
}
SPRINT = {**SANA, "qk_norm": "rms_norm_across_heads", "guidance_embeds": True}


def _sana(config: dict[str, Any], height: int, width: int, **more: np.ndarray) -> Case:
    inputs = {
        "hidden_states": _draw(1, 2, 4, height, width),
        "timestep": np.array([981.0, 1.0], np.float32),
        "encoder_hidden_states": _draw(2, 2, 7, 12),
        **more,
    }
    return Case(SanaTransformer2DModel, config, inputs)


SD3 = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 3,
    "joint_attention_dim": 12,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 10,
    "sample_size": 8,
    "pos_embed_max_size": 9,
}
SD35 = {**SD3, "qk_norm": "rms_norm", "dual_attention_layers": [0, 1]}


def _sd3(config: dict[str, Any], height: int, width: int, **constants: object) -> Case:
    inputs = {
        "hidden_states": _draw(1, 2, 4, height, width),
        "timestep": np.array([981.0, 1.0], np.float32),
        "encoder_hidden_states": _draw(2, 2, 7, 12),
        "pooled_projections": _draw(12, 2, 10),
    }
    return Case(SD3Transformer2DModel, config, inputs, constants=constants)


FLUX = {
    "in_channels": 16,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "num_single_layers": 2,
    "joint_attention_dim": 12,
    "pooled_projection_dim": 10,
    "axes_dims_rope": [4, 6, 6],
}


def _flux(config: dict[str, Any], height: int, width: int, **more: np.ndarray) -> Case:
    return Case(FluxTransformer2DModel, config, {**_sd3({}, height, width).inputs, **more})


PIXART = {
    "in_channels": 4,
    "out_channels": 8,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 2,
    "cross_attention_dim": 24,
    "caption_channels": 12,
    "sample_size": 8,
}


def _pixart(config: dict[str, Any], height: int, width: int, **more: np.ndarray) -> Case:
    return Case(PixArtTransformer2DModel, config, {**_sana({}, height, width).inputs, **more})


_sizes = np.array([[1024, 1024, 0, 0, 512, 1024], [512, 768, 64, 0, 512, 768]], np.float32)


def _deep(kind: str, decodes: bool) -> Case:
    inputs = {"latents": _draw(9, 1, 8, 6, 8)} if decodes else {"image": np.tanh(_draw(10, 1, 3, 24, 32))}
    config = checkpoints.DEEP_AUTOENCODERS[kind]
    return Case(AutoencoderDC, config, inputs, "decode_latents" if decodes else "encode_latents")


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
    "sana": _sana(SANA, 6, 10, encoder_attention_mask=(np.arange(7) < [[3], [7]]).astype(np.float32)),
    "sana_sprint": _sana(SPRINT, 8, 8, guidance=np.array([0.45, 0.2], np.float32)),
    "sana_positions": _sana(
        {**SANA, "interpolation_scale": 2.0, "patch_size": 2, "norm_elementwise_affine": True, "attention_bias": True},
        12,
        16,
    ),
    "sd3": _sd3(SD3, 6, 10),
    "sd35": _sd3(SD35, 18, 14),
    "flux": _flux(FLUX, 6, 10),
    "flux_guided": _flux({**FLUX, "guidance_embeds": True}, 8, 8, guidance=np.array([3500.0, 1000.0], np.float32)),
    "sd35_skipping": _sd3({**SD35, "dual_attention_layers": [0, 2]}, 8, 8, skip_layers=(1,)),
    "pixart": _pixart(PIXART, 8, 12, encoder_attention_mask=(np.arange(7) < [[3], [7]]).astype(np.float32)),
    "pixart_sizes": _pixart(
        {**PIXART, "sample_size": 128, "norm_elementwise_affine": True, "attention_bias": False},
        8,
        4,
        resolution=np.array([[1024, 512], [512, 768]], np.float32),
        aspect_ratio=np.array([[2.0], [0.66]], np.float32),
    ),
    "text_clip": _text(CLIPTextModel, "clip"),
    "text_openclip": _text(CLIPTextModel, "openclip"),
    "text_projection": _text(CLIPTextModelWithProjection, "projection"),
    "text_one": _text(CLIPTextModelWithProjection, "projection", batch=1),
    "vision": Case(StableDiffusionSafetyChecker, checkpoints.SAFETY_CHECKER, {"pixel_values": _draw(8, 2, 3, 32, 32)}),
    "autoencoder_decode": Case(AutoencoderKL, checkpoints.AUTOENCODER, {"latents": _latents}, "decode_latents"),
    "autoencoder_encode": Case(AutoencoderKL, checkpoints.AUTOENCODER, {"image": _image}, "encode_moments"),
    "tiny_decode": Case(AutoencoderTiny, checkpoints.TINY_AUTOENCODER, {"latents": _latents}, "decode_latents"),
    "tiny_encode": Case(AutoencoderTiny, checkpoints.TINY_AUTOENCODER, {"image": _image}, "encode_latents"),
    "tiny_deep_decode": Case(
        AutoencoderTiny, checkpoints.TINY_DEEP_AUTOENCODER, {"latents": _draw(11, 1, 6, 4, 5)}, "decode_latents"
    ),
    "tiny_deep_encode": Case(
        AutoencoderTiny, checkpoints.TINY_DEEP_AUTOENCODER, {"image": _image[..., :40]}, "encode_latents"
    ),
    "deep_sana_decode": _deep("sana", decodes=True),
    "deep_sana_encode": _deep("sana", decodes=False),
    "deep_imagenet_decode": _deep("imagenet", decodes=True),
    "deep_imagenet_encode": _deep("imagenet", decodes=False),
    "deep_turbo_decode": _deep("turbo", decodes=True),
}
