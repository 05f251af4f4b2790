"""Checkpoints with random weights in the published shapes of Stable Diffusion 3 and 3.5."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...loading.config import write_config
from ...loading.hub import MODEL_INDEX
from ...models.autoencoder_kl import AutoencoderKL
from ...models.autoencoder_tiny import AutoencoderTiny
from ...models.clip_text import CLIPTextModelWithProjection
from ...models.random_weights import write_random_network
from ...models.t5 import T5EncoderModel
from ...utils.files import read_json, write_json
from ..stable_diffusion.shapes import write_tokenizer
from ..stable_diffusion_xl.shapes import SDXL
from ..t5_shapes import T5_XXL, write_t5_tokenizer
from .transformer import SD3Transformer2DModel

Values = Mapping[str, Any]

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))


@dataclass(frozen=True)
class StableDiffusion3Shape:
    """A `Shape`: the configs of a pipeline, and of a tiny autoencoder for its latents."""

    description: str
    nbytes: int
    """The most bytes of the float16 files on disk."""
    transformer: Values
    text_encoder: Values
    text_encoder_2: Values
    text_encoder_3: Values | None
    """T5's config, or None for a pipeline without it."""
    vae: Values
    tiny_vae: Values
    scheduler: Values

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """See `Shape.write`."""
        roles = {"model": folder / name, "tiny_vae": folder / f"{name}-tiny-vae"}
        root = roles["model"]
        index: dict[str, object] = {
            "_class_name": "StableDiffusion3Pipeline",
            "scheduler": ["diffusers", self.scheduler["_class_name"]],
            "transformer": ["diffusers", "SD3Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "text_encoder_3": [None, None],
            "tokenizer_3": [None, None],
        }
        for encoder, config in {"text_encoder": self.text_encoder, "text_encoder_2": self.text_encoder_2}.items():
            tokenizer = encoder.replace("text_encoder", "tokenizer")
            write_random_network(
                CLIPTextModelWithProjection, {**config, "model_type": "clip_text_model"}, root / encoder
            )
            write_tokenizer(config, root / tokenizer)
            index |= {encoder: ["transformers", "CLIPTextModelWithProjection"]}
            index |= {tokenizer: ["transformers", "CLIPTokenizer"]}
        if self.text_encoder_3 is not None:
            write_random_network(T5EncoderModel, self.text_encoder_3, root / "text_encoder_3")
            write_t5_tokenizer(root / "tokenizer_3")
            index |= {"text_encoder_3": ["transformers", "T5EncoderModel"]}
            index |= {"tokenizer_3": ["transformers", "T5TokenizerFast"]}
        write_random_network(SD3Transformer2DModel, self.transformer, root / "transformer")
        write_random_network(AutoencoderKL, self.vae, root / "vae")
        write_random_network(AutoencoderTiny, self.tiny_vae, roles["tiny_vae"])
        write_config(root / "scheduler", self.scheduler, "scheduler_config.json")
        write_json(root / MODEL_INDEX, index)
        return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}


def _shape(description: str, nbytes: int, size: str | None = None) -> StableDiffusion3Shape:
    assert SDXL.text_encoder_2 is not None
    return StableDiffusion3Shape(
        description,
        nbytes,
        {**CONFIGS["transformer"], **({} if size is None else CONFIGS[size])},
        SDXL.text_encoder,
        SDXL.text_encoder_2,
        T5_XXL,
        CONFIGS["vae"],
        CONFIGS["tiny_vae"],
        CONFIGS["scheduler"],
    )


SD3_MEDIUM = _shape("Stable Diffusion 3 medium and taesd3", 16_000_000_000)
SD35_MEDIUM = _shape("Stable Diffusion 3.5 medium and taesd3", 17_000_000_000, "3.5-medium")
SD35_LARGE = _shape("Stable Diffusion 3.5 large and taesd3", 28_500_000_000, "3.5-large")
SD35_MEDIUM_WITHOUT_T5 = replace(
    SD35_MEDIUM,
    description="Stable Diffusion 3.5 medium without T5, and taesd3",
    nbytes=7_500_000_000,
    text_encoder_3=None,
)
