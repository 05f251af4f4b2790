"""Checkpoints with random weights in the shapes of published ones, for measuring time and memory without a download."""

from collections.abc import Mapping
from pathlib import Path

from ...loading.clip_vocabulary import numbered
from ...loading.tokenizer import CLIPTokenizer
from ...models.autoencoder_kl import AutoencoderKL
from ...models.clip_text import CLIPTextModel
from ...utils.files import read_json
from ..random_checkpoints import Network, RandomCheckpoint, Values
from .unet import UNet2DConditionModel


def clip_letters(text_encoder: Values) -> CLIPTokenizer:
    """A vocabulary of single characters: prompts get different tokens from CLIP's, but as many after padding.

    The other ids have tokens that occur in no text, since the tokenizers library warns about ids without one.
    """
    unused = int(text_encoder["vocab_size"]) - len(numbered([]))
    length = int(text_encoder["max_position_embeddings"])
    return CLIPTokenizer(numbered(f"unused {i}" for i in range(unused)), [], model_max_length=length)


CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))

SD15 = RandomCheckpoint(
    "Stable Diffusion 1.5, BK-SDM-Small and taesd",
    3_150_000_000,
    "StableDiffusionPipeline",
    {
        "text_encoder": Network(CLIPTextModel, CONFIGS["text_encoder"]),
        "unet": Network(UNet2DConditionModel, CONFIGS["unet"]),
        "vae": Network(AutoencoderKL, CONFIGS["vae"]),
    },
    {"tokenizer": clip_letters},
    CONFIGS["scheduler"],
    CONFIGS["tiny_vae"],
    {"unet": CONFIGS["distilled_unet"]},
)
