"""Checkpoints with random weights in the published shapes of Sana and SANA-Sprint."""

from collections.abc import Mapping
from pathlib import Path

from ...loading.fast_tokenizer import GemmaTokenizerFast
from ...models.autoencoder_dc import AutoencoderDC
from ...models.gemma2 import Gemma2Model
from ...utils.files import read_json
from ..random_checkpoints import Network, RandomCheckpoint, Values
from .transformer import SanaTransformer2DModel

CONFIGS: Mapping[str, Values] = read_json(Path(__file__).with_name("shapes.json"))


def _bytes(_: Values) -> GemmaTokenizerFast:
    """A vocabulary of bytes: prompts get different tokens from Gemma's, and more of them."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    special = ("<pad>", "<eos>", "<bos>", "<unk>")
    tokens = (*special, *(f"<0x{byte:02X}>" for byte in range(256)))
    numbers = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(numbers, [], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer, tokenizer.decoder = normalizers.Replace(" ", "▁"), decoders.ByteFallback()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    return GemmaTokenizerFast(tokenizer)


SANA_600M = RandomCheckpoint(
    "Sana 0.6B for 1024×1024",
    7_500_000_000,
    "SanaPipeline",
    {
        "text_encoder": Network(Gemma2Model, CONFIGS["text_encoder"]),
        "transformer": Network(SanaTransformer2DModel, {**CONFIGS["transformer"], **CONFIGS["600M"]}),
        "vae": Network(AutoencoderDC, CONFIGS["vae"]),
    },
    {"tokenizer": _bytes},
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
