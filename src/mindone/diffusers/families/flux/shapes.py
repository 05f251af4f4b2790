"""Checkpoints with random weights in the published shapes of FLUX.1: the transformer in 4 bits, T5 in 8.

In 16 bits they would be 34 GB.
"""

from collections.abc import Mapping
from pathlib import Path

from ...models.autoencoder_kl import AutoencoderKL
from ...models.clip_text import CLIPTextModel
from ...models.t5 import T5EncoderModel
from ...utils.files import read_json
from ..random_checkpoints import Network, RandomCheckpoint, Values
from ..stable_diffusion.shapes import clip_letters
from ..stable_diffusion_xl.shapes import SDXL
from ..t5_shapes import T5_XXL, t5_letters
from .family import INT8
from .transformer import FluxTransformer2DModel

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))


def _in_4_bits(name: str) -> int:
    """Of the transformer's weights; 8 where `quantize --weights int4` takes them."""
    return 8 if INT8.keeps(name) or not INT8.rounds_input(name) else 4


def _in_8_bits(name: str) -> int | None:
    """Of T5's weights; its embeddings are float16."""
    return None if name.startswith("shared.") or "relative_attention_bias" in name else 8


FLUX_SCHNELL = RandomCheckpoint(
    "FLUX.1-schnell in 4 bits and taef1",
    13_600_000_000,
    "FluxPipeline",
    {
        "text_encoder": Network(CLIPTextModel, SDXL.config("text_encoder")),
        "text_encoder_2": Network(T5EncoderModel, T5_XXL, _in_8_bits),
        "transformer": Network(FluxTransformer2DModel, CONFIGS["transformer"], _in_4_bits),
        "vae": Network(AutoencoderKL, CONFIGS["vae"]),
    },
    {"tokenizer": clip_letters, "tokenizer_2": t5_letters},
    CONFIGS["scheduler"],
    CONFIGS["tiny_vae"],
)
FLUX_DEV = FLUX_SCHNELL.changed(
    {"transformer": {**CONFIGS["transformer"], "guidance_embeds": True}},
    description="FLUX.1-dev in 4 bits and taef1",
    scheduler={**CONFIGS["scheduler"], **CONFIGS["dev"]},
)
