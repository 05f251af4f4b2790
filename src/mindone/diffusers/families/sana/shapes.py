"""Checkpoints with random weights in the published shapes of Sana and SANA-Sprint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...loading.config import write_config
from ...loading.hub import MODEL_INDEX
from ...models.autoencoder_dc import AutoencoderDC
from ...models.autoencoder_tiny import AutoencoderTiny
from ...models.gemma2 import Gemma2Model
from ...models.random_weights import write_random_network
from ...utils.files import read_json, write_json
from .transformer import SanaTransformer2DModel

Values = Mapping[str, Any]

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))
_SPECIAL = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}


@dataclass(frozen=True)
class SanaShape:
    """A `Shape`: the configs of a pipeline, and of a tiny autoencoder for its latents."""

    description: str
    nbytes: int
    """The most bytes of the float16 files on disk."""
    pipeline: str
    transformer: Values
    scheduler: Values
    text_encoder: Values
    vae: Values
    tiny_vae: Values

    def write(self, name: str, folder: Path) -> Mapping[str, tuple[str, Path]]:
        """See `Shape.write`."""
        roles = {"model": folder / name, "tiny_vae": folder / f"{name}-tiny-vae"}
        root = roles["model"]
        index: dict[str, object] = {
            "_class_name": self.pipeline,
            "scheduler": ["diffusers", self.scheduler["_class_name"]],
            "text_encoder": ["transformers", "Gemma2Model"],
            "tokenizer": ["transformers", "GemmaTokenizerFast"],
            "transformer": ["diffusers", "SanaTransformer2DModel"],
            "vae": ["diffusers", "AutoencoderDC"],
        }
        write_random_network(Gemma2Model, self.text_encoder, root / "text_encoder")
        write_random_network(SanaTransformer2DModel, self.transformer, root / "transformer")
        write_random_network(AutoencoderDC, self.vae, root / "vae")
        write_random_network(AutoencoderTiny, self.tiny_vae, roles["tiny_vae"])
        _write_tokenizer(root / "tokenizer")
        write_config(root / "scheduler", self.scheduler, "scheduler_config.json")
        write_json(root / MODEL_INDEX, index)
        return {role: (f"random weights: {path.name}", path) for role, path in roles.items()}


def _write_tokenizer(folder: Path) -> None:
    """A vocabulary of bytes: prompts get different tokens from Gemma's, and more of them."""
    vocabulary = [*_SPECIAL.values(), *(f"<0x{byte:02X}>" for byte in range(256))]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    start = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "merges": []}
    content: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [_added(token, numbers[token]) for token in _SPECIAL.values()],
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [start, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [start, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [numbers["<bos>"]], "tokens": ["<bos>"]}},
        },
        "decoder": {"type": "ByteFallback"},
        "model": {**model, "vocab": numbers},
    }
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {**_SPECIAL, "tokenizer_class": "GemmaTokenizerFast"})


def _added(token: str, number: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": True}


def _shape(description: str, nbytes: int, size: str, is_sprint: bool) -> SanaShape:
    transformer = {**CONFIGS["transformer"], **CONFIGS[size], **(CONFIGS["sprint"] if is_sprint else {})}
    pipeline, scheduler = ("SanaSprintPipeline", "arc") if is_sprint else ("SanaPipeline", "flow")
    shared = CONFIGS["text_encoder"], CONFIGS["vae"], CONFIGS["tiny_vae"]
    return SanaShape(description, nbytes, pipeline, transformer, CONFIGS[scheduler], *shared)


SANA_600M = _shape("Sana 0.6B for 1024×1024", 7_500_000_000, "600M", False)
SANA_1600M = _shape("Sana 1.6B for 1024×1024", 9_500_000_000, "1600M", False)
SPRINT_600M = _shape("SANA-Sprint 0.6B for 1024×1024", 7_500_000_000, "600M", True)
SPRINT_1600M = _shape("SANA-Sprint 1.6B for 1024×1024", 9_500_000_000, "1600M", True)
