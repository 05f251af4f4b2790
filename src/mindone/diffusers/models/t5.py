"""The encoder of T5 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning"), version 1.0 or 1.1.

All tokens of a text see each other. Their positions enter as a bias of attention's scores: a number for each head and
each kind of distance (§2.1), the same in all layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, Strict

from .. import functional as F
from ..engines import Array, Engine, FlashAttention, single
from ..engines.base import FreeAxes
from ..loading.fields import Fraction
from .cells import Cell, CellList
from .fields import Channels, Count, TableSize
from .layers import Activation, Embedding, Linear, RMSNorm
from .text_model import LOWEST, Floats, Ids, TextModel, fillers, grouped

Distance = Annotated[int, Strict(), Field(ge=2, le=2**20)]
Wide = Annotated[int, Strict(), Field(ge=1, le=2**17)]
Buckets = Annotated[int, Strict(), Field(ge=4, le=256, multiple_of=4)]

_AT_ONCE = 256
"""The most tokens in one run: layers read their weights once for all of them, which gains nothing beyond a few hundred
tokens, while the scores' memory grows with the square of the tokens."""
_MOST = 2048
"""The longest text: in the largest model one layer's scores then take 1 GB."""


@dataclass(frozen=True)
class T5Fields:
    """The fields of ``config.json``; the defaults are those of T5-v1.1-XXL."""

    vocab_size: TableSize = 32_128
    d_model: Channels = 4096
    d_kv: Channels = 64
    d_ff: Wide = 10_240
    num_layers: Count = 24
    num_heads: Count = 64
    relative_attention_num_buckets: Buckets = 32
    relative_attention_max_distance: Distance = 128
    layer_norm_epsilon: Fraction = 1e-6
    feed_forward_proj: Literal["gated-gelu", "relu"] = "gated-gelu"

    def __post_init__(self) -> None:
        exact = self.relative_attention_num_buckets // 4
        if self.relative_attention_max_distance <= exact:
            raise ValueError(
                f"relative_attention_max_distance must be more than {exact}, a quarter of "
                f"relative_attention_num_buckets, got {self.relative_attention_max_distance}"
            )


class T5EncoderModel(TextModel):
    """Text tokens to one vector per token.

    Call `encode_with`, or the network itself with ids and a mask. Without a mask all tokens count, including padding:
    Stable Diffusion 3 and FLUX were trained that way. With a mask, padding is skipped and its result is zeros; the
    reference computes values there that nothing reads.

    Asked for float16, whose range it exceeds, it computes in bfloat16; transformers then keeps a third of its weights
    in float32 and clips overflows.
    """

    Fields = T5Fields
    weights_name = "model"
    exceeds_float16 = True
    kept_in_int8 = ("relative_attention_bias.",)
    free_axes: ClassVar[FreeAxes] = {"construct": {0: (1,), "buckets": (1, 2), "hidden": (2, 3)}}

    def __init__(self, **config: Any):
        super().__init__(config)
        c: T5Fields = self.fields
        self.shared = Embedding(c.vocab_size, c.d_model)
        self.encoder = T5Stack(c)

    @property
    def most_tokens(self) -> int:
        """The most tokens that fit into memory: distances have no limit."""
        return _MOST

    def construct(self, input_ids: Array, buckets: Array, hidden: Array) -> Array:
        """Encode tokens.

        Args:
            input_ids: (1, tokens) integers.
            buckets: (1, tokens, tokens) integers, the kind of distance from each token to each other one; see
                `distance_buckets`.
            hidden: (1, 1, tokens, tokens), the bias of attention's scores: 0 where a token sees another one, the lowest
                number where it does not.

        Returns:
            The hidden states (1, tokens, d_model).
        """
        return self.encoder(self.shared(input_ids), buckets, hidden)

    def encode_with(self, engine: Engine, input_ids: Array, attention_mask: Array | None = None) -> Array:
        """Encode texts; see `TextModel.encode_with`."""
        ids, lengths = self._checked(input_ids, attention_mask)
        states = np.zeros((*ids.shape, self.fields.d_model), np.float32)
        for rows in grouped(lengths, _AT_ONCE):
            parts = [ids[row, : lengths[row]] for row in rows]
            ends = np.cumsum([len(part) for part in parts])
            for row, some in zip(rows, np.split(self._read(engine, parts), ends[:-1])):
                states[row, : len(some)] = some
        return engine.asarray(states)

    def _read(self, engine: Engine, texts: Sequence[Ids]) -> Floats:
        """The hidden states of concatenated texts, (tokens, d_model)."""
        c: T5Fields = self.fields
        count = sum(map(len, texts))
        texts = [*texts, *[np.zeros(1, np.int64)] * fillers(engine, count)]
        owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
        places = np.concatenate([np.arange(len(text)) for text in texts])
        distances = places[None] - places[:, None]
        buckets = distance_buckets(distances, c.relative_attention_num_buckets, c.relative_attention_max_distance)
        hidden = np.where(owners[None] == owners[:, None], np.float32(0), LOWEST)
        result = engine.run(self, np.concatenate(texts)[None], buckets=buckets[None], hidden=hidden[None, None])
        return engine.numpy(single(result))[0, :count]


class T5Stack(Cell):
    """The layers, followed by a norm."""

    def __init__(self, c: T5Fields):
        super().__init__()
        self.block = CellList([T5Block(c, number == 0) for number in range(c.num_layers)])
        self.final_layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def construct(self, x: Array, buckets: Array, hidden: Array) -> Array:
        distances = self.block[0].layer[0].SelfAttention.relative_attention_bias(buckets)
        bias = F.add(F.transpose(distances, (0, 3, 1, 2)), hidden)
        for block in self.block:
            x = block(x, bias)
        return self.final_layer_norm(x)


class T5Block(Cell):
    """Attention and feed-forward, each after a norm and with a shortcut."""

    def __init__(self, c: T5Fields, has_distances: bool):
        super().__init__()
        self.layer = CellList([T5LayerSelfAttention(c, has_distances), T5LayerFF(c)])

    def construct(self, x: Array, bias: Array) -> Array:
        return self.layer[1](self.layer[0](x, bias))


class T5LayerSelfAttention(Cell):
    """Attention after a norm, with a shortcut."""

    def __init__(self, c: T5Fields, has_distances: bool):
        super().__init__()
        self.SelfAttention = T5Attention(c, has_distances)
        self.layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def construct(self, x: Array, bias: Array) -> Array:
        return F.add(x, self.SelfAttention(self.layer_norm(x), bias))


class T5Attention(Cell):
    """Attention with unscaled scores: training accounts for that."""

    def __init__(self, c: T5Fields, has_distances: bool):
        super().__init__()
        self.heads = c.num_heads
        self.flash: FlashAttention | None = None  # it takes no bias
        inner = c.num_heads * c.d_kv
        self.q = Linear(c.d_model, inner, bias=False)
        self.k = Linear(c.d_model, inner, bias=False)
        self.v = Linear(c.d_model, inner, bias=False)
        self.o = Linear(inner, c.d_model, bias=False)
        if has_distances:
            self.relative_attention_bias = Embedding(c.relative_attention_num_buckets, c.num_heads)

    def construct(self, x: Array, bias: Array) -> Array:
        mixed = F.attention(self.q(x), self.k(x), self.v(x), self.heads, False, self.flash, bias, 1.0)
        return self.o(mixed)


class T5LayerFF(Cell):
    """Feed-forward after a norm, with a shortcut."""

    def __init__(self, c: T5Fields):
        super().__init__()
        self.DenseReluDense: Cell = T5DenseGated(c) if c.feed_forward_proj == "gated-gelu" else T5Dense(c)
        self.layer_norm = RMSNorm(c.d_model, c.layer_norm_epsilon)

    def construct(self, x: Array) -> Array:
        return F.add(x, self.DenseReluDense(self.layer_norm(x)))


class T5DenseGated(Cell):
    """Version 1.1: GEGLU with GELU's approximation (Shazeer 2020, eq. 6)."""

    def __init__(self, c: T5Fields):
        super().__init__()
        self.wi_0 = Linear(c.d_model, c.d_ff, bias=False)
        self.wi_1 = Linear(c.d_model, c.d_ff, bias=False)
        self.wo = Linear(c.d_ff, c.d_model, bias=False)
        self.act = Activation("gelu_pytorch_tanh")

    def construct(self, x: Array) -> Array:
        return self.wo(F.multiply(self.act(self.wi_0(x)), self.wi_1(x)))


class T5Dense(Cell):
    """Version 1.0."""

    def __init__(self, c: T5Fields):
        super().__init__()
        self.wi = Linear(c.d_model, c.d_ff, bias=False)
        self.wo = Linear(c.d_ff, c.d_model, bias=False)
        self.act = Activation("relu")

    def construct(self, x: Array) -> Array:
        return self.wo(self.act(self.wi(x)))


def distance_buckets(distances: Ids, buckets: int, farthest: int) -> Ids:
    """The kind of each distance, key minus query (Raffel et al. 2020, §2.1).

    Half of the ``buckets`` are for keys up to the query, half for later keys. In each half the first half has one
    bucket per distance; the others grow logarithmically up to ``farthest``, beyond which all distances share one.
    """
    half = buckets // 2
    exact = half // 2
    absolute = np.abs(distances)
    # In float32, as in the reference: some distances lie exactly on a border.
    ratio = np.log(np.maximum(absolute, 1).astype(np.float32) / np.float32(exact)) / np.float32(
        np.log(farthest / exact)
    )
    grown = exact + (ratio * np.float32(half - exact)).astype(np.int64)
    near = np.where(absolute < exact, absolute, np.minimum(grown, half - 1))
    return np.asarray(near + half * (distances > 0), np.int64)
