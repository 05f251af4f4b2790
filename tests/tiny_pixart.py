"""Tiny random checkpoints of PixArt-α and PixArt-Σ, with all parts, which diffusers loads as well."""

import functools
import json
import tempfile
from pathlib import Path

from checkpoints import AUTOENCODER, write_model
from mindone.diffusers import AutoencoderKL, PixArtTransformer2DModel
from mindone.transformers import T5EncoderModel
from t5_files import CONFIG, write_t5_tokenizer

CHANNELS = CONFIG["d_model"]
TRANSFORMER = {
    "_class_name": "PixArtTransformer2DModel",
    "in_channels": 4,
    "out_channels": 8,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 2,
    "cross_attention_dim": 24,
    "caption_channels": CHANNELS,
    "sample_size": 32,
}
ALPHA = {
    **TRANSFORMER,
    "_class_name": "Transformer2DModel",
    "sample_size": 128,
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "norm_elementwise_affine": False,
    "norm_eps": 1e-6,
    "norm_type": "ada_norm_single",
    "num_embeds_ada_norm": 1000,
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "patch_size": 2,
    "use_linear_projection": False,
}
"""As older files have it: under another name, and without saying that it reads the size of images."""
SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "prediction_type": "epsilon",
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
    "final_sigmas_type": "zero",
}
FAMILIES = {"pixart-alpha": ("PixArtAlphaPipeline", ALPHA), "pixart-sigma": ("PixArtSigmaPipeline", TRANSFORMER)}


def write(family: str, folder: Path) -> Path:
    """Write the checkpoint of a family into ``folder``."""
    pipeline, transformer = FAMILIES[family]
    tokens = write_t5_tokenizer(folder / "tokenizer")
    write_model(T5EncoderModel, {**CONFIG, "vocab_size": tokens}, folder / "text_encoder")
    write_model(PixArtTransformer2DModel, transformer, folder / "transformer")
    write_model(AutoencoderKL, AUTOENCODER, folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.35.2",
        "scheduler": ["diffusers", SCHEDULER["_class_name"]],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", transformer["_class_name"]],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


_folder = tempfile.TemporaryDirectory(prefix="tiny-pixart-")


@functools.cache
def checkpoint(family: str) -> Path:
    """The folder of a family's tiny checkpoint; copy it before changing anything in it."""
    return write(family, Path(_folder.name) / family)
