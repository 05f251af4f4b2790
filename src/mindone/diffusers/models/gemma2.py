"""Gemma 2 (Gemma Team 2024, "Gemma 2: Improving Open Language Models at a Practical Size"), as a text encoder."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mindspore import nn
from pydantic import Field, Strict

from .. import functional as F
from ..engines import Array, FlashAttention
from ..loading.fields import Flag, Fraction, Positive
from .causal_text import CausalTextModel
from .cells import Cell, CellList
from .fields import Channels, Count, TableSize, check_divides
from .layers import Activation, Embedding, Linear, RMSNorm

Tokens = Annotated[int, Strict(), Field(ge=1, le=2**20)]
GateName = Literal["gelu_pytorch_tanh", "gelu", "silu", "relu"]
Wide = Annotated[int, Strict(), Field(ge=1, le=2**16)]


@dataclass(frozen=True)
class Gemma2Fields:
    """The fields of ``config.json``; the defaults are those of Gemma-2-2B."""

    vocab_size: TableSize = 256_000
    hidden_size: Channels = 2304
    intermediate_size: Wide = 9216
    num_hidden_layers: Count = 26
    num_attention_heads: Count = 8
    num_key_value_heads: Count = 4
    head_dim: Channels = 256
    hidden_activation: GateName = "gelu_pytorch_tanh"
    max_position_embeddings: Tokens = 8192
    rms_norm_eps: Fraction = 1e-6
    rope_theta: Positive = 10000.0
    rope_scaling: None = None
    attention_bias: Flag = False
    query_pre_attn_scalar: Positive = 256
    sliding_window: Tokens | None = 4096
    attn_logit_softcapping: Positive | None = 50.0

    def __post_init__(self) -> None:
        check_divides("num_key_value_heads", self.num_key_value_heads, num_attention_heads=self.num_attention_heads)
        check_divides("2", 2, head_dim=self.head_dim)


class Gemma2Model(CausalTextModel):
    """Text tokens to one vector per token.

    Call `encode_with`: it runs only the tokens that count. Attention's scores are not capped, as in the reference by
    default; see `enable_attention_softcapping`.
    """

    Fields = Gemma2Fields
    weights_name = "model"
    exceeds_float16 = True

    def __init__(self, **config: Any):
        super().__init__(config)
        c: Gemma2Fields = self.fields
        self.embed_tokens = Embedding(c.vocab_size, c.hidden_size)
        self.layers = CellList([Gemma2Layer(c) for _ in range(c.num_hidden_layers)])
        self.norm = _norm(c)
        self.head_dim, self.theta = c.head_dim, float(c.rope_theta)
        # The reference rounds this factor to the embeddings' dtype.
        self.embedding_scales = {dtype: _rounded(math.sqrt(c.hidden_size), dtype) for dtype in _MANTISSAS}

    @property
    def most_tokens(self) -> int:
        """Every other layer sees no further back than the sliding window; texts fit into it, so all act alike."""
        c: Gemma2Fields = self.fields
        return min(c.max_position_embeddings, c.sliding_window or c.max_position_embeddings)

    @property
    def key_channels(self) -> list[int]:
        c: Gemma2Fields = self.fields
        return [c.num_key_value_heads * c.head_dim] * c.num_hidden_layers

    def enable_attention_softcapping(self, enabled: bool = True) -> None:
        """Keep attention's scores within ±``attn_logit_softcapping``, as Gemma was trained, or not.

        Off by default: transformers 4 computes attention with a kernel that cannot cap, and the families here were
        trained with that and are compared to it. transformers 5 caps.

        Raises:
            ValueError: the config has no ``attn_logit_softcapping``.
        """
        cap = self.fields.attn_logit_softcapping
        if enabled and cap is None:
            raise ValueError("attention cannot be capped: attn_logit_softcapping in config.json is null")
        for layer in self.layers:
            layer.self_attn.softcap = float(cap) if enabled else None
        self.graphs.clear()
        self.forget_beginnings()

    def construct(
        self, input_ids: Array, positions: Array, hidden: Array, past: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        cosines, sines = F.rotary_table(positions, (self.head_dim,), self.theta)
        x = F.affine(self.embed_tokens(input_ids), self.embedding_scales[self.dtype])
        made = []
        for number, layer in enumerate(self.layers):
            x, key, value = layer(x, cosines, sines, hidden, past[2 * number], past[2 * number + 1])
            made += [key, value]
        return tuple([self.norm(x), *made])


def _norm(c: Gemma2Fields) -> RMSNorm:
    """A norm of the hidden states; its weights are added to 1."""
    return RMSNorm(c.hidden_size, c.rms_norm_eps, 1.0)


class Gemma2Attention(nn.Cell):
    """Attention to earlier tokens; several heads share keys and values."""

    def __init__(self, c: Gemma2Fields):
        super().__init__()
        self.heads, self.key_heads = c.num_attention_heads, c.num_key_value_heads
        self.scale = float(c.query_pre_attn_scalar) ** -0.5
        self.softcap: float | None = None
        self.flash: FlashAttention | None = None  # it takes no mask
        inner, shared, bias = self.heads * c.head_dim, self.key_heads * c.head_dim, c.attention_bias
        self.q_proj = Linear(c.hidden_size, inner, bias)
        self.k_proj = Linear(c.hidden_size, shared, bias)
        self.v_proj = Linear(c.hidden_size, shared, bias)
        self.o_proj = Linear(inner, c.hidden_size, bias)

    def construct(
        self, x: Array, cosines: Array, sines: Array, hidden: Array, past_key: Array, past_value: Array
    ) -> tuple[Array, Array, Array]:
        query = F.rotary(self.q_proj(x), cosines, sines, self.heads, False)
        key = F.rotary(self.k_proj(x), cosines, sines, self.key_heads, False)
        value = self.v_proj(x)
        keys, values = F.concat((past_key, key), 1), F.concat((past_value, value), 1)
        mixed = F.attention(query, keys, values, self.heads, False, self.flash, hidden, self.scale, self.softcap)
        return self.o_proj(mixed), key, value


class Gemma2MLP(Cell):
    """The gated feed-forward layer."""

    def __init__(self, c: Gemma2Fields):
        super().__init__()
        self.gate_proj = Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = Linear(c.intermediate_size, c.hidden_size, bias=False)
        self.act = Activation(c.hidden_activation)

    def construct(self, x: Array) -> Array:
        return self.down_proj(F.multiply(self.act(self.gate_proj(x)), self.up_proj(x)))


class Gemma2Layer(nn.Cell):
    """Attention and feed-forward, each normalised before and after, and with a shortcut."""

    def __init__(self, c: Gemma2Fields):
        super().__init__()
        self.self_attn = Gemma2Attention(c)
        self.mlp = Gemma2MLP(c)
        self.input_layernorm, self.post_attention_layernorm = _norm(c), _norm(c)
        self.pre_feedforward_layernorm, self.post_feedforward_layernorm = _norm(c), _norm(c)

    def construct(
        self, x: Array, cosines: Array, sines: Array, hidden: Array, past_key: Array, past_value: Array
    ) -> tuple[Array, Array, Array]:
        y, key, value = self.self_attn(self.input_layernorm(x), cosines, sines, hidden, past_key, past_value)
        x = F.add(x, self.post_attention_layernorm(y))
        y = self.mlp(self.pre_feedforward_layernorm(x))
        return F.add(x, self.post_feedforward_layernorm(y)), key, value


_MANTISSAS = {"float32": 24, "float16": 11, "bfloat16": 8}
"""The bits of a number's mantissa."""


def _rounded(value: float, dtype: str) -> float:
    """The nearest number of the dtype."""
    mantissa, exponent = math.frexp(value)
    bits = _MANTISSAS[dtype]
    return math.ldexp(round(mantissa * 2**bits), exponent - bits)
