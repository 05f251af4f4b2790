"""A small byte-pair vocabulary in CLIP's files, and golden ids that transformers gives for it.

python tests/golden/tokenizer_make.py    # needs transformers; rewrites tokenizer.json beside this file
"""

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).with_name("tokenizer.json")

CORPUS = """
a photo of an astronaut riding a horse on mars, a golden vase with different flowers, the rocket on a blue background,
highly detailed digital painting, sharp focus, it's the artist's and they're we've i'm she'll he'd don't, portrait of
the queen in the style of the old masters, sunset over the mountains, cinematic lighting, 4k 8k uhd, café
naïve über façade
"""

SPECIAL_FILES: dict[str, dict[str, Any]] = {
    # As the published checkpoints have them: Stable Diffusion 1, and Stable Diffusion 2 / XL's second tokenizer.
    "sd1": {"pad_token": "<|endoftext|>"},
    "sd2": {"pad_token": "!"},
}

TEXTS = [
    "",
    "a photo of an astronaut riding a horse on mars",
    "  A  Golden\tVASE \n with different   flowers  ",
    "it's, they're; we've -- I'M she'll he'd don't",
    "IT'S THE ARTIST'S",
    "8k, 4K!!! 12345 3.14",
    "café naïve über façade",
    "cafe\u0301 nai\u0308ve",
    "日本語のテキスト 中文 한국어",
    "Привет, мир! Ελληνικός Σίσυφος İstanbul ẞ ﬁne",
    "🚀🌕 👩‍👩‍👧 flag 🇫🇷 ✈️",
    "hello!world! ! !!",
    "(masterpiece:1.2), [blurry], <lora:x:0.5>",
    "a_b-c/d\\e|f",
    "<|startoftext|>a<|endoftext|>b <|ENDOFTEXT|>",
    "non\u00a0breaking\u3000space \u200bzero",
    "ten²⁵ ½ Ⅷ ๓",
    "the " * 100,
    "long" * 90,
]


def byte_letters() -> dict[int, str]:
    """The printable letter that stands for each byte, as GPT-2 and CLIP have it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


def train(corpus: str = CORPUS, merges: int = 300) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges in CLIP's layout: letters, letters that end a word, merged tokens, start and end."""
    letters = byte_letters()
    words = Counter(corpus.replace(",", " ").split())
    split = {}
    for word in words:
        parts = [letters[byte] for byte in word.encode()]
        split[word] = [*parts[:-1], parts[-1] + "</w>"]
    learnt: list[tuple[str, str]] = []
    while len(learnt) < merges:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in zip(split[word], split[word][1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learnt.append(best)
        for word, parts in split.items():
            merged, position = [], 0
            while position < len(parts):
                together = tuple(parts[position : position + 2]) == best
                merged.append("".join(best) if together else parts[position])
                position += 2 if together else 1
            split[word] = merged
    base = list(letters.values())
    tokens = [*base, *(letter + "</w>" for letter in base), *("".join(pair) for pair in learnt)]
    tokens = [*dict.fromkeys(tokens), "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, learnt


def write_files(folder: Path, kind: str = "sd1") -> Path:
    """Write `vocab.json`, `merges.txt` and the configs as the published checkpoints have them."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, merges = train()
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def token(content: str) -> dict[str, Any]:
        return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    start, end = token("<|startoftext|>"), token("<|endoftext|>")
    special = {"bos_token": start, "eos_token": end, "unk_token": end, **SPECIAL_FILES[kind]}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {key: {"__type": "AddedToken", **value} for key, value in special.items() if isinstance(value, dict)}
    config |= {"pad_token": "<|endoftext|>", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def main() -> None:
    """Write the golden file."""
    from transformers import CLIPTokenizerFast

    golden: dict[str, Any] = {"texts": TEXTS}
    for kind in SPECIAL_FILES:
        with tempfile.TemporaryDirectory() as folder:
            reference = CLIPTokenizerFast.from_pretrained(write_files(Path(folder), kind))
        options = {"padding": "max_length", "truncation": True, "max_length": 77}
        golden[kind] = [reference(text, **options).input_ids for text in TEXTS]
    rows = {key: "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n]" for key, value in golden.items()}
    GOLDEN.write_text("{\n" + ",\n".join(f'"{key}": {text}' for key, text in rows.items()) + "\n}\n")


if __name__ == "__main__":
    main()
