"""Checkpoints with random weights in the published shapes of PixArt-α and PixArt-Σ."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...loading.config import write_config
from ...loading.hub import MODEL_INDEX
from ...models.autoencoder_kl import AutoencoderKL
from ...models.autoencoder_tiny import AutoencoderTiny
from ...models.random_weights import write_random_network
from ...models.t5 import T5EncoderModel
from ...utils.files import write_json
from ..stable_diffusion.shapes import SD15
from ..stable_diffusion_xl.shapes import SDXL
from ..t5_shapes import T5_XXL, write_t5_tokenizer
from .transformer import PixArtTransformer2DModel

Values = Mapping[str, Any]

_SCHEDULER = {
    "_class_name": "DPMSolverMultistepScheduler",
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
}
_TRANSFORMER = {"caption_channels": 4096, "sample_size": 128, "interpolation_scale": 2}


@dataclass(frozen=True)
class PixArtShape:
    """A `Shape`: the configs of a pipeline, and of a tiny autoencoder for its latents."""

    description: str
    nbytes: int
    """The most bytes of the float16 files on disk."""
    pipeline: str
    transformer: Values
    vae: Values
    tiny_vae: Values
    text_encoder: Values

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """See `Shape.write`."""
        roles = {"model": folder / name, "tiny_vae": folder / f"{name}-tiny-vae"}
        root = roles["model"]
        index: dict[str, object] = {
            "_class_name": self.pipeline,
            "scheduler": ["diffusers", _SCHEDULER["_class_name"]],
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5TokenizerFast"],
            "transformer": ["diffusers", "PixArtTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        write_random_network(T5EncoderModel, self.text_encoder, root / "text_encoder")
        write_random_network(PixArtTransformer2DModel, self.transformer, root / "transformer")
        write_random_network(AutoencoderKL, self.vae, root / "vae")
        write_random_network(AutoencoderTiny, self.tiny_vae, roles["tiny_vae"])
        write_t5_tokenizer(root / "tokenizer")
        write_config(root / "scheduler", _SCHEDULER, "scheduler_config.json")
        write_json(root / MODEL_INDEX, index)
        return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}


SIGMA = PixArtShape(
    "PixArt-Σ for 1024×1024",
    11_500_000_000,
    "PixArtSigmaPipeline",
    {**_TRANSFORMER, "use_additional_conditions": False},
    SDXL.vae,
    SDXL.tiny_vae,
    T5_XXL,
)
ALPHA = replace(
    SIGMA,
    description="PixArt-α for 1024×1024",
    pipeline="PixArtAlphaPipeline",
    transformer={**_TRANSFORMER, "use_additional_conditions": True},
    vae=SD15.vae,
    tiny_vae=SD15.tiny_vae,
)
