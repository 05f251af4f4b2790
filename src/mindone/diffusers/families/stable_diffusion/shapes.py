"""Checkpoints with random weights in the shapes of published ones, for measuring time and memory without a download."""

import json
from collections.abc import Mapping
from pathlib import Path

from ...models.autoencoder_kl import AutoencoderKL
from ...models.clip_text import CLIPTextModel
from ...utils.files import read_json
from ..random_checkpoints import Network, RandomCheckpoint, Values, Vocabulary
from .unet import UNet2DConditionModel


def _write_tokenizer(text_encoder: Values, folder: Path) -> None:
    """A vocabulary of single characters: prompts get different tokens from CLIP's, but as many after padding.

    The other ids have tokens that occur in no text, since the tokenizers library warns about ids without one.
    """
    size = int(str(text_encoder["vocab_size"]))
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    start, end = "<|startoftext|>", "<|endoftext|>"
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [f"unused {i}" for i in range(len(tokens), size - 2)]
    vocabulary = {token: i for i, token in enumerate([*tokens, start, end])}
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": text_encoder["max_position_embeddings"]}
    files = {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "#version: 0.2\n",
        "special_tokens_map.json": json.dumps(special),
        "tokenizer_config.json": json.dumps({**special, **config, "add_prefix_space": False, "errors": "replace"}),
    }
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


CLIP_VOCABULARY = Vocabulary("CLIPTokenizer", _write_tokenizer)


CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))

SD15 = RandomCheckpoint(
    "Stable Diffusion 1.5, BK-SDM-Small and taesd",
    3_150_000_000,
    "StableDiffusionPipeline",
    {
        "text_encoder": Network(CLIPTextModel, CONFIGS["text_encoder"]),
        "unet": Network(UNet2DConditionModel, CONFIGS["unet"]),
        "vae": Network(AutoencoderKL, CONFIGS["vae"]),
    },
    {"tokenizer": CLIP_VOCABULARY},
    CONFIGS["scheduler"],
    CONFIGS["tiny_vae"],
    {"unet": CONFIGS["distilled_unet"]},
)
