"""Tiny random checkpoints in the published folder layout, one for each family, made without PyTorch.

Every tensor is drawn from a generator seeded with its own name, so the same checkpoint comes out everywhere and golden
files need to hold outputs alone.
"""

import functools
import json
import zlib
from pathlib import Path

import numpy as np

from mindone.diffusers.loading.safetensors import save_file

FAMILIES = ("sd1", "sd2", "sdxl", "bk_sdm", "lcm")

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
SCHEDULERS = {
    "sd1": {
        "_class_name": "PNDMScheduler",
        **BETAS,
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
    "sd2": {
        "_class_name": "DDIMScheduler",
        **BETAS,
        "prediction_type": "v_prediction",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
    "sdxl": {"_class_name": "EulerDiscreteScheduler", **BETAS, "timestep_spacing": "leading", "steps_offset": 1},
    "lcm": {"_class_name": "LCMScheduler", **BETAS, "clip_sample": False, "set_alpha_to_one": True},
}
SCHEDULERS["bk_sdm"] = SCHEDULERS["sd1"]

UNET = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "attention_head_dim": 2,
    "cross_attention_dim": 16,
    "norm_num_groups": 4,
}
UNETS = {
    "sd1": UNET,
    "sd2": {**UNET, "use_linear_projection": True, "attention_head_dim": [1, 2]},
    "sdxl": {
        **UNET,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "attention_head_dim": [1, 4],
        "transformer_layers_per_block": [1, 2],
        "use_linear_projection": True,
        "cross_attention_dim": 32,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 8 * 6 + 12,
    },
    "ssd": {  # pruned within a stage, and without the middle's transformer, as SSD-1B
        **UNET,
        "transformer_layers_per_block": [[2, 1], 1],
        "reverse_transformer_layers_per_block": [1, [1, 2, 3]],
        "mid_block_type": "UNetMidBlock2D",
    },
    "bk_sdm": {**UNET, "layers_per_block": 1, "mid_block_type": None},
    "lcm": {**UNET, "time_cond_proj_dim": 32},
    "inpainting": {**UNET, "in_channels": 9},
}
TEXT = {
    "architectures": ["CLIPTextModel"],
    "model_type": "clip_text_model",
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": 12,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}
TEXTS = {
    "clip": TEXT,
    "openclip": {**TEXT, "hidden_act": "gelu"},
    "projection": {**TEXT, "architectures": ["CLIPTextModelWithProjection"], "hidden_act": "gelu"},
}
AUTOENCODER = {
    "_class_name": "AutoencoderKL",
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [4, 8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "sample_size": 64,
    "scaling_factor": 0.18215,
}
TINY_AUTOENCODER = {
    "_class_name": "AutoencoderTiny",
    "encoder_block_out_channels": [8, 8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8, 8],
    "num_encoder_blocks": [1, 1, 1, 1],
    "num_decoder_blocks": [1, 1, 1, 1],
}
TINY_DEEP_AUTOENCODER = {  # stages of different widths, as TAESANA
    "_class_name": "AutoencoderTiny",
    "latent_channels": 6,
    "encoder_stem_channels": [4],
    "encoder_block_out_channels": [8, 8],
    "num_encoder_blocks": [1, 1],
    "decoder_block_out_channels": [16, 8, 4, 4],
    "num_decoder_blocks": [1, 1, 1, 1],
}
_DEEP = {
    "_class_name": "AutoencoderDC",
    "latent_channels": 8,
    "attention_head_dim": 8,
    "encoder_block_types": ["ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
    "decoder_block_types": ["ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
    "encoder_block_out_channels": [8, 8, 16],
    "decoder_block_out_channels": [8, 8, 16],
    "encoder_layers_per_block": [1, 1, 1],
    "decoder_layers_per_block": [1, 1, 1],
    "encoder_qkv_multiscales": [[], [], [5]],
    "decoder_qkv_multiscales": [[], [], [5]],
}
DEEP_AUTOENCODERS = {
    "sana": {**_DEEP, "upsample_block_type": "interpolate", "downsample_block_type": "Conv", "scaling_factor": 0.41407},
    "imagenet": {  # the first convolution halves the resolution, the last doubles it, and training has left statistics
        **_DEEP,
        "encoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
        "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock"],
        "encoder_layers_per_block": [0, 1, 1],
        "decoder_layers_per_block": [0, 1, 1],
        "encoder_qkv_multiscales": [[], [], []],
        "decoder_qkv_multiscales": [[], [], []],
        "decoder_norm_types": ["batch_norm", "batch_norm", "rms_norm"],
        "decoder_act_fns": ["relu", "relu", "silu"],
    },
    "turbo": {  # a decoder of other widths and depths than the encoder, without shortcuts at its ends
        **_DEEP,
        "decoder_block_types": "ResBlock",
        "decoder_block_out_channels": [4, 8, 8],
        "decoder_layers_per_block": [1, 2, 1],
        "decoder_in_shortcut": False,
        "encoder_out_shortcut": False,
        "decoder_conv_act_fn": "silu",
    },
}
SAFETY_CHECKER = {
    "architectures": ["StableDiffusionSafetyChecker"],
    "model_type": "clip",
    "projection_dim": 12,
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
        "hidden_act": "quick_gelu",
    },
}
IMAGE_PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": {"height": 32, "width": 32},
    "size": {"shortest_edge": 32},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 1 / 255,
}


def random_weights(shapes: dict[str, tuple[int, ...]], dtype=np.float32) -> dict[str, np.ndarray]:
    """Weights by name: normalisations near 1, the rest scaled so that signals neither vanish nor explode."""
    return {name: _random(name, tuple(shape)).astype(dtype) for name, shape in shapes.items()}


@functools.lru_cache(maxsize=8192)
def _random(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The weights of a name, which many checkpoints share."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    values = rng.standard_normal(shape)
    if len(shape) == 1:
        return 0.1 * values + (1.0 if name.endswith(("weight", "running_var")) else 0.0)
    if name.startswith("controlnet_cond_embedding"):  # SiLU halves what is small, layer after layer
        return 2 * values / np.sqrt(np.prod(shape[1:]))
    return values if "embedding" in name else values / np.sqrt(np.prod(shape[1:]))


def shapes_of(model) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of a network."""
    return {name: tuple(p.shape) for name, p in model.parameters_and_names()}


def write_model(cls, config: dict, folder: Path, dtype=np.float32) -> Path:
    """Write a network's config and random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(random_weights(shapes_of(cls(**config)), dtype), folder / f"{cls.weights_name}.safetensors")
    return folder


def alphabet() -> list[str]:
    """The 256 printable characters that byte-level BPE writes bytes as (Radford et al. 2019, §2.2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]


def write_tokenizer(folder: Path, pad: str = "<|endoftext|>") -> int:
    """Write a small CLIP vocabulary as the published files. Returns its size."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = alphabet()
    merges = [("a", "t</w>"), ("c", "at</w>"), ("i", "n"), ("in", "g</w>"), ("o", "n</w>"), ("r", "e"), ("re", "d</w>")]
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokens = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges), start, end]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": pad}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    settings = {**special, "model_max_length": 77, "do_lower_case": True, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**settings, "add_prefix_space": False, "errors": "replace"})
    )
    return len(tokens)


def tiny(name: str, folder: Path, dtype=np.float32, safety_checker: bool = False) -> Path:
    """Write the tiny checkpoint of a family (`FAMILIES`) into ``folder``."""
    from mindone.diffusers import (
        AutoencoderKL,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        StableDiffusionSafetyChecker,
        UNet2DConditionModel,
    )

    folder = Path(folder)
    index = {
        "_class_name": "StableDiffusionXLPipeline" if name == "sdxl" else "StableDiffusionPipeline",
        "_diffusers_version": "0.35.2",
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", SCHEDULERS[name]["_class_name"]],
    }
    pad = "!" if name == "sd2" else "<|endoftext|>"
    text = TEXTS["openclip" if name == "sd2" else "clip"]
    vocabulary = write_tokenizer(folder / "tokenizer", pad)
    write_model(CLIPTextModel, {**text, "vocab_size": vocabulary}, folder / "text_encoder", dtype)
    if name == "sdxl":
        index["tokenizer_2"] = ["transformers", "CLIPTokenizer"]
        index["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
        index["force_zeros_for_empty_prompt"] = True
        write_tokenizer(folder / "tokenizer_2", "!")
        config = {**TEXTS["projection"], "vocab_size": vocabulary}
        write_model(CLIPTextModelWithProjection, config, folder / "text_encoder_2", dtype)
    elif safety_checker:
        index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
        index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
        write_model(StableDiffusionSafetyChecker, SAFETY_CHECKER, folder / "safety_checker", dtype)
        (folder / "feature_extractor").mkdir()
        (folder / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(IMAGE_PROCESSOR))
    else:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None]}
    write_model(UNet2DConditionModel, UNETS[name], folder / "unet", dtype)
    autoencoder = {**AUTOENCODER, "scaling_factor": 0.13025} if name == "sdxl" else AUTOENCODER
    write_model(AutoencoderKL, autoencoder, folder / "vae", dtype)
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULERS[name]))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
