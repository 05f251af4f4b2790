"""The UNet that predicts noise: Latent Diffusion (Rombach et al. 2022, §3.2) and SDXL (Podell et al. 2023, §2.1)."""

from dataclasses import dataclass
from typing import Any, ClassVar

from mindspore import nn

from .. import functional as F
from .base import Model
from .layers import Activation, Attention, Conv2d, Downsample, GroupNorm, LayerNorm, Linear, ResnetBlock, Upsample


@dataclass(frozen=True)
class UNetFields:
    """The fields of ``config.json``; a list gives one value a stage, from the highest resolution to the lowest.

    ``attention_head_dim`` is, for historical reasons, the *number* of heads.
    """

    sample_size: int | None = None
    in_channels: int = 4
    out_channels: int = 4
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int | tuple[int, ...] = 2
    downsample_padding: int = 1
    act_fn: str = "silu"
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    cross_attention_dim: int = 1280
    transformer_layers_per_block: int | tuple[int, ...] = 1
    attention_head_dim: int | tuple[int, ...] = 8
    num_attention_heads: int | tuple[int, ...] | None = None
    use_linear_projection: bool = False
    addition_embed_type: str | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    time_cond_proj_dim: int | None = None
    conv_in_kernel: int = 3
    conv_out_kernel: int = 3


class UNet2DConditionModel(Model):
    """Predicts the noise (or velocity) in latents from the timestep and the text; see `construct`."""

    Fields = UNetFields
    fixed_fields: ClassVar = {
        "center_input_sample": (False,),
        "only_cross_attention": (False,),
        "dropout": (0.0,),
        "mid_block_scale_factor": (1, 1.0),
        "mid_block_only_cross_attention": (None, False),
        "reverse_transformer_layers_per_block": (None,),
        "encoder_hid_dim": (None,),
        "encoder_hid_dim_type": (None,),
        "dual_cross_attention": (False,),
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "class_embeddings_concat": (False,),
        "resnet_time_scale_shift": ("default",),
        "resnet_skip_time_act": (False,),
        "resnet_out_scale_factor": (1.0, 1),
        "time_embedding_type": ("positional",),
        "time_embedding_dim": (None,),
        "time_embedding_act_fn": (None,),
        "timestep_post_act": (None,),
        "attention_type": ("default",),
        "cross_attention_norm": (None,),
    }

    def __init__(self, **config: Any):
        super().__init__(config)
        c: UNetFields = self.fields
        stages = len(c.block_out_channels)
        channels = c.block_out_channels
        layers = _per_stage(c.layers_per_block, stages, "layers_per_block")
        depths = _per_stage(c.transformer_layers_per_block, stages, "transformer_layers_per_block")
        heads = _per_stage(c.num_attention_heads or c.attention_head_dim, stages, "attention_head_dim")
        if not len(c.down_block_types) == len(c.up_block_types) == stages:
            raise ValueError(
                f"UNet2DConditionModel: down_block_types, up_block_types and block_out_channels must be of one length, "
                f"got {len(c.down_block_types)}, {len(c.up_block_types)} and {stages}"
            )
        if c.addition_embed_type not in (None, "text_time"):
            raise ValueError(f"addition_embed_type must be None or 'text_time', got {c.addition_embed_type!r}")
        if c.mid_block_type not in (None, "UNetMidBlock2DCrossAttn"):
            raise ValueError(f"mid_block_type must be None or 'UNetMidBlock2DCrossAttn', got {c.mid_block_type!r}")

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
            attends = _attends(kind, "CrossAttnDownBlock2D", "DownBlock2D")
            before = channels[max(i - 1, 0)]
            ins = [before] + [channels[i]] * (layers[i] - 1)
            block = Block(c, ins, channels[i], time, depths[i], heads[i], attends)
            if i < stages - 1:
                block.downsamplers = nn.CellList([Downsample(channels[i], c.downsample_padding)])
            self.down_blocks.append(block)

        self.mid_block = MidBlock(c, channels[-1], time, depths[-1], heads[-1]) if c.mid_block_type else None

        # The up path mirrors the down path, with one layer more a stage; each layer also takes one skip connection.
        skips = [channels[0]]
        for i in range(stages):
            skips += [channels[i]] * (layers[i] + (i < stages - 1))
        self.up_blocks = nn.CellList()
        before = channels[-1]
        for i, kind in enumerate(c.up_block_types):
            stage = stages - 1 - i
            attends = _attends(kind, "CrossAttnUpBlock2D", "UpBlock2D")
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

    def __init__(self, c: UNetFields, ins: list[int], out: int, time: int, depth, heads: int, attends: bool):
        super().__init__()
        self.layers = len(ins)
        depths = _per_stage(depth, self.layers, "transformer_layers_per_block")
        self.attentions = None
        if attends:
            self.attentions = nn.CellList([Transformer(c, out, n, heads) for n in depths])
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


def _attends(kind: str, with_attention: str, without: str) -> bool:
    if kind not in (with_attention, without):
        raise ValueError(f"unknown UNet block {kind!r}; known are {with_attention} and {without}")
    return kind == with_attention


def _per_stage(value, count: int, field: str) -> list[Any]:
    """One value a stage from a config's number or list."""
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count:
        raise ValueError(f"UNet2DConditionModel: {field} must have {count} entries, got {len(values)}")
    return values
