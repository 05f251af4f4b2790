"""A small tokenizer in the files of Gemma's, made by the `tokenizers` library as that is set up."""

import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
CORPUS = [
    "a photo of an astronaut riding a horse on mars, highly detailed. User Prompt: a cat",
    "Evaluate the level:\n- ",
]
TEXTS = [
    "",
    " ",
    "a photo of an astronaut riding a horse on mars",
    "  A  Golden\tVASE \n with different   flowers  ",
    "line one\nline two\n\n\nline three\r\n",
    "🚀🌕 👩‍👩‍👧 flag 🇫🇷 ✈️",
    "日本語のテキスト 中文 한국어 café cafe\u0301",
    "<bos>a<eos>b <unused0> <start_of_turn>user",
    "▁already▁marked▁",
    "a cat, highly detailed, " * 60,
    "zero\u200bwidth\u00a0space \x07 \x00",
]


def write_gemma(folder: Path) -> Path:
    """``tokenizer.json``, ``tokenizer_config.json`` and ``special_tokens_map.json``."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=[*SPECIAL, *bytes_], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    content = json.loads(tokenizer.to_str())
    # Bytes are pieces like others, and not found in texts.
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in SPECIAL]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in ("<unused0>", "<start_of_turn>", "\n\n")])
    tokenizer.enable_truncation(5)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    special = {role: {"content": token, "lstrip": False, "normalized": False} for role, token in roles.items()}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {"add_bos_token": True, "add_eos_token": False, "model_max_length": 1e30, "padding_side": "left"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "GemmaTokenizer"}))
    return folder
