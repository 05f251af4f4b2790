"""What transformers with AdaLN-single share: PixArt (Chen et al. 2023, arXiv 2310.00426, §2.3) and Sana.

The timestep becomes six rows, which are the same for all blocks; each block has a table of its own to add to them. The
picture attends to the text without a norm before, so that its keys and values are the same at every step.
"""

from collections.abc import Iterable

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from .. import functional as F
from ..engines import Array, FlashAttention
from .cells import Cell, CellList, Identity
from .layers import Conv2d, Linear, TimestepEmbedding, parameter
from .patches import as_tokens
from .wrapping import bare

SINUSOIDS = 256
"""The channels that a timestep, and any other number, becomes."""
HIDDEN = -10000.0
"""What is added to the scores of padding."""
QK_EPS = 1e-5
"""Of the norms of queries and keys."""
FINAL_EPS = 1e-6


# ---- the picture -----------------------------------------------------------------------------------------------------


class GridPatchEmbed(Cell):
    """Latents (batch, channels, height, width) as tokens (batch, tokens, width), row by row.

    Args:
        in_channels, width: the channels of latents and of tokens.
        patch_size: how many latents are one token, along each side.
        base: the tokens along each side of the images that the network was trained on.
        interpolation_scale: what positions are divided by; None is a network without positions.
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
        # Positions run as far as those of the size that the network was trained on, however many tokens there are.
        span = self.base / self.interpolation_scale
        return F.add(x, F.grid_embedding(height, width, channels, span))


# ---- the timestep ----------------------------------------------------------------------------------------------------


class TimeEmbedding(nn.Cell):
    """The timestep as what modulates all blocks and the end."""

    def __init__(self, width: int):
        super().__init__()
        self.emb = Timestep(width)
        self.linear = Linear(width, 6 * width)

    def construct(self, timestep: Array) -> tuple[tuple[Array, ...], Array]:
        """Six of (rows, 1, width): shift, scale and gate of attention, then of what follows; and the embedding."""
        return modulation_of(self.linear, self.emb(timestep))


class Timestep(Cell):
    """The part of `TimeEmbedding` that checkpoints have a name for."""

    def __init__(self, width: int):
        super().__init__()
        self.timestep_embedder = embedder(width)

    def construct(self, timestep: Array) -> Array:
        return self.timestep_embedder(sinusoids(timestep))


def embedder(width: int) -> TimestepEmbedding:
    """What makes tokens' channels of `sinusoids`."""
    return TimestepEmbedding(SINUSOIDS, width, "silu")


def sinusoids(numbers: Array) -> Array:
    """Numbers of any shape as sinusoids, cosines first: numbers.shape + (SINUSOIDS,)."""
    return F.timestep_embedding(numbers, SINUSOIDS, True, 0.0)


def modulation_of(linear: Linear, embedding: Array) -> tuple[tuple[Array, ...], Array]:
    """What an embedding (rows, width) says to every block, and itself as (rows, 1, width)."""
    rows, width = embedding.shape
    y = F.reshape(linear(F.silu(embedding)), (rows, 6, width))
    return tuple([F.slice_axis(y, 1, i, i + 1) for i in range(6)]), F.reshape(embedding, (rows, 1, width))


def table_row(table: Array, index: int) -> Array:
    """A row of a table (rows, width), as (1, 1, width)."""
    return F.reshape(F.slice_axis(table, 0, index, index + 1), (1, 1, table.shape[1]))


def block_modulation(table: Array, modulation: tuple[Array, ...]) -> list[Array]:
    """What a block makes of the six rows that all share: its own ``table`` (6, width) is added."""
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


class RMSNorm(Cell):
    """Root mean square normalization of (..., channels)."""

    def __init__(self, channels: int, eps: float):
        super().__init__()
        self.eps = eps
        self.weight = parameter(channels)

    def construct(self, x: Array) -> Array:
        return F.rms_norm(x, self.weight, self.eps)


class TextAttention(Cell):
    """Of tokens (batch, tokens, width) to those of the text.

    Which keys and values that means is the same at every step, so whoever calls it has them made before.
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
        """Of the text (batch, tokens, text_width): both (batch, tokens, heads · size)."""
        return self.norm_k(self.to_k(text)), self.to_v(text)

    def construct(self, x: Array, text: tuple[Array, ...], hidden: Array | None) -> Array:
        """``text`` are its `keys_and_values`."""
        query, (key, value) = self.norm_q(self.to_q(x)), text
        return self.to_out[0](F.attention(query, key, value, self.heads, False, self.flash, hidden))


def keys_and_values_of(text: Array, blocks: Iterable[nn.Cell]) -> tuple[Array, ...]:
    """The keys and the values that each block's ``attn2`` makes of the text, all (batch, tokens, heads · size)."""
    read: list[Array] = []
    for block in blocks:
        attention: TextAttention = bare(block).attn2
        read.extend(attention.keys_and_values(text))
    return tuple(read)


def scores_of_padding(mask: Array | None) -> Array | None:
    """What attention adds to its scores, (batch, 1, 1, tokens), for a mask (batch, tokens) of 1 for words, else 0."""
    if mask is None:
        return None
    rows, tokens = mask.shape
    return F.reshape(F.affine(mask, -HIDDEN, HIDDEN), (rows, 1, 1, tokens))


# ---- calls by hand ---------------------------------------------------------------------------------------------------


def numbers(value: Array | float) -> NDArray[np.generic]:
    """One number or several as an array (count,)."""
    return np.reshape(value.asnumpy() if isinstance(value, ms.Tensor) else value, (-1,))


def check_unused(network: str, **given: object) -> None:
    """Refuse published arguments that mean nothing here.

    Raises:
        ValueError: one of them is not None.
    """
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name} must be None: {network} has no use for it here")
