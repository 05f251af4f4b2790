"""T5-XXL's published size, and a tokenizer for random weights: for the shapes of all families with T5."""

import json
from pathlib import Path
from typing import Any

from ..utils.files import write_json
from .random_checkpoints import Values, Vocabulary

T5_XXL: Values = {
    "model_type": "t5",
    "vocab_size": 32_128,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10_240,
    "num_layers": 24,
    "num_heads": 64,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "feed_forward_proj": "gated-gelu",
}
"""The config of the encoder of T5 v1.1."""

_SPECIAL = ("<pad>", "</s>", "<unk>")
_END = {"SpecialToken": {"id": "</s>", "type_id": 0}}


def _write_tokenizer(_: Values, folder: Path) -> None:
    """Write a vocabulary of letters: prompts get different tokens from T5's, and more of them."""
    letters = ["▁", *map(chr, range(33, 127))]
    vocabulary = [[token, 0.0] for token in _SPECIAL] + [[letter, -5.0] for letter in letters]
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    content: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [_added(token, number) for number, token in enumerate(_SPECIAL)],
        "normalizer": None,
        "pre_tokenizer": spaces,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [_sequence("A"), _END],
            "pair": [_sequence("A"), _END, _sequence("B"), _END],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
        },
        "decoder": spaces,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False},
    }
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    names = dict(zip(("pad_token", "eos_token", "unk_token"), _SPECIAL))
    write_json(folder / "tokenizer_config.json", {**names, "tokenizer_class": "T5TokenizerFast"})


def _sequence(name: str) -> dict[str, object]:
    return {"Sequence": {"id": name, "type_id": 0}}


def _added(token: str, number: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": True}


T5_VOCABULARY = Vocabulary("T5TokenizerFast", _write_tokenizer)
