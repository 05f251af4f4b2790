"""Checkpoints with random weights in the published shapes of FLUX.1: the transformer in 4 bits, T5 in 8.

In 16 bits they would be 34 GB.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...loading.config import write_config
from ...loading.hub import MODEL_INDEX
from ...models.autoencoder_kl import AutoencoderKL
from ...models.autoencoder_tiny import AutoencoderTiny
from ...models.clip_text import CLIPTextModel
from ...models.random_weights import write_random_network
from ...models.t5 import T5EncoderModel
from ...utils.files import read_json, write_json
from ..stable_diffusion.shapes import write_tokenizer
from ..stable_diffusion_xl.shapes import SDXL
from ..t5_shapes import T5_XXL, write_t5_tokenizer
from .family import INT8
from .transformer import FluxTransformer2DModel

Values = Mapping[str, Any]

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))


@dataclass(frozen=True)
class FluxShape:
    """A `Shape`: what differs between the published pipelines."""

    description: str
    nbytes: int
    """What the files take on disk, at most."""
    transformer: Values
    scheduler: Values

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """See `Shape.write`."""
        roles = {"model": folder / name, "tiny_vae": folder / f"{name}-tiny-vae"}
        root = roles["model"]
        text_encoder = {**SDXL.text_encoder, "model_type": "clip_text_model"}
        write_random_network(CLIPTextModel, text_encoder, root / "text_encoder")
        write_tokenizer(text_encoder, root / "tokenizer")
        write_random_network(T5EncoderModel, T5_XXL, root / "text_encoder_2", _in_8_bits)
        write_t5_tokenizer(root / "tokenizer_2")
        write_random_network(FluxTransformer2DModel, self.transformer, root / "transformer", _in_4_bits)
        write_random_network(AutoencoderKL, CONFIGS["vae"], root / "vae")
        write_random_network(AutoencoderTiny, CONFIGS["tiny_vae"], roles["tiny_vae"])
        write_config(root / "scheduler", self.scheduler, "scheduler_config.json")
        index = {
            "_class_name": "FluxPipeline",
            "scheduler": ["diffusers", self.scheduler["_class_name"]],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "text_encoder_2": ["transformers", "T5EncoderModel"],
            "tokenizer_2": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "FluxTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        write_json(root / MODEL_INDEX, index)
        return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}


def _in_4_bits(name: str) -> int:
    """Of the transformer's weights; 8 where `quantize --weights int4` takes them."""
    return 8 if INT8.keeps(name) or not INT8.rounds_input(name) else 4


def _in_8_bits(name: str) -> int | None:
    """Of T5's weights; its embeddings are float16."""
    return None if name.startswith("shared.") or "relative_attention_bias" in name else 8


FLUX_SCHNELL = FluxShape(
    "FLUX.1-schnell in 4 bits and taef1", 13_600_000_000, CONFIGS["transformer"], CONFIGS["scheduler"]
)
FLUX_DEV = FluxShape(
    "FLUX.1-dev in 4 bits and taef1",
    13_600_000_000,
    {**CONFIGS["transformer"], "guidance_embeds": True},
    {**CONFIGS["scheduler"], **CONFIGS["dev"]},
)
