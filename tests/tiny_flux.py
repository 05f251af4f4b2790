"""Tiny random checkpoints of FLUX.1, with a guidance scale of the network's own and without, which diffusers loads."""

import functools
import json
import shutil
import tempfile
from pathlib import Path

from checkpoints import TEXTS, write_model, write_tokenizer
from mindone.diffusers import AutoencoderKL, CLIPTextModel, FluxTransformer2DModel
from mindone.transformers import T5EncoderModel
from t5_files import CONFIG as T5, write_t5_tokenizer
from tiny_sd3 import VAE as SD3_VAE

CHANNELS = 16
TRANSFORMER = {
    "_class_name": "FluxTransformer2DModel",
    "patch_size": 1,
    "in_channels": 4 * CHANNELS,
    "num_layers": 2,
    "num_single_layers": 3,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 40,
    "pooled_projection_dim": 16,
    "guidance_embeds": False,
    "axes_dims_rope": [4, 6, 6],
}
"""Of schnell."""
DEV = {**TRANSFORMER, "guidance_embeds": True}
TEXT_ENCODER_2 = {**T5, "d_model": 40}
VAE = {**SD3_VAE, "scaling_factor": 0.3611, "shift_factor": 0.1159}
SCHEDULER = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 4096,
    "max_shift": 1.15,
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "use_dynamic_shifting": False,
}
DEV_SCHEDULER = {**SCHEDULER, "shift": 3.0, "use_dynamic_shifting": True}
INDEX = {
    "_class_name": "FluxPipeline",
    "_diffusers_version": "0.35.2",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

_folder = tempfile.TemporaryDirectory(prefix="tiny-flux-")


def write(folder: Path) -> Path:
    """Write a checkpoint like FLUX.1-schnell's into ``folder``."""
    vocabulary = write_tokenizer(folder / "tokenizer")
    write_model(CLIPTextModel, {**TEXTS["clip"], "vocab_size": vocabulary}, folder / "text_encoder")
    assert write_t5_tokenizer(folder / "tokenizer_2") <= TEXT_ENCODER_2["vocab_size"]
    write_model(T5EncoderModel, TEXT_ENCODER_2, folder / "text_encoder_2")
    write_model(FluxTransformer2DModel, TRANSFORMER, folder / "transformer")
    write_model(AutoencoderKL, VAE, folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    return folder


@functools.cache
def checkpoint() -> Path:
    """The folder of a tiny checkpoint like schnell's; copy it before changing anything in it."""
    return write(Path(_folder.name) / "flux-schnell")


@functools.cache
def dev_checkpoint() -> Path:
    """The same like dev's: its transformer reads a guidance scale, and its shift is that of the image's size."""
    copy = Path(shutil.copytree(checkpoint(), Path(_folder.name) / "flux-dev"))
    write_model(FluxTransformer2DModel, DEV, copy / "transformer")
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps(DEV_SCHEDULER))
    return copy
