"""IP-Adapter's own networks: from CLIP's vectors of a picture to a few tokens alongside the text's."""

from dataclasses import dataclass
from typing import Any

from .. import functional as F
from ..engines import Array
from .base import Model
from .cells import Cell, CellList, Identity
from .fields import Channels, Count
from .layers import Activation, Attention, LayerNorm, Linear, parameter


@dataclass(frozen=True)
class ImageProjectionFields:
    """The arguments of `ImageProjection`."""

    image_embed_dim: Channels = 768
    cross_attention_dim: Channels = 768
    num_image_text_embeds: Count = 32


class ImageProjection(Model):
    """One vector per picture to ``num_image_text_embeds`` tokens (Ye et al. 2023, §3.2.1)."""

    Fields = ImageProjectionFields

    def __init__(self, **config: Any):
        super().__init__(config)
        c: ImageProjectionFields = self.fields
        self.tokens = c.num_image_text_embeds
        self.image_embeds = Linear(c.image_embed_dim, c.num_image_text_embeds * c.cross_attention_dim)
        self.norm = LayerNorm(c.cross_attention_dim)

    def construct(self, image_embeds: Array) -> Array:
        """(pictures, image_embed_dim) to (pictures, tokens, cross_attention_dim)."""
        tokens = self.image_embeds(image_embeds)
        return self.norm(F.reshape(tokens, (image_embeds.shape[0], self.tokens, -1)))


@dataclass(frozen=True)
class ResamplerFields:
    """The arguments of `IPAdapterPlusImageProjection`."""

    embed_dims: Channels = 768
    output_dims: Channels = 1024
    hidden_dims: Channels = 1280
    depth: Count = 4
    dim_head: Channels = 64
    heads: Count = 16
    num_queries: Count = 8
    ffn_ratio: Count = 4


class IPAdapterPlusImageProjection(Model):
    """All of a picture's vectors to ``num_queries`` tokens: the Perceiver resampler (Alayrac et al. 2022, §3.1.1)."""

    Fields = ResamplerFields

    def __init__(self, **config: Any):
        super().__init__(config)
        c: ResamplerFields = self.fields
        self.latents = parameter(1, c.num_queries, c.hidden_dims)
        self.proj_in = Linear(c.embed_dims, c.hidden_dims)
        self.layers = CellList([ResamplerLayer(c) for _ in range(c.depth)])
        self.proj_out = Linear(c.hidden_dims, c.output_dims)
        self.norm_out = LayerNorm(c.output_dims)

    def construct(self, image_embeds: Array) -> Array:
        """(pictures, vectors, embed_dims) to (pictures, num_queries, output_dims)."""
        x = self.proj_in(image_embeds)
        latents = F.repeat_rows(F.reshape(self.latents, self.latents.shape), x.shape[0])
        for layer in self.layers:
            latents = layer(x, latents)
        return self.norm_out(self.proj_out(latents))


class ResamplerLayer(Cell):
    """Queries attend to the picture's vectors and to each other at once; then a feed-forward layer."""

    def __init__(self, c: ResamplerFields):
        super().__init__()
        self.ln0, self.ln1 = LayerNorm(c.hidden_dims), LayerNorm(c.hidden_dims)
        self.attn = Attention(c.hidden_dims, c.hidden_dims, c.heads, c.dim_head)
        self.attn.to_out = CellList([Linear(c.heads * c.dim_head, c.hidden_dims, bias=False)])
        inner = c.ffn_ratio * c.hidden_dims
        self.ff = CellList([LayerNorm(c.hidden_dims), PlainFeedForward(c.hidden_dims, inner)])

    def construct(self, x: Array, latents: Array) -> Array:
        queries = self.ln1(latents)
        latents = latents + self.attn(queries, F.concat((self.ln0(x), queries), 1))
        return latents + self.ff[1](self.ff[0](latents))


class PlainFeedForward(Cell):
    """Two layers without biases around a GELU. Checkpoints number the parts 0 and 2 (1 is a dropout)."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.net = CellList([_GELULinear(channels, inner), Identity(), Linear(inner, channels, bias=False)])

    def construct(self, x: Array) -> Array:
        return self.net[2](self.net[0](x))


class _GELULinear(Cell):
    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.proj = Linear(channels, inner, bias=False)
        self.act = Activation("gelu")

    def construct(self, x: Array) -> Array:
        return self.act(self.proj(x))
