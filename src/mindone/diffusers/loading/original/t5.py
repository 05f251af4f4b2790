"""T5's encoder in single files: under transformers' names, without a vocabulary."""

from ..t5_tokenizer import T5TokenizerFast
from ..weights import Weights
from .key_map import indices_after, sides
from .layout import NetworkLayout, Tensors, Vocabulary

_ATTENTION, _FEED_FORWARD = "layer.0.SelfAttention", "layer.1.DenseReluDense"


def t5_config(tensors: Tensors) -> dict[str, object]:
    """The config of a T5 v1.1 encoder in the published fields, from its tensors."""
    first = "encoder.block.0"
    vocabulary, width = sides(tensors, "shared.weight", 2)
    buckets, heads = sides(tensors, f"{first}.{_ATTENTION}.relative_attention_bias.weight", 2)
    return {
        "architectures": ["T5EncoderModel"],
        "model_type": "t5",
        "vocab_size": vocabulary,
        "d_model": width,
        "d_kv": sides(tensors, f"{first}.{_ATTENTION}.q.weight", 2)[0] // max(heads, 1),
        "d_ff": sides(tensors, f"{first}.{_FEED_FORWARD}.wi_0.weight", 2)[0],
        "num_layers": len(indices_after(tensors, "encoder.block.")),
        "num_heads": heads,
        "relative_attention_num_buckets": buckets,
        "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
        "feed_forward_proj": "gated-gelu",
        "is_encoder_decoder": True,
        "pad_token_id": 0,
        "eos_token_id": 1,
    }


def _ours(tensors: Tensors) -> Weights:
    return Weights(tensors).normalized("T5EncoderModel")


T5 = NetworkLayout(
    _ours,
    lambda tensors: tensors,
    lambda tensors, *_: t5_config(tensors),
    ("T5EncoderModel",),
    vocabulary=Vocabulary("T5TokenizerFast", "shared.weight", T5TokenizerFast.from_pretrained),
)
