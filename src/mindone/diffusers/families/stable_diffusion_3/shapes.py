"""Checkpoints with random weights in the published shapes of Stable Diffusion 3 and 3.5."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...models.autoencoder_kl import AutoencoderKL
from ...models.clip_text import CLIPTextModelWithProjection
from ...models.t5 import T5EncoderModel
from ...utils.files import read_json
from ..random_checkpoints import Network, RandomCheckpoint, Values
from ..stable_diffusion.shapes import clip_letters
from ..stable_diffusion_xl.shapes import SDXL
from ..t5_shapes import T5_XXL, t5_letters
from .transformer import SD3Transformer2DModel

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))

SD3_MEDIUM = RandomCheckpoint(
    "Stable Diffusion 3 medium and taesd3",
    16_000_000_000,
    "StableDiffusion3Pipeline",
    {
        "text_encoder": Network(CLIPTextModelWithProjection, SDXL.config("text_encoder")),
        "text_encoder_2": Network(CLIPTextModelWithProjection, SDXL.config("text_encoder_2")),
        "text_encoder_3": Network(T5EncoderModel, T5_XXL),
        "transformer": Network(SD3Transformer2DModel, CONFIGS["transformer"]),
        "vae": Network(AutoencoderKL, CONFIGS["vae"]),
    },
    {"tokenizer": clip_letters, "tokenizer_2": clip_letters, "tokenizer_3": t5_letters},
    CONFIGS["scheduler"],
    CONFIGS["tiny_vae"],
)
SD35_MEDIUM = SD3_MEDIUM.changed(
    {"transformer": {**CONFIGS["transformer"], **CONFIGS["3.5-medium"]}},
    description="Stable Diffusion 3.5 medium and taesd3",
    nbytes=17_000_000_000,
)
SD35_LARGE = SD3_MEDIUM.changed(
    {"transformer": {**CONFIGS["transformer"], **CONFIGS["3.5-large"]}},
    description="Stable Diffusion 3.5 large and taesd3",
    nbytes=28_500_000_000,
)
SD35_MEDIUM_WITHOUT_T5 = replace(
    SD35_MEDIUM,
    description="Stable Diffusion 3.5 medium without T5, and taesd3",
    nbytes=7_500_000_000,
    networks={name: each for name, each in SD35_MEDIUM.networks.items() if name != "text_encoder_3"},
    tokenizers={"tokenizer": clip_letters, "tokenizer_2": clip_letters},
    absent=("text_encoder_3", "tokenizer_3"),
)
