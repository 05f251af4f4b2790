"""Checkpoints with random weights in the published shapes of Sana and SANA-Sprint."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...models.autoencoder_dc import AutoencoderDC
from ...models.gemma2 import Gemma2Model
from ...utils.files import read_json, write_json
from ..random_checkpoints import Network, RandomCheckpoint, Values, Vocabulary
from .transformer import SanaTransformer2DModel

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))
_SPECIAL = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}


def _write_tokenizer(_: Values, folder: Path) -> None:
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


SANA_600M = RandomCheckpoint(
    "Sana 0.6B for 1024×1024",
    7_500_000_000,
    "SanaPipeline",
    {
        "text_encoder": Network(Gemma2Model, CONFIGS["text_encoder"]),
        "transformer": Network(SanaTransformer2DModel, {**CONFIGS["transformer"], **CONFIGS["600M"]}),
        "vae": Network(AutoencoderDC, CONFIGS["vae"]),
    },
    {"tokenizer": Vocabulary("GemmaTokenizerFast", _write_tokenizer)},
    CONFIGS["flow"],
    CONFIGS["tiny_vae"],
)
SANA_1600M = SANA_600M.changed(
    {"transformer": {**CONFIGS["transformer"], **CONFIGS["1600M"]}},
    description="Sana 1.6B for 1024×1024",
    nbytes=9_500_000_000,
)


def _sprint(shape: RandomCheckpoint) -> RandomCheckpoint:
    return shape.changed(
        {"transformer": {**shape.config("transformer"), **CONFIGS["sprint"]}},
        description=shape.description.replace("Sana", "SANA-Sprint"),
        pipeline="SanaSprintPipeline",
        scheduler=CONFIGS["arc"],
    )


SPRINT_600M, SPRINT_1600M = _sprint(SANA_600M), _sprint(SANA_1600M)
