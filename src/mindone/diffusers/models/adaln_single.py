"""The shared parts of transformers with AdaLN-single: PixArt (Chen et al. 2023, arXiv 2310.00426, §2.3) and Sana.

The timestep becomes six rows shared by all blocks; each block adds its own table to them. The picture attends to the
text without a norm before, so the text's keys and values are the same at every step.
"""

from collections.abc import Iterable

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from .. import functional as F
from ..engines import Array, FlashAttention
from .cells import Cell, CellList, Identity
from .layers import Conv2d, Linear, RMSNorm, TimestepEmbedding
from .patches import as_tokens
from .wrapping import bare

SINUSOIDS = 256
"""The channels of the sinusoids of a timestep or another number."""
HIDDEN = -10000.0
"""Added to the scores of padding."""
QK_EPS = 1e-5
"""The ε of the norms of queries and keys."""
FINAL_EPS = 1e-6


# ---- the picture -----------------------------------------------------------------------------------------------------


class GridPatchEmbed(Cell):
    """Latents (batch, channels, height, width) as tokens (batch, tokens, width), row by row.

    Args:
        in_channels, width: the channels of latents and of tokens.
        patch_size: latents per token, along each side.
        base: tokens along each side of the training images.
        interpolation_scale: the divisor of positions; None for a network without positions.
    """

    def __init__(self, in_channels: int, width: int, patch_size: int, base: int, interpolation_scale: float | None):
        super().__init__()
        self.proj = Conv2d(in_channels, width, patch_size, stride=patch_size)
        self.base = base
        self.interpolation_scale = interpolation_scale

    def construct(self, latents: Array) -> Array:
        y = self.proj(latents)
        _, channels, height, width = y.shape
        x = as_tokens(y)
        if self.interpolation_scale is None:
            return x
        # Positions span the range of the training size, however many tokens there are.
        span = self.base / self.interpolation_scale
        return F.add(x, F.grid_embedding(height, width, channels, span))


# ---- the timestep ----------------------------------------------------------------------------------------------------


class TimeEmbedding(nn.Cell):
    """The timestep as the modulation of all blocks and of the output."""

    def __init__(self, width: int):
        super().__init__()
        self.emb = Timestep(width)
        self.linear = Linear(width, 6 * width)

    def construct(self, timestep: Array) -> tuple[tuple[Array, ...], Array]:
        """Six arrays (rows, 1, width): shift, scale and gate of attention, then of feed-forward; and the embedding."""
        return modulation_of(self.linear, self.emb(timestep))


class Timestep(Cell):
    """The part of `TimeEmbedding` that has a name in checkpoints."""

    def __init__(self, width: int):
        super().__init__()
        self.timestep_embedder = embedder(width)

    def construct(self, timestep: Array) -> Array:
        return self.timestep_embedder(sinusoids(timestep))


def embedder(width: int) -> TimestepEmbedding:
    """A perceptron from `sinusoids` to the tokens' channels."""
    return TimestepEmbedding(SINUSOIDS, width, "silu")


def sinusoids(numbers: Array) -> Array:
    """Numbers of any shape as sinusoids, cosines first: numbers.shape + (SINUSOIDS,)."""
    return F.timestep_embedding(numbers, SINUSOIDS, True, 0.0)


def modulation_of(linear: Linear, embedding: Array) -> tuple[tuple[Array, ...], Array]:
    """The modulation of every block by an embedding (rows, width), and the embedding as (rows, 1, width)."""
    rows, width = embedding.shape
    y = F.reshape(linear(F.silu(embedding)), (rows, 6, width))
    return tuple([F.slice_axis(y, 1, i, i + 1) for i in range(6)]), F.reshape(embedding, (rows, 1, width))


def table_row(table: Array, index: int) -> Array:
    """A row of a table (rows, width), as (1, 1, width)."""
    return F.reshape(F.slice_axis(table, 0, index, index + 1), (1, 1, table.shape[1]))


def block_modulation(table: Array, modulation: tuple[Array, ...]) -> list[Array]:
    """A block's six rows: the shared ones plus its own ``table`` (6, width)."""
    return [F.add(table_row(table, i), modulation[i]) for i in range(6)]


def ending(x: Array, table: Array, time: Array) -> Array:
    """Tokens after the last block, normalised and modulated by the embedding (rows, 1, width) and a table (2, …)."""
    shift, scale = [F.add(table_row(table, i), time) for i in range(2)]
    return F.modulate(F.layer_norm(x, eps=FINAL_EPS), scale, shift)


# ---- the text --------------------------------------------------------------------------------------------------------


class CaptionProjection(Cell):
    """The text encoder's channels as those of the tokens."""

    def __init__(self, in_channels: int, width: int):
        super().__init__()
        self.linear_1 = Linear(in_channels, width)
        self.linear_2 = Linear(width, width)

    def construct(self, x: Array) -> Array:
        return self.linear_2(F.gelu_tanh(self.linear_1(x)))


class TextAttention(Cell):
    """Attention of tokens (batch, tokens, width) to the text's.

    The keys and values are the same at every step, so the caller computes them once beforehand.
    """

    def __init__(
        self, width: int, text_width: int, heads: int, head_channels: int, bias: bool = True, qk_norm: bool = False
    ):
        super().__init__()
        inner = heads * head_channels
        self.heads = heads
        self.flash: FlashAttention | None = FlashAttention()
        self.to_q, self.to_k, self.to_v = [Linear(n, inner, bias) for n in (width, text_width, text_width)]
        self.norm_q, self.norm_k = [RMSNorm(inner, QK_EPS) if qk_norm else Identity() for _ in range(2)]
        self.to_out = CellList([Linear(inner, width)])

    def keys_and_values(self, text: Array) -> tuple[Array, Array]:
        """The keys and values of the text (batch, tokens, text_width), both (batch, tokens, heads · size)."""
        return self.norm_k(self.to_k(text)), self.to_v(text)

    def construct(self, x: Array, text: tuple[Array, ...], hidden: Array | None) -> Array:
        """``text`` are its `keys_and_values`."""
        query, (key, value) = self.norm_q(self.to_q(x)), text
        return self.to_out[0](F.attention(query, key, value, self.heads, False, self.flash, hidden))


def keys_and_values_of(text: Array, blocks: Iterable[nn.Cell]) -> tuple[Array, ...]:
    """The keys and values of the text from each block's ``attn2``, all (batch, tokens, heads · size)."""
    read: list[Array] = []
    for block in blocks:
        attention: TextAttention = bare(block).attn2
        read.extend(attention.keys_and_values(text))
    return tuple(read)


def scores_of_padding(mask: Array | None) -> Array | None:
    """The bias of attention's scores, (batch, 1, 1, tokens), for a mask (batch, tokens) of 1 for words, else 0."""
    if mask is None:
        return None
    rows, tokens = mask.shape
    return F.reshape(F.affine(mask, -HIDDEN, HIDDEN), (rows, 1, 1, tokens))


# ---- calls by hand ---------------------------------------------------------------------------------------------------


def numbers(value: Array | float) -> NDArray[np.generic]:
    """One number or several as an array (count,)."""
    return np.reshape(value.asnumpy() if isinstance(value, ms.Tensor) else value, (-1,))


def check_unused(network: str, **given: object) -> None:
    """Refuse published arguments that have no meaning here.

    Raises:
        ValueError: one of them is not None.
    """
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} must be None: {network} does not support it here")
