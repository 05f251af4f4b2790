"""A checkpoint with random weights in the shapes of Stable Diffusion XL."""

from collections.abc import Mapping
from pathlib import Path

from ...models.autoencoder_kl import AutoencoderKL
from ...models.clip_text import CLIPTextModel, CLIPTextModelWithProjection
from ...utils.files import read_json
from ..random_checkpoints import Network, RandomCheckpoint, Values
from ..stable_diffusion.shapes import clip_letters
from ..stable_diffusion.unet import UNet2DConditionModel

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))

SDXL = RandomCheckpoint(
    "Stable Diffusion XL and taesdxl",
    7_000_000_000,
    "StableDiffusionXLPipeline",
    {
        "text_encoder": Network(CLIPTextModel, CONFIGS["text_encoder"]),
        "text_encoder_2": Network(CLIPTextModelWithProjection, CONFIGS["text_encoder_2"]),
        "unet": Network(UNet2DConditionModel, CONFIGS["unet"]),
        "vae": Network(AutoencoderKL, CONFIGS["vae"]),
    },
    {"tokenizer": clip_letters, "tokenizer_2": clip_letters},
    CONFIGS["scheduler"],
    CONFIGS["tiny_vae"],
)
