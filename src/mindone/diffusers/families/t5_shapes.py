"""T5-XXL's published size, and a tokenizer for random weights: for the shapes of all families with T5."""

from ..loading.spiece import CONTROL, UNKNOWN, Piece, Spiece
from ..loading.t5_tokenizer import T5TokenizerFast, of_pieces
from .random_checkpoints import Values

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


def t5_letters(_: Values) -> T5TokenizerFast:
    """A vocabulary of letters: prompts get different tokens from T5's, and more of them."""
    marks = Piece("<pad>", 0.0, CONTROL), Piece("</s>", 0.0, CONTROL), Piece("<unk>", 0.0, UNKNOWN)
    letters = (Piece(letter, -5.0) for letter in ("▁", *map(chr, range(33, 127))))
    return T5TokenizerFast(of_pieces(Spiece((*marks, *letters), b""), extra_ids=0, is_legacy=True))
