"""A tiny random checkpoint of Stable Diffusion 3.5 with all parts, which diffusers loads as well."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from checkpoints import AUTOENCODER, TEXTS, write_model, write_tokenizer
from mindone.diffusers import AutoencoderKL, AutoencoderTiny, CLIPTextModelWithProjection, SD3Transformer2DModel
from mindone.diffusers.loading.config import read_config
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.transformers import T5EncoderModel
from t5_files import CONFIG as T5, write_t5_tokenizer

CHANNELS = 16
TRANSFORMER = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 8,
    "patch_size": 2,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_layers": 3,
    "attention_head_dim": 8,
    "num_attention_heads": 3,
    "caption_projection_dim": 24,
    "joint_attention_dim": 40,
    "pooled_projection_dim": 24,
    "pos_embed_max_size": 12,
    "dual_attention_layers": [0],
    "qk_norm": "rms_norm",
}
TEXT_ENCODER_3 = {**T5, "d_model": 40}
VAE = {
    **AUTOENCODER,
    "latent_channels": CHANNELS,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "force_upcast": True,
}
TINY_VAE = {
    "_class_name": "AutoencoderTiny",
    "latent_channels": CHANNELS,
    "encoder_block_out_channels": [8, 8, 8, 8],
    "decoder_block_out_channels": [8, 8, 8, 8],
    "num_encoder_blocks": [1, 1, 1, 1],
    "num_decoder_blocks": [1, 1, 1, 1],
    "scaling_factor": 1.0,
    "shift_factor": 0.0,
}
SCHEDULER = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
INDEX = {
    "_class_name": "StableDiffusion3Pipeline",
    "_diffusers_version": "0.35.2",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "text_encoder_3": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "tokenizer_3": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "SD3Transformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

_folder = tempfile.TemporaryDirectory(prefix="tiny-sd3-")


def write(folder: Path) -> Path:
    """Write the checkpoint into ``folder``."""
    for suffix, pad, activation in (("", "<|endoftext|>", "quick_gelu"), ("_2", "!", "gelu")):
        vocabulary = write_tokenizer(folder / f"tokenizer{suffix}", pad)
        config = {**TEXTS["projection"], "vocab_size": vocabulary, "hidden_act": activation}
        write_model(CLIPTextModelWithProjection, config, folder / f"text_encoder{suffix}")
    assert write_t5_tokenizer(folder / "tokenizer_3") <= TEXT_ENCODER_3["vocab_size"]
    write_model(T5EncoderModel, TEXT_ENCODER_3, folder / "text_encoder_3")
    write_model(SD3Transformer2DModel, TRANSFORMER, folder / "transformer")
    write_model(AutoencoderKL, VAE, folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return folder


@functools.cache
def checkpoint() -> Path:
    """The folder of the tiny checkpoint; copy it before changing anything in it."""
    return write(Path(_folder.name) / "sd3")


@functools.cache
def checkpoint_without_t5() -> Path:
    """The folder of the same checkpoint without its third text encoder."""
    folder = Path(shutil.copytree(checkpoint(), Path(_folder.name) / "sd3-without-t5"))
    absent = dict.fromkeys(("text_encoder_3", "tokenizer_3"), (None, None))
    (folder / "model_index.json").write_text(json.dumps({**INDEX, **absent}))
    for name in absent:
        shutil.rmtree(folder / name)
    return folder


@functools.cache
def single_file_checkpoint() -> Path:
    """The same with a first text encoder that does not project, as those of single files do not.

    It is of another width than the second: the reference tells them by that.
    """
    copy = Path(shutil.copytree(checkpoint(), Path(_folder.name) / "sd3-single-file"))
    config = read_config(copy / "text_encoder")
    width = config["hidden_size"] + 8
    own = {**config, "hidden_size": width, "projection_dim": width}
    write_model(CLIPTextModelWithProjection, own, copy / "text_encoder")
    path = copy / "text_encoder" / "model.safetensors"
    identity = {"text_projection.weight": StoredTensor.from_numpy(np.eye(width, dtype=np.float32))}
    kept = {name: StoredTensor.from_numpy(x.numpy().copy()) for name, x in SafetensorsFile(path).items()}
    save_file({**kept, **identity}, path)
    pooled = width + config["projection_dim"]
    write_model(SD3Transformer2DModel, {**TRANSFORMER, "pooled_projection_dim": pooled}, copy / "transformer")
    return copy


@functools.cache
def inpainting_checkpoint() -> Path:
    """The same with a transformer that also reads a mask and the picture without what is under it."""
    folder = Path(shutil.copytree(checkpoint(), Path(_folder.name) / "sd3-inpainting"))
    write_model(SD3Transformer2DModel, {**TRANSFORMER, "in_channels": 2 * CHANNELS + 1}, folder / "transformer")
    (folder / "model_index.json").write_text(json.dumps({**INDEX, "_class_name": "StableDiffusion3InpaintPipeline"}))
    return folder


@functools.cache
def tiny_autoencoder() -> Path:
    """The folder of a tiny autoencoder for its latents, shaped like TAESD3."""
    return write_model(AutoencoderTiny, TINY_VAE, Path(_folder.name) / "taesd3")
