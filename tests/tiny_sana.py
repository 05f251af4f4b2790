"""Tiny random checkpoints of Sana and SANA-Sprint, with all parts, which diffusers loads as well."""

import functools
import json
import tempfile
from pathlib import Path

from checkpoints import random_weights, shapes_of, write_model
from mindone.diffusers import AutoencoderDC, AutoencoderTiny, SanaTransformer2DModel
from mindone.diffusers.loading.safetensors import save_file
from mindone.diffusers.pipelines.sana_calls import INSTRUCTION
from mindone.transformers import Gemma2Model

CHANNELS = 8
TRANSFORMER = {
    "_class_name": "SanaTransformer2DModel",
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "num_attention_heads": 3,
    "attention_head_dim": 8,
    "num_layers": 2,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 12,
    "cross_attention_dim": 24,
    "caption_channels": 24,
    "sample_size": 16,
}
SPRINT = {**TRANSFORMER, "qk_norm": "rms_norm_across_heads", "guidance_embeds": True, "guidance_embeds_scale": 0.1}
_BLOCKS = {"block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3, "block_out_channels": [8, 8, 8, 8, 16, 16]}
_STAGES = {**_BLOCKS, "layers_per_block": [1] * 6, "qkv_multiscales": [[], [], [], [5], [5], [5]]}
AUTOENCODER = {
    "_class_name": "AutoencoderDC",
    "latent_channels": CHANNELS,
    "attention_head_dim": 8,
    "scaling_factor": 0.41407,
    **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in _STAGES.items()},
}
TEXT_ENCODER = {
    "model_type": "gemma2",
    "architectures": ["Gemma2Model"],
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
}
FLOW = {
    "_class_name": "DPMSolverMultistepScheduler",
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "lower_order_final": True,
    "final_sigmas_type": "zero",
}
ARC = {"_class_name": "SCMScheduler", "num_train_timesteps": 1000, "prediction_type": "trigflow", "sigma_data": 0.5}
FAMILIES = {"sana": ("SanaPipeline", TRANSFORMER, FLOW), "sana-sprint": ("SanaSprintPipeline", SPRINT, ARC)}


def write_tokenizer(folder: Path) -> int:
    """Write byte-pair encoding trained on the instruction, as Gemma's files hold it. Returns how many tokens it has."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    special = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[*special.values(), *bytes_], show_progress=False, max_token_length=8
    )
    tokenizer.train_from_iterator([*INSTRUCTION, "a red cat sitting on a mat", "blue"], trainer)
    start = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", start)])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {**special, "tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": 10**9}))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    return tokenizer.get_vocab_size()


def write_sharded(cls: type, config: dict, folder: Path) -> None:
    """Write a network whose weights are in two files, as large ones are published."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    weights, names = random_weights(shapes_of(cls(**config))), {}
    for number, part in enumerate((sorted(weights)[::2], sorted(weights)[1::2]), 1):
        file = f"{cls.weights_name}-{number:05}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file)
        names |= dict.fromkeys(part, file)
    size = sum(array.nbytes for array in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": names}
    (folder / f"{cls.weights_name}.safetensors.index.json").write_text(json.dumps(index))


def write(family: str, folder: Path) -> Path:
    """Write the checkpoint of a family into ``folder``."""
    pipeline, transformer, scheduler = FAMILIES[family]
    tokens = write_tokenizer(folder / "tokenizer")
    write_sharded(Gemma2Model, {**TEXT_ENCODER, "vocab_size": tokens}, folder / "text_encoder")
    write_model(SanaTransformer2DModel, transformer, folder / "transformer")
    write_model(AutoencoderDC, AUTOENCODER, folder / "vae")
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    index = {
        "_class_name": pipeline,
        "_diffusers_version": "0.35.2",
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "text_encoder": ["transformers", "Gemma2Model"],
        "tokenizer": ["transformers", "GemmaTokenizerFast"],
        "transformer": ["diffusers", "SanaTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderDC"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


_folder = tempfile.TemporaryDirectory(prefix="tiny-sana-")


@functools.cache
def checkpoint(family: str) -> Path:
    """The folder of a family's tiny checkpoint; copy it before changing anything in it."""
    return write(family, Path(_folder.name) / family)


@functools.cache
def tiny_autoencoder() -> Path:
    """The folder of a tiny autoencoder for their latents, shaped like TAESANA."""
    config = {
        "_class_name": "AutoencoderTiny",
        "latent_channels": CHANNELS,
        "encoder_stem_channels": [4],
        "encoder_block_out_channels": [8] * 4,
        "num_encoder_blocks": [1] * 4,
        "decoder_block_out_channels": [16, 8, 8, 8, 8, 8],
        "num_decoder_blocks": [1] * 6,
    }
    return write_model(AutoencoderTiny, config, Path(_folder.name) / "taesana")
