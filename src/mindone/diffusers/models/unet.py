"""The UNet that predicts noise: Latent Diffusion (Rombach et al. 2022, §3.2) and SDXL (Podell et al. 2023, §2.1)."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mindspore import nn
from pydantic import Field, Strict

from .. import functional as F
from ..loading.fields import Flag, Fraction
from .base import Model
from .fields import (
    ActivationName,
    Channels,
    Count,
    CountOrNone,
    One,
    PerStage,
    StageChannels,
    Stages,
    TableSize,
    Zero,
    check_divides,
)
from .layers import Activation, Attention, Conv2d, Downsample, GroupNorm, LayerNorm, Linear, ResnetBlock, Upsample

DownBlocks = Annotated[tuple[Literal["CrossAttnDownBlock2D", "DownBlock2D"], ...], Stages]
UpBlocks = Annotated[tuple[Literal["CrossAttnUpBlock2D", "UpBlock2D"], ...], Stages]
Depths = CountOrNone | Annotated[tuple[CountOrNone, ...], Stages]
Side = Annotated[int, Strict(), Field(ge=1, le=2048)]


@dataclass(frozen=True)
class UNetFields:
    """The fields of ``config.json``; a list gives one value a stage, from the highest resolution to the lowest.

    ``attention_head_dim`` is, for historical reasons, the *number* of heads. Fields that are honoured at one value only
    have a type with that value alone.
    """

    sample_size: Side | tuple[Side, Side] | None = None
    in_channels: Channels = 4
    out_channels: Channels = 4
    center_input_sample: Literal[False] = False
    flip_sin_to_cos: Flag = True
    freq_shift: Annotated[int, Strict(), Field(ge=0, le=1)] = 0
    down_block_types: DownBlocks = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: Literal["UNetMidBlock2DCrossAttn"] | None = "UNetMidBlock2DCrossAttn"
    up_block_types: UpBlocks = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    only_cross_attention: Literal[False] = False
    block_out_channels: StageChannels = (320, 640, 1280, 1280)
    layers_per_block: PerStage = 2
    downsample_padding: One = 1
    mid_block_scale_factor: One = 1
    dropout: Zero = 0.0
    act_fn: ActivationName = "silu"
    norm_num_groups: Count = 32
    norm_eps: Fraction = 1e-5
    cross_attention_dim: Channels = 1280
    transformer_layers_per_block: Depths = 1
    reverse_transformer_layers_per_block: None = None
    encoder_hid_dim: None = None
    encoder_hid_dim_type: None = None
    attention_head_dim: PerStage = 8
    num_attention_heads: PerStage | None = None
    dual_cross_attention: Literal[False] = False
    use_linear_projection: Flag = False
    class_embed_type: None = None
    addition_embed_type: Literal["text_time"] | None = None
    addition_time_embed_dim: Channels | None = None
    num_class_embeds: None = None
    resnet_time_scale_shift: Literal["default"] = "default"
    resnet_skip_time_act: Literal[False] = False
    resnet_out_scale_factor: One = 1.0
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_dim: None = None
    time_embedding_act_fn: None = None
    timestep_post_act: None = None
    time_cond_proj_dim: Channels | None = None
    conv_in_kernel: Count = 3
    conv_out_kernel: Count = 3
    projection_class_embeddings_input_dim: TableSize | None = None
    attention_type: Literal["default"] = "default"
    class_embeddings_concat: Literal[False] = False
    mid_block_only_cross_attention: Literal[False] | None = None
    cross_attention_norm: None = None

    def __post_init__(self) -> None:
        channels = self.block_out_channels
        lengths = [len(each) for each in (self.down_block_types, self.up_block_types, channels)]
        if len(set(lengths)) > 1:
            raise ValueError(
                "down_block_types, up_block_types and block_out_channels must be of one length, got "
                "{}, {} and {}".format(*lengths)
            )
        for name in ("layers_per_block", "transformer_layers_per_block", "attention_head_dim", "num_attention_heads"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(channels):
                raise ValueError(f"{name} must have {len(channels)} entries, got {len(value)}")
        check_divides("norm_num_groups", self.norm_num_groups, block_out_channels=channels)
        if self.addition_embed_type:
            for name in ("addition_time_embed_dim", "projection_class_embeddings_input_dim"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} must be a number where addition_embed_type is 'text_time', got None")


class UNet2DConditionModel(Model):
    """Predicts the noise (or velocity) in latents from the timestep and the text; see `construct`."""

    Fields = UNetFields

    def __init__(self, **config: Any):
        super().__init__(config)
        c: UNetFields = self.fields
        stages = len(c.block_out_channels)
        channels = c.block_out_channels
        layers = _per_stage(c.layers_per_block, stages)
        depths = _per_stage(c.transformer_layers_per_block, stages)
        heads = _per_stage(c.num_attention_heads or c.attention_head_dim, stages)

        time = 4 * channels[0]
        self.conv_in = Conv2d(c.in_channels, channels[0], c.conv_in_kernel, padding=(c.conv_in_kernel - 1) // 2)
        self.time_embedding = TimestepEmbedding(channels[0], time, c.act_fn, c.time_cond_proj_dim)
        # Graph mode reads plain attributes only, not those of a dataclass.
        self.time_channels, self.size_channels = channels[0], c.addition_time_embed_dim
        self.flip_sin_to_cos, self.freq_shift = c.flip_sin_to_cos, c.freq_shift
        self.add_embedding = None
        if c.addition_embed_type == "text_time":
            self.add_embedding = TimestepEmbedding(c.projection_class_embeddings_input_dim or 0, time, c.act_fn)

        self.down_blocks = nn.CellList()
        for i, kind in enumerate(c.down_block_types):
            attends = kind == "CrossAttnDownBlock2D"
            before = channels[max(i - 1, 0)]
            ins = [before] + [channels[i]] * (layers[i] - 1)
            block = Block(c, ins, channels[i], time, depths[i], heads[i], attends)
            if i < stages - 1:
                block.downsamplers = nn.CellList([Downsample(channels[i], 1)])
            self.down_blocks.append(block)

        self.mid_block = MidBlock(c, channels[-1], time, depths[-1], heads[-1]) if c.mid_block_type else None

        # The up path mirrors the down path, with one layer more a stage; each layer also takes one skip connection.
        skips = [channels[0]]
        for i in range(stages):
            skips += [channels[i]] * (layers[i] + (i < stages - 1))
        self.up_blocks = nn.CellList()
        before = channels[-1]
        for i, up_kind in enumerate(c.up_block_types):
            stage = stages - 1 - i
            attends = up_kind == "CrossAttnUpBlock2D"
            ins = [before] + [channels[stage]] * layers[stage]
            ins = [width + skips.pop() for width in ins]
            block = Block(c, ins, channels[stage], time, depths[stage], heads[stage], attends)
            if i < stages - 1:
                block.upsamplers = nn.CellList([Upsample(channels[stage])])
            self.up_blocks.append(block)
            before = channels[stage]

        self.conv_norm_out = GroupNorm(c.norm_num_groups, channels[0], c.norm_eps)
        self.conv_act = Activation(c.act_fn)
        self.conv_out = Conv2d(channels[0], c.out_channels, c.conv_out_kernel, padding=(c.conv_out_kernel - 1) // 2)

    def construct(self, sample, timestep, encoder_hidden_states, timestep_cond=None, text_embeds=None, time_ids=None):
        """Predict the noise in ``sample``.

        Args:
            sample: latents (batch, in_channels, height, width), or for guidance (batch / 2, …): the latents that both
                halves of the text share, with which nothing is computed twice until the first look at the text.
            timestep: (batch,) or (1,), between 0 and 1,000.
            encoder_hidden_states: the text, (batch, tokens, cross_attention_dim).
            timestep_cond: the guidance scale's embedding (batch, time_cond_proj_dim), for distilled guidance
                (Meng et al. 2023; LCM).
            text_embeds: SDXL's pooled text (batch, channels).
            time_ids: SDXL's sizes and crops in pixels (batch, 6).

        Returns:
            (batch, out_channels, height, width).
        """
        time = F.timestep_embedding(timestep, self.time_channels, self.flip_sin_to_cos, self.freq_shift)
        time = self.time_embedding(time, timestep_cond)
        if self.add_embedding is not None:
            sizes = F.timestep_embedding(time_ids, self.size_channels, self.flip_sin_to_cos, self.freq_shift)
            sizes = F.reshape(sizes, (text_embeds.shape[0], -1))
            time = time + self.add_embedding(F.concat((text_embeds, sizes), 1))

        x = self.conv_in(sample)
        if time.shape[0] > 1:
            x = F.repeat_rows(x, time.shape[0])
        skips = [x]
        for block in self.down_blocks:
            for layer in range(block.layers):
                x = block(x, time, encoder_hidden_states, layer)
                skips.append(x)
            if block.downsamplers is not None:
                x = block.downsamplers[0](x)
                skips.append(x)

        if self.mid_block is not None:
            x = self.mid_block(x, time, encoder_hidden_states)

        remaining = len(skips)
        for block in self.up_blocks:
            for layer in range(block.layers):
                remaining -= 1
                skip = F.repeat_rows(skips[remaining], x.shape[0])
                x = block(F.concat((x, skip), 1), time, encoder_hidden_states, layer)
            if block.upsamplers is not None:
                height, width = skips[remaining - 1].shape[2:]
                x = block.upsamplers[0](x, (height, width))

        return self.conv_out(self.conv_act(self.conv_norm_out(x)))


class TimestepEmbedding(nn.Cell):
    """A two-layer perceptron on sinusoids, with room for a condition that is added first."""

    def __init__(self, in_channels: int, channels: int, act: str, cond_channels: int | None = None):
        super().__init__()
        self.linear_1 = Linear(in_channels, channels)
        self.cond_proj = Linear(cond_channels, in_channels, bias=False) if cond_channels else None
        self.act = Activation(act)
        self.linear_2 = Linear(channels, channels)

    def construct(self, x, condition=None):
        if self.cond_proj is not None and condition is not None:
            x = x + self.cond_proj(condition)
        return self.linear_2(self.act(self.linear_1(x)))


class Block(nn.Cell):
    """One stage of the UNet: residual blocks, each followed by a transformer where the stage attends to the text."""

    def __init__(self, c: UNetFields, ins: list[int], out: int, time: int, depth: int, heads: int, attends: bool):
        super().__init__()
        self.layers = len(ins)
        self.attentions = None
        if attends:
            self.attentions = nn.CellList([Transformer(c, out, depth, heads) for _ in ins])
        self.resnets = nn.CellList([ResnetBlock(i, out, c.norm_num_groups, c.norm_eps, c.act_fn, time) for i in ins])
        self.downsamplers: nn.CellList | None = None
        self.upsamplers: nn.CellList | None = None

    def construct(self, x, time, context, layer: int):
        x = self.resnets[layer](x, time)
        if self.attentions is not None:
            x = self.attentions[layer](x, context)
        return x


class MidBlock(nn.Cell):
    """The lowest stage: residual block, transformer, residual block."""

    def __init__(self, c: UNetFields, channels: int, time: int, depth: int, heads: int):
        super().__init__()
        self.attentions = nn.CellList([Transformer(c, channels, depth, heads)])
        make = lambda: ResnetBlock(channels, channels, c.norm_num_groups, c.norm_eps, c.act_fn, time)  # noqa: E731
        self.resnets = nn.CellList([make(), make()])

    def construct(self, x, time, context):
        x = self.attentions[0](self.resnets[0](x, time), context)
        return self.resnets[1](x, time)


class Transformer(nn.Cell):
    """Transformer blocks over the pixels of an image, beside a shortcut."""

    def __init__(self, c: UNetFields, channels: int, depth: int, heads: int):
        super().__init__()
        self.linear = c.use_linear_projection
        self.norm = GroupNorm(c.norm_num_groups, channels, 1e-6)
        self.proj_in = Linear(channels, channels) if self.linear else Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.CellList(
            [TransformerBlock(channels, c.cross_attention_dim, heads) for _ in range(depth)]
        )
        self.proj_out = Linear(channels, channels) if self.linear else Conv2d(channels, channels, 1)

    def construct(self, x, context):
        batch, channels, height, width = x.shape
        y = self.norm(x)
        if not self.linear:
            y = self.proj_in(y)
        y = F.transpose(F.reshape(y, (batch, channels, height * width)), (0, 2, 1))
        if self.linear:
            y = self.proj_in(y)
        for block in self.transformer_blocks:
            y = block(y, context)
        if self.linear:
            y = self.proj_out(y)
        y = F.reshape(F.transpose(y, (0, 2, 1)), (-1, channels, height, width))
        if not self.linear:
            y = self.proj_out(y)
        return F.repeat_rows(x, y.shape[0]) + y


class TransformerBlock(nn.Cell):
    """Self-attention, attention to the text, and a gated feed-forward layer, each normalised and beside a shortcut."""

    def __init__(self, channels: int, context_channels: int, heads: int):
        super().__init__()
        head_channels = channels // heads
        self.norm1 = LayerNorm(channels)
        self.attn1 = Attention(channels, channels, heads, head_channels)
        self.norm2 = LayerNorm(channels)
        self.attn2 = Attention(channels, context_channels, heads, head_channels)
        self.norm3 = LayerNorm(channels)
        self.ff = FeedForward(channels, 4 * channels)

    def construct(self, x, context):
        y = self.norm1(x)
        x = F.repeat_rows(x + self.attn1(y, y), context.shape[0])
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class FeedForward(nn.Cell):
    """A gated layer and its way back. Checkpoints number the parts 0 and 2 (1 is a dropout)."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.net = nn.CellList([GatedLinear(channels, inner), nn.Identity(), Linear(inner, channels)])

    def construct(self, x):
        return self.net[2](self.net[0](x))


class GatedLinear(nn.Cell):
    """GEGLU: see `functional.geglu`."""

    def __init__(self, channels: int, inner: int):
        super().__init__()
        self.proj = Linear(channels, 2 * inner)

    def construct(self, x):
        return F.geglu(x, self.proj.weight, self.proj.bias)


def _per_stage(value: int | tuple[int, ...], count: int) -> tuple[int, ...]:
    """One value a stage from a config's number or list."""
    return value if isinstance(value, tuple) else (value,) * count
