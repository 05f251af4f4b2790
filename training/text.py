"""Stage 3: the captions' vocabulary, and a text encoder that learns from the pictures before the UNet does.

``python training/text.py`` trains a byte-pair vocabulary on the captions, writes it in CLIP's file format, and warms up
the text encoder: a small decoder of 16 learned queries, which reads the hidden states by cross-attention as a UNet
does, has to predict the latents. A step costs a tenth of a UNet's, and the UNet starts with words that already mean
pictures.
"""

import json

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from transformers.models.clip.tokenization_clip import bytes_to_unicode

from common import CHECKPOINTS, RUNS, rank, wait_for_workers
from data import BACKGROUNDS, Icons, load_icons, on_background, pair_caption, with_article
from latents import Cache, load_cache
from optimizers import Optimizers
from stage import Stage, begin

MERGES = 3000
MAX_LENGTH = 24
HIDDEN_SIZE = 192
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
TOKENIZER = RUNS / "tokenizer"
# Of a batch, the share of each kind of picture: at full size, at half size, and for the warm-up.
MIX = {"white": 0.43, "coloured": 0.33, "small": 0.06, "pairs": 0.18}
HALF_MIX = {"half_white": 0.55, "half_coloured": 0.45}
WARM_UP_MIX = {"half_white": 0.85, "half_coloured": 0.15}


def train_vocabulary(labels: list[str]) -> None:
    """Byte-pair merges of the captions in CLIP's normalisation, written to ``training/runs/tokenizer``."""
    captions = [on_background(with_article(label), colour) for label in labels for colour in ("white", "blue")]
    captions += [pair_caption(*labels[:2])] + [on_background("a", colour) for colour in BACKGROUNDS] * 20
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    # The trainer counts the alphabet too: 256 bytes, and those of them that end a word.
    trainer = trainers.BpeTrainer(
        vocab_size=MERGES, end_of_word_suffix="</w>", initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator(captions, trainer)
    merges = [" ".join(merge) for merge in json.loads(bpe.to_str())["model"]["merges"]]
    alphabet = list(bytes_to_unicode().values())
    vocabulary = alphabet + [byte + "</w>" for byte in alphabet] + [merge.replace(" ", "") for merge in merges]
    vocabulary += [START, END]
    TOKENIZER.mkdir(parents=True, exist_ok=True)
    (TOKENIZER / "vocab.json").write_text(
        json.dumps({token: i for i, token in enumerate(vocabulary)}, ensure_ascii=False)
    )
    (TOKENIZER / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    tokenizer = CLIPTokenizer(
        str(TOKENIZER / "vocab.json"), str(TOKENIZER / "merges.txt"), model_max_length=MAX_LENGTH, pad_token=END
    )
    tokenizer.save_pretrained(TOKENIZER)


def load_tokenizer() -> CLIPTokenizer:
    """The one in ``training/runs``, or the shipped one where that is gone."""
    return CLIPTokenizer.from_pretrained(TOKENIZER if TOKENIZER.exists() else CHECKPOINTS / "icons/tokenizer")


def build(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN_SIZE,
            intermediate_size=4 * HIDDEN_SIZE,
            projection_dim=HIDDEN_SIZE,
            num_hidden_layers=3,
            num_attention_heads=HIDDEN_SIZE // 32,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids, int64 (batch, 24)."""
    return tokenizer(
        captions, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt"
    ).input_ids


def draw_batch(
    cache: Cache, icons: Icons, batch: int, mix: dict[str, float], no_caption: float
) -> tuple[torch.Tensor, list[str]]:
    """Latents float32 (batch, 4, size, size) and their captions; a share ``no_caption`` of the captions is empty."""
    counts = [round(share * batch) for share in mix.values()]
    counts[0] += batch - sum(counts)
    latents, captions = [], []
    for kind, count in zip(mix, counts, strict=True):
        pictures = getattr(cache, kind)
        index = torch.randint(len(pictures), (count,))
        latents.append(pictures.latents[index].float())
        captions += [pictures.caption(i, icons) for i in index.tolist()]
    dropped = (torch.rand(batch) < no_caption).tolist()
    return torch.cat(latents), ["" if drop else caption for drop, caption in zip(dropped, captions, strict=True)]


class QueryDecoder(nn.Module):
    """16 learned queries that read the text by cross-attention and become the 4×4 patches (of 4×4) of the latents."""

    def __init__(self, width: int = HIDDEN_SIZE, layers: int = 2):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(16, width) * 0.5)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(width, width // 32, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.to_patch = nn.Linear(width, 64)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        x = self.queries.expand(len(hidden_states), -1, -1)
        for layer in self.layers:
            x = layer(x, hidden_states)
        patches = self.to_patch(self.norm(x))
        return F.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (4, 4)), 4)


def main() -> None:
    options = begin(__doc__, seed=2, hours=0.2, lr=3e-3, batch=128)
    icons, cache = load_icons(), load_cache()
    if not TOKENIZER.exists() and rank() == 0:
        train_vocabulary(icons.labels)  # once: ties between merges are broken at random
    wait_for_workers()
    tokenizer = load_tokenizer()
    text_encoder, decoder = build(tokenizer), QueryDecoder()
    parts = {"text_encoder": text_encoder, "decoder": decoder}
    stage = Stage("text", options, parts, Optimizers([text_encoder, decoder], options.lr))
    for _ in stage.steps():
        latents, captions = draw_batch(cache, icons, stage.batch, WARM_UP_MIX, no_caption=0.02)
        predicted = decoder(text_encoder(tokenize(tokenizer, captions)).last_hidden_state)
        loss = F.mse_loss(predicted, latents)
        loss.backward()
        stage.update(loss=loss)


if __name__ == "__main__":
    main()
