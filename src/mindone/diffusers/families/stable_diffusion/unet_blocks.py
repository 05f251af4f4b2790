"""The parts of a UNet: stages of residual blocks, each followed by a transformer if the stage reads the text."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, TypeVar

from mindspore import nn

from ... import functional as F
from ...engines import Array
from ...models.cells import Cell, CellList, Identity
from ...models.layers import Attention, Conv2d, Downsample, GroupNorm, LayerNorm, Linear, ResnetBlock, Upsample
from .unet_fields import UNetEncoderFields


class Block(nn.Cell):
    """One stage of the UNet: residual blocks, each followed by a transformer if the stage attends to the text."""

    Resnet: ClassVar[type[ResnetBlock]] = ResnetBlock

    def __init__(
        self,
        c: UNetEncoderFields,
        ins: Sequence[int],
        out: int,
        time: int,
        depths: int | tuple[int, ...],
        heads: int,
        attends: bool,
    ):
        super().__init__()
        self.attentions = None
        if attends:
            self.attentions = CellList([Transformer(c, out, depth, heads) for depth in per_layer(depths, len(ins))])
        self.resnets = CellList([self.Resnet(i, out, c.norm_num_groups, c.norm_eps, c.act_fn, time) for i in ins])
        self.downsamplers: CellList[Downsample] | None = None
        self.upsamplers: CellList[Upsample] | None = None


class DownBlock(Block):
    """A stage on the way down; all but the lowest end with half the width and height."""

    def construct(self, x: Array, time: Array, context: Array) -> tuple[Array, ...]:
        """The results of its layers, in order; each is a skip connection."""
        results = []
        for layer in range(len(self.resnets)):
            x = self.resnets[layer](x, time)
            if self.attentions is not None:
                x = self.attentions[layer](x, context)
            results.append(x)
        if self.downsamplers is not None:
            results.append(self.downsamplers[0](x))
        return tuple(results)


class UpResnet(ResnetBlock):
    """A residual block on the input from below and a skip connection."""

    def construct(self, x: Array, skip: Array, time: Array) -> Array:  # type: ignore[override]
        return super().construct(F.concat((x, skip), 1), time)


class UpBlock(Block):
    """A stage on the way up; all but the highest are followed by ``upsamplers``."""

    Resnet = UpResnet

    def construct(self, x: Array, skips: Sequence[Array], time: Array, context: Array) -> Array:
        """``skips``: one for each layer, in the order of the way down, so the first one is used last."""
        for layer in range(len(self.resnets)):
            x = self.resnets[layer](x, skips[-1 - layer], time)
            if self.attentions is not None:
                x = self.attentions[layer](x, context)
        return x


class MidBlock(Cell):
    """The lowest stage: residual block, transformer, residual block; or only the first of them.

    ``depths`` None means the latter; if there are several, the first counts, as published.
    """

    def __init__(
        self, c: UNetEncoderFields, channels: int, time: int, depths: int | tuple[int, ...] | None, heads: int
    ):
        super().__init__()
        depth = depths[0] if isinstance(depths, tuple) else depths
        self.attentions = None if depth is None else CellList([Transformer(c, channels, depth, heads)])
        make = partial(ResnetBlock, channels, channels, c.norm_num_groups, c.norm_eps, c.act_fn, time)
        self.resnets = CellList([make() for _ in range(1 if depth is None else 2)])

    def construct(self, x: Array, time: Array, context: Array) -> Array:
        x = self.resnets[0](x, time)
        if self.attentions is not None:
            x = self.resnets[1](self.attentions[0](x, context), time)
        return x


class Transformer(Cell):
    """Transformer blocks over the pixels of an image, with a shortcut."""

    def __init__(self, c: UNetEncoderFields, channels: int, depth: int, heads: int):
        super().__init__()
        self.linear = c.use_linear_projection
        self.norm = GroupNorm(c.norm_num_groups, channels, 1e-6)
        self.proj_in = Linear(channels, channels) if self.linear else Conv2d(channels, channels, 1)
        self.transformer_blocks = CellList(
            [TransformerBlock(channels, c.cross_attention_dim, heads) for _ in range(depth)]
        )
        self.proj_out = Linear(channels, channels) if self.linear else Conv2d(channels, channels, 1)

    def construct(self, x: Array, context: Array) -> Array:
        batch, channels, height, width = x.shape
        y = self.norm(x)
        if not self.linear:
            y = self.proj_in(y)
        y = F.transpose(F.reshape(y, (batch, channels, height * width)), (0, 2, 1))
        if self.linear:
            y = self.proj_in(y)
        for block in self.transformer_blocks:
            y = block(y, context, (height, width))
        if self.linear:
            y = self.proj_out(y)
        y = F.reshape(F.transpose(y, (0, 2, 1)), (-1, channels, height, width))
        if not self.linear:
            y = self.proj_out(y)
        return F.add(x, y)


class TransformerBlock(Cell):
    """Self-attention, attention to the text, and a gated feed-forward layer, each normalised and with a shortcut."""

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        head_channels = channels // heads
        self.norm1 = LayerNorm(channels)
        self.attn1 = SelfAttention(channels, channels, heads, head_channels)
        self.norm2 = LayerNorm(channels)
        self.attn2 = Attention(channels, context_channels, heads, head_channels)
        self.norm3 = LayerNorm(channels)
        self.ff = FeedForward(channels, 4 * channels)

    def construct(self, x: Array, context: Array, size: tuple[int, int]) -> Array:
        x = x + self.attn1(self.norm1(x), size)
        x = F.add(x, self.attn2(self.norm2(x), context))
        return x + self.ff(self.norm3(x))


class SelfAttention(Attention):
    """Attention of an image's pixels (batch, height · width, channels) to each other.

    ``size`` is (height, width): this cell does not need it, but a replacement may (token downsampling).
    """

    def construct(self, x: Array, size: tuple[int, int]) -> Array:  # type: ignore[override]
        return super().construct(x, x)


class FeedForward(Cell):
    """A gated layer and the projection back. Checkpoints number the parts 0 and 2 (1 is a dropout)."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.net = CellList([GatedLinear(channels, inner), Identity(), Linear(inner, channels)])

    def construct(self, x: Array) -> Array:
        return self.net[2](self.net[0](x))


class GatedLinear(Cell):
    """GEGLU: see `functional.geglu`."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.proj = Linear(channels, 2 * inner)

    def construct(self, x: Array) -> Array:
        return F.geglu(x, self.proj.weight, self.proj.bias)


T = TypeVar("T")


def per_stage(value: int | tuple[T, ...], count: int) -> tuple[int | T, ...]:
    """One value per stage from a config's number or list."""
    return value if isinstance(value, tuple) else (value,) * count


def per_layer(depths: int | tuple[int, ...], layers: int) -> tuple[int, ...]:
    """The number of blocks in the transformer of each of a stage's layers.

    Raises:
        ValueError: the numbers of depths and layers differ.
    """
    depths = depths if isinstance(depths, tuple) else (depths,) * layers
    if len(depths) != layers:
        raise ValueError(
            f"transformer_layers_per_block or its reverse has {len(depths)} numbers for a stage of {layers} "
            "transformers"
        )
    return depths
