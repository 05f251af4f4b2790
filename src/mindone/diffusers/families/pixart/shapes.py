"""Checkpoints with random weights in the published shapes of PixArt-α and PixArt-Σ."""

from ...models.autoencoder_kl import AutoencoderKL
from ...models.t5 import T5EncoderModel
from ..random_checkpoints import Network, RandomCheckpoint
from ..stable_diffusion.shapes import SD15
from ..stable_diffusion_xl.shapes import SDXL
from ..t5_shapes import T5_XXL, t5_letters
from .transformer import PixArtTransformer2DModel

_SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}
_TRANSFORMER = {"caption_channels": 4096, "sample_size": 128, "interpolation_scale": 2}

SIGMA = RandomCheckpoint(
    "PixArt-Σ for 1024×1024",
    11_500_000_000,
    "PixArtSigmaPipeline",
    {
        "text_encoder": Network(T5EncoderModel, T5_XXL),
        "transformer": Network(PixArtTransformer2DModel, {**_TRANSFORMER, "use_additional_conditions": False}),
        "vae": Network(AutoencoderKL, SDXL.config("vae")),
    },
    {"tokenizer": t5_letters},
    _SCHEDULER,
    SDXL.tiny_vae,
)
ALPHA = SIGMA.changed(
    {"transformer": {**_TRANSFORMER, "use_additional_conditions": True}, "vae": SD15.config("vae")},
    description="PixArt-α for 1024×1024",
    pipeline="PixArtAlphaPipeline",
    tiny_vae=SD15.tiny_vae,
)
