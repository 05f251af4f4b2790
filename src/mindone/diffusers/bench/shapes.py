"""Checkpoints with random weights in the shapes of published ones, for times and memory without any download."""

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..loading.config import write_config
from ..loading.hub import MODEL_INDEX, SHARED_COMPONENTS
from ..loading.safetensors import save_file
from ..utils.files import write_json

_BLOCK = 1 << 20
"""Random numbers that are drawn for one scale; larger tensors repeat them."""


@dataclass(frozen=True)
class Shape:
    """The configs of a pipeline, of a UNet distilled from its own, and of a tiny autoencoder."""

    description: str
    nbytes: int
    """What the float16 files take on disk, at most."""
    unet: Mapping[str, Any]
    distilled_unet: Mapping[str, Any]
    text_encoder: Mapping[str, Any]
    vae: Mapping[str, Any]
    tiny_vae: Mapping[str, Any]
    scheduler: Mapping[str, Any] = field(default_factory=dict)


_STABLE_DIFFUSION_UNET = {
    "sample_size": 64,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
}

SHAPES = {
    "sd15": Shape(
        description="Stable Diffusion 1.5, BK-SDM-Small and taesd",
        nbytes=3_150_000_000,
        unet=_STABLE_DIFFUSION_UNET,
        distilled_unet={**_STABLE_DIFFUSION_UNET, "layers_per_block": 1, "mid_block_type": None},
        text_encoder={
            "vocab_size": 49408,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "projection_dim": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "max_position_embeddings": 77,
            "hidden_act": "quick_gelu",
        },
        vae={
            "block_out_channels": [128, 256, 512, 512],
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "sample_size": 512,
            "scaling_factor": 0.18215,
        },
        tiny_vae={"latent_channels": 4},
        scheduler={
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "skip_prk_steps": True,
            "set_alpha_to_one": False,
            "steps_offset": 1,
        },
    )
}


def find(name: str) -> Shape:
    """A shape by name.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in SHAPES:
        raise ValueError(f"--shape must be one of {', '.join(SHAPES)}, got {name!r}")
    return SHAPES[name]


def write(name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
    """Write a shape's checkpoints, float16, into an empty folder. Returns the name and the folder of each.

    The distilled checkpoint shares all but its UNet with the other one.

    Raises:
        ValueError: no such shape.
    """
    shape = find(name)
    from .. import AutoencoderKL, AutoencoderTiny, CLIPTextModel, UNet2DConditionModel

    model, distilled, tiny_vae = folder / name, folder / f"{name}-distilled", folder / f"{name}-tiny-vae"
    _write_network(UNet2DConditionModel, shape.unet, model / "unet")
    _write_network(CLIPTextModel, {**shape.text_encoder, "model_type": "clip_text_model"}, model / "text_encoder")
    _write_network(AutoencoderKL, shape.vae, model / "vae")
    _write_tokenizer(shape.text_encoder, model / "tokenizer")
    write_config(model / "scheduler", {"_class_name": "PNDMScheduler", **shape.scheduler}, "scheduler_config.json")
    _write_network(UNet2DConditionModel, shape.distilled_unet, distilled / "unet")
    _write_network(AutoencoderTiny, shape.tiny_vae, tiny_vae)
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    for root in (model, distilled):
        write_json(root / MODEL_INDEX, index)
    shared = dict.fromkeys(("scheduler", "text_encoder", "tokenizer", "vae"), model.name)
    write_json(distilled / SHARED_COMPONENTS, shared)
    roles = {"model": model, "distilled": distilled, "tiny_vae": tiny_vae}
    return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}


def _write_network(cls: Any, config: Mapping[str, Any], folder: Path) -> None:
    network = cls(**config)
    write_config(folder, {**network.config, "_class_name": cls.__name__})
    shapes = {name: tuple(p.shape) for name, p in network.parameters_and_names()}
    save_file(RandomWeights(shapes), folder / f"{cls.weights_name}.safetensors")


class RandomWeights(Mapping[str, np.ndarray]):
    """float16 tensors by name, made when asked for: norms near 1, the rest scaled so that signals keep their size."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = shapes
        self.normals = np.random.Generator(np.random.PCG64(0)).standard_normal(_BLOCK, np.float32)
        self.blocks: dict[int, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        shape = self.shapes[name]
        if len(shape) == 1:
            start = zlib.crc32(name.encode()) % _BLOCK
            values = 0.1 * np.resize(np.roll(self.normals, -start), shape)
            return (values + (1.0 if name.endswith("weight") else 0.0)).astype(np.float16)
        fan_in = int(np.prod(shape[1:]))
        if fan_in not in self.blocks:
            self.blocks[fan_in] = (self.normals / np.sqrt(fan_in)).astype(np.float16)
        return np.resize(self.blocks[fan_in], shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _write_tokenizer(text_encoder: Mapping[str, Any], folder: Path) -> None:
    """A vocabulary of single characters: prompts become other tokens than CLIP's, and as many after padding."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    start, end = "<|startoftext|>", "<|endoftext|>"
    vocabulary = {token: i for i, token in enumerate([*letters, *(letter + "</w>" for letter in letters)])}
    vocabulary |= {start: text_encoder["vocab_size"] - 2, end: text_encoder["vocab_size"] - 1}
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    folder.mkdir(parents=True)
    files = {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n",
        "special_tokens_map.json": json.dumps(special),
        "tokenizer_config.json": json.dumps(
            {
                **special,
                "model_max_length": text_encoder["max_position_embeddings"],
                "add_prefix_space": False,
                "errors": "replace",
                "tokenizer_class": "CLIPTokenizer",
            }
        ),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
