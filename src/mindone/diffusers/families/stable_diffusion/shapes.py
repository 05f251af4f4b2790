"""Checkpoints with random weights in the shapes of published ones, for measuring time and memory without a download."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...loading.config import write_config
from ...loading.hub import MODEL_INDEX, SHARED_COMPONENTS
from ...models.autoencoder_kl import AutoencoderKL
from ...models.autoencoder_tiny import AutoencoderTiny
from ...models.base import Model
from ...models.clip_text import CLIPTextModel, CLIPTextModelWithProjection
from ...models.random_weights import write_random_network
from ...utils.files import read_json, write_json
from .unet import UNet2DConditionModel

Values = Mapping[str, object]


@dataclass(frozen=True)
class StableDiffusionShape:
    """A `Shape`: the configs of a pipeline, of a UNet distilled from its own, and of a tiny autoencoder."""

    description: str
    nbytes: int
    """The most bytes of the float16 files on disk."""
    unet: Values
    text_encoder: Values
    vae: Values
    tiny_vae: Values
    text_encoder_2: Values | None = None
    """Makes it a Stable Diffusion XL pipeline."""
    distilled_unet: Values | None = None
    scheduler: Values = field(default_factory=dict)

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """See `Shape.write`.

        The distilled checkpoint, if any, shares everything except its UNet with the other one.
        """
        roles = {"model": folder / name, "tiny_vae": folder / f"{name}-tiny-vae"}
        encoders: dict[str, tuple[type[Model], Values]] = {"text_encoder": (CLIPTextModel, self.text_encoder)}
        if self.text_encoder_2:
            encoders["text_encoder_2"] = (CLIPTextModelWithProjection, self.text_encoder_2)
        index: dict[str, object] = {
            "_class_name": "StableDiffusionXLPipeline" if self.text_encoder_2 else "StableDiffusionPipeline",
            "scheduler": ["diffusers", "PNDMScheduler"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        }
        root = roles["model"]
        for role, (cls, config) in encoders.items():
            tokenizer = role.replace("text_encoder", "tokenizer")
            index |= {role: ["transformers", cls.__name__], tokenizer: ["transformers", "CLIPTokenizer"]}
            write_random_network(cls, {**config, "model_type": "clip_text_model"}, root / role)
            write_tokenizer(config, root / tokenizer)
        write_random_network(UNet2DConditionModel, self.unet, root / "unet")
        write_random_network(AutoencoderKL, self.vae, root / "vae")
        write_random_network(AutoencoderTiny, self.tiny_vae, roles["tiny_vae"])
        write_config(root / "scheduler", {"_class_name": "PNDMScheduler", **self.scheduler}, "scheduler_config.json")
        write_json(root / MODEL_INDEX, index)
        if self.distilled_unet:
            distilled = roles["distilled"] = folder / f"{name}-distilled"
            write_random_network(UNet2DConditionModel, self.distilled_unet, distilled / "unet")
            write_json(distilled / MODEL_INDEX, index)
            shared = [component for component in index if component not in ("unet", "_class_name")]
            write_json(distilled / SHARED_COMPONENTS, dict.fromkeys(shared, name))
        return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}


def write_tokenizer(text_encoder: Values, folder: Path) -> None:
    """A vocabulary of single characters: prompts get different tokens from CLIP's, but as many after padding."""
    size = int(str(text_encoder["vocab_size"]))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    start, end = "<|startoftext|>", "<|endoftext|>"
    vocabulary = {token: i for i, token in enumerate([*letters, *(letter + "</w>" for letter in letters)])}
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": text_encoder["max_position_embeddings"]}
    files = {
        "vocab.json": json.dumps({**vocabulary, start: size - 2, end: size - 1}, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n",
        "special_tokens_map.json": json.dumps(special),
        "tokenizer_config.json": json.dumps({**special, **config, "add_prefix_space": False, "errors": "replace"}),
    }
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


SD15 = StableDiffusionShape(**read_json(Path(__file__).with_name("shapes.json")))
