"""A tiny T5: its config, and a tokenizer in SentencePiece's own file, written without that library."""

import json
import struct
from pathlib import Path

import numpy as np

CONFIG = {
    "model_type": "t5",
    "architectures": ["T5EncoderModel"],
    "vocab_size": 160,
    "d_model": 24,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "feed_forward_proj": "gated-gelu",
}
EXTRA_IDS = 3
WORDS = """
▁a ▁photo ▁of ▁an ▁astronaut ▁riding ▁horse ▁on ▁mars ▁highly ▁detailed ▁the ing ed er ▁cat ▁in
"""
LETTERS = "▁ eabcdfghijklmnopqrstuvwxyzEABC0123456789.,:;!?-'()/é日本"
TEXTS = [
    "",
    " ",
    "a photo of an astronaut riding a horse on mars",
    "  A  Golden\tVASE \n with different   flowers  ",
    "line one\nline two\n\n\nline three\r\n",
    "🚀🌕 👩‍👩‍👧 flag 🇫🇷 ✈️",
    "日本語のテキスト 中文 한국어 café cafe\u0301 ﬁne １２３ Ⅳ ｶﾞ",
    "a <extra_id_0> cat<extra_id_1>s .",
    "<extra_id_0>",
    "<pad> a</s> b <unk> c",
    "▁already▁marked▁",
    "8k, 4K!!! 12345 3.14 1,000,000",
    "a cat, highly detailed, " * 60,
    "zero\u200bwidth\u00a0space\u3000wide \x07 \x00",
]


def write_t5_tokenizer(folder: Path, **config: object) -> int:
    """Write ``spiece.model`` and ``tokenizer_config.json``. Returns how many tokens there are."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = [("<pad>", 0.0, 3), ("</s>", 0.0, 3), ("<unk>", 0.0, 2)]
    pieces += [(word, -3.0 - 0.1 * number, 1) for number, word in enumerate(WORDS.split())]
    pieces += [(letter, -8.0 - 0.1 * number, 1) for number, letter in enumerate(LETTERS.replace(" ", ""))]
    (folder / "spiece.model").write_bytes(spiece(pieces))
    config = {"extra_ids": EXTRA_IDS, "model_max_length": 512, "tokenizer_class": "T5Tokenizer", **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(pieces) + EXTRA_IDS


def spiece(pieces: list[tuple[str, float, int]], kind: int = 1, replacements: bytes = b"") -> bytes:
    """A ``spiece.model`` of pieces with scores and kinds; without ``replacements`` characters stay as they are."""
    content = b"".join(
        field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + b"\x18" + varint(number))
        for text, score, number in pieces
    )
    trainer = b"\x18" + varint(kind) + b"\xc0\x02" + varint(2)  # the kind of model, and the id of what is unknown
    return content + field(2, trainer) + field(3, field(1, b"some") + field(2, replacements))


def replacements(units: dict[int, int] | None = None) -> bytes:
    """A table that turns A into a: units of a trie, some replaced by the caller, and the text that A becomes."""
    trie = np.zeros(256, "<u4")
    for place, unit in {0: 1 << 10, 64: 2 << 10 | 256 | ord("A"), 66: 1 << 31, **(units or {})}.items():
        trie[place] = unit
    return struct.pack("<I", trie.nbytes) + trie.tobytes() + b"a\0"


def field(number: int, content: bytes) -> bytes:
    """A field of bytes in Protocol Buffers' wire format."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte."""
    more, rest = value & 127, value >> 7
    return bytes([more]) if not rest else bytes([more | 128]) + varint(rest)
