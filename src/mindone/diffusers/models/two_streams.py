"""The shared parts of two-stream transformers, for image and text: MMDiT (Esser et al. 2024, arXiv 2403.03206, §4,
figure 2).

Both attend to both. If a network rotates queries and keys by position (FLUX.1), they come with a `Turn`.
"""

from typing import Any, TypeAlias

from mindspore import nn

from .. import functional as F
from ..engines import Array, FlashAttention
from .cells import Cell, CellList
from .layers import Linear, TimestepEmbedding, parameter

SINUSOIDS = 256
"""The channels of a timestep's sinusoids."""
EPS = 1e-6
"""The ε of all norms."""


Turn: TypeAlias = tuple[Array, Array]
"""The rotations of queries and keys: cosines and sines, (tokens, size of a head / 2), from `functional`."""


class TimeTextEmbedding(Cell):
    """The timestep and the pooled text, as one vector (rows, width) that modulates all blocks.

    With ``reads_guidance`` a guidance scale is embedded like the timestep (Meng et al. 2023, arXiv 2210.03142).
    """

    def __init__(self, pooled_channels: int, width: int, reads_guidance: bool = False):
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(SINUSOIDS, width, "silu")
        self.guidance_embedder: Any = TimestepEmbedding(SINUSOIDS, width, "silu") if reads_guidance else None
        self.text_embedder = TimestepEmbedding(pooled_channels, width, "silu")

    def construct(self, timestep: Array, pooled: Array, guidance: Array | None = None) -> Array:
        time = self.timestep_embedder(F.timestep_embedding(timestep, SINUSOIDS, True, 0.0))
        if guidance is not None:
            scale = self.guidance_embedder(F.timestep_embedding(guidance, SINUSOIDS, True, 0.0))
            time = F.add(time, scale)
        return F.add(time, self.text_embedder(pooled))


class Modulation(nn.Cell):
    """``parts`` of (rows, 1, width): shift, scale and gate of attention, of feed-forward, and of a second attention."""

    def __init__(self, width: int, parts: int):
        super().__init__()
        self.parts = parts
        self.linear = Linear(width, parts * width)

    def construct(self, time: Array) -> tuple[Array, ...]:
        rows, width = time.shape
        y = F.reshape(self.linear(time), (rows, self.parts, width))
        return tuple([F.slice_axis(y, 1, i, i + 1) for i in range(self.parts)])


class ContinuousNorm(Cell):
    """Layer normalization with a scale and a shift from the time: AdaLN (Peebles & Xie 2023, §3.2)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = Linear(width, 2 * width)

    def construct(self, x: Array, time: Array) -> Array:
        rows, width = time.shape
        y = F.reshape(self.linear(time), (rows, 2, width))
        return F.modulate(normed(x), F.slice_axis(y, 1, 0, 1), F.slice_axis(y, 1, 1, 2))


class HeadNorm(Cell):
    """Root mean square normalization of each head of (batch, tokens, heads · size), and a factor."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = parameter(size)

    def construct(self, x: Array, factor: float = 1.0) -> Array:
        rows, tokens, channels = x.shape
        size = self.weight.shape[0]
        heads = F.reshape(x, (rows, tokens, channels // size, size))
        # The factor goes into the weight, which costs nothing if that is known when the network is compiled.
        weight = self.weight if factor == 1.0 else F.affine(self.weight, factor)
        return F.reshape(F.rms_norm(heads, weight, EPS), (rows, tokens, channels))


class SelfAttention(nn.Cell):
    """Multi-head attention of tokens (batch, tokens, width) to each other.

    Args:
        heads, size: the number of heads, and the channels of each.
        norms_heads: whether queries and keys are normalised.
        has_output: whether a layer follows.
    """

    def __init__(self, heads: int, size: int, norms_heads: bool, has_output: bool = True):
        super().__init__()
        width = heads * size
        self.heads, self.scale = heads, size**-0.5
        self.flash: FlashAttention | None = FlashAttention()
        self.to_q, self.to_k, self.to_v = [Linear(width, width) for _ in range(3)]
        self.to_out: Any = CellList([Linear(width, width)]) if has_output else None
        norms: list[Any] = [HeadNorm(size) if norms_heads else None for _ in range(2)]
        self.norm_q, self.norm_k = norms

    def construct(self, x: Array, turn: Turn | None = None) -> Array:
        return self.of(x, turn, x, turn)

    def of(self, asking: Array, turn_of_asking: Turn | None, x: Array, turn: Turn | None) -> Array:
        """The attention of some tokens to all tokens ``x``."""
        query = self._query(self.to_q(asking), self.norm_q, turn_of_asking)
        mixed = self._mixed(query, self._key(self.to_k(x), self.norm_k, turn), self.to_v(x))
        return mixed if self.to_out is None else self.to_out[0](mixed)

    def _query(self, x: Array, norm: HeadNorm | None, turn: Turn | None) -> Array:
        """Queries, normalised if there is a norm, scaled and rotated."""
        return self._turned(F.affine(x, self.scale) if norm is None else norm(x, self.scale), turn)

    def _key(self, x: Array, norm: HeadNorm | None, turn: Turn | None) -> Array:
        return self._turned(x if norm is None else norm(x), turn)

    def _turned(self, x: Array, turn: Turn | None) -> Array:
        return x if turn is None else F.rotary(x, turn[0], turn[1], self.heads, True)

    def _mixed(self, query: Array, key: Array, value: Array) -> Array:
        """Attention of already scaled queries."""
        return F.attention(query, key, value, self.heads, False, self.flash, None, 1.0)


class JointAttention(SelfAttention):
    """Multi-head attention of the tokens of image and text to both.

    Each stream queries separately: the same numbers as one attention, but without joining and splitting the queries.
    """

    def __init__(self, heads: int, size: int, norms_heads: bool, is_last: bool = False):
        super().__init__(heads, size, norms_heads)
        width = heads * size
        self.add_q_proj, self.add_k_proj, self.add_v_proj = [Linear(width, width) for _ in range(3)]
        self.to_add_out: Any = None if is_last else Linear(width, width)
        norms: list[Any] = [HeadNorm(size) if norms_heads else None for _ in range(2)]
        self.norm_added_q, self.norm_added_k = norms

    def construct(  # type: ignore[override]
        self,
        x: Array,
        text: Array,
        turn: Turn | None = None,
        turn_of_text: Turn | None = None,
        last_counts: int = 1,
    ) -> tuple[Array, Array]:
        """The attention outputs of image and text (batch, tokens, width), each rotated by its own `Turn`.

        Attention sees the last token of the text ``last_counts`` times.
        """
        key, value = self._keys_and_values(x, text, turn, turn_of_text, last_counts)
        asked = self._query(self.add_q_proj(text), self.norm_added_q, turn_of_text)
        return self._read(x, key, value, turn), self.to_add_out(self._mixed(asked, key, value))

    def of_image(self, x: Array, text: Array, last_counts: int = 1) -> Array:
        """The attention output of the image alone."""
        key, value = self._keys_and_values(x, text, None, None, last_counts)
        return self._read(x, key, value, None)

    def _read(self, x: Array, key: Array, value: Array, turn: Turn | None) -> Array:
        read: Array = self.to_out[0](self._mixed(self._query(self.to_q(x), self.norm_q, turn), key, value))
        return read

    def _keys_and_values(
        self, x: Array, text: Array, turn: Turn | None, of_text: Turn | None, last_counts: int
    ) -> tuple[Array, Array]:
        """The keys and values of both: (batch, tokens of both, width)."""
        own = self._key(self.to_k(x), self.norm_k, turn)
        added = self._key(self.add_k_proj(text), self.norm_added_k, of_text)
        return _joined(own, added, last_counts), _joined(self.to_v(x), self.add_v_proj(text), last_counts)


def _joined(image: Array, text: Array, last_counts: int) -> Array:
    """The tokens of both streams, with the last one of the text ``last_counts`` times."""
    if last_counts == 1:
        return F.concat((image, text), 1)
    tokens = text.shape[1]
    return F.concat((image, text, F.repeat_channels(F.slice_axis(text, 1, tokens - 1, tokens), last_counts - 1)), 1)


def normed(x: Array) -> Array:
    """Layer normalization without weights."""
    return F.layer_norm(x, eps=EPS)


def fed(feed_forward: Cell, x: Array, modulation: tuple[Array, ...]) -> Array:
    """``x`` after a feed-forward layer with a shortcut, modulated by the last three of a `Modulation`'s first six."""
    y = F.modulate(normed(x), modulation[4], modulation[3])
    return F.add(x, F.multiply(modulation[5], feed_forward(y)))
