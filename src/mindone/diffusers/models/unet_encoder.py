"""The half of a UNet that looks: from latents down to the lowest stage. A ControlNet is another copy of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from mindspore import nn

from .. import functional as F
from ..engines import Array
from .base import Model
from .layers import Conv2d, Downsample
from .unet_blocks import Block, MidBlock, TimestepEmbedding, attends, per_stage


@dataclass(frozen=True)
class UNetEncoderFields:
    """The fields of ``config.json``; a list gives one value a stage, from the highest resolution to the lowest.

    ``attention_head_dim`` is, for historical reasons, the *number* of heads.
    """

    in_channels: int = 4
    flip_sin_to_cos: bool = True
    freq_shift: int = 0
    down_block_types: tuple[str, ...] = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
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


class UNetEncoder(Model):
    """``conv_in``, the embedding of the timestep, the stages on the way down, and the lowest one."""

    Fields: ClassVar[type] = UNetEncoderFields
    fixed_fields: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "only_cross_attention": (False,),
        "mid_block_scale_factor": (1, 1.0),
        "encoder_hid_dim": (None,),
        "encoder_hid_dim_type": (None,),
        "class_embed_type": (None,),
        "num_class_embeds": (None,),
        "resnet_time_scale_shift": ("default",),
    }

    def __init__(self, config: Mapping[str, Any], conv_in_kernel: int = 3, time_cond_proj_dim: int | None = None):
        super().__init__(config)
        c: UNetEncoderFields = self.fields
        channels, stages = c.block_out_channels, len(c.block_out_channels)
        layers = per_stage(c.layers_per_block, stages, "layers_per_block")
        depths = per_stage(c.transformer_layers_per_block, stages, "transformer_layers_per_block")
        heads = per_stage(c.num_attention_heads or c.attention_head_dim, stages, "attention_head_dim")
        if len(c.down_block_types) != stages:
            raise ValueError(
                f"{type(self).__name__}: down_block_types and block_out_channels must be of one length, got "
                f"{len(c.down_block_types)} and {stages}"
            )
        if c.addition_embed_type not in (None, "text_time"):
            raise ValueError(f"addition_embed_type must be None or 'text_time', got {c.addition_embed_type!r}")
        if c.mid_block_type not in (None, "UNetMidBlock2DCrossAttn"):
            raise ValueError(f"mid_block_type must be None or 'UNetMidBlock2DCrossAttn', got {c.mid_block_type!r}")

        time = 4 * channels[0]
        self.conv_in = Conv2d(c.in_channels, channels[0], conv_in_kernel, padding=(conv_in_kernel - 1) // 2)
        self.time_embedding = TimestepEmbedding(channels[0], time, c.act_fn, time_cond_proj_dim)
        # Graph mode reads plain attributes only, not those of a dataclass.
        self.time_channels, self.size_channels = channels[0], c.addition_time_embed_dim
        self.flip_sin_to_cos, self.freq_shift = c.flip_sin_to_cos, c.freq_shift
        self.add_embedding = None
        if c.addition_embed_type == "text_time":
            self.add_embedding = TimestepEmbedding(c.projection_class_embeddings_input_dim or 0, time, c.act_fn)

        self.skip_channels = [channels[0]]
        """The channels of each skip connection, in the order in which `down` makes them."""
        self.down_blocks = nn.CellList()
        for i, kind in enumerate(c.down_block_types):
            reads = attends(kind, "CrossAttnDownBlock2D", "DownBlock2D")
            ins = [channels[max(i - 1, 0)]] + [channels[i]] * (layers[i] - 1)
            block = Block(c, ins, channels[i], time, depths[i], heads[i], reads)
            if i < stages - 1:
                block.downsamplers = nn.CellList([Downsample(channels[i], c.downsample_padding)])
            self.skip_channels += [channels[i]] * (layers[i] + (i < stages - 1))
            self.down_blocks.append(block)
        self.mid_block = MidBlock(c, channels[-1], time, depths[-1], heads[-1]) if c.mid_block_type else None
        self.skips = len(self.skip_channels)

    def embed(self, timestep: Array, timestep_cond: Array, text_embeds: Array, time_ids: Array) -> Array:
        """The timestep, and what else conditions every residual block, as one vector: (batch or 1, channels)."""
        time = F.timestep_embedding(timestep, self.time_channels, self.flip_sin_to_cos, self.freq_shift)
        time = self.time_embedding(time, timestep_cond)
        if self.add_embedding is not None:
            sizes = F.timestep_embedding(time_ids, self.size_channels, self.flip_sin_to_cos, self.freq_shift)
            sizes = F.reshape(sizes, (text_embeds.shape[0], -1))
            time = F.add(time, self.add_embedding(F.concat((text_embeds, sizes), 1)))
        return time

    def down(self, x: Array, time: Array, context: Array, count: int) -> tuple[Array, list[Array]]:
        """From what `conv_in` gives to the lowest stage, or until there are ``count`` skip connections.

        Returns the last of them, and all of them.
        """
        skips = [x]
        for block in self.down_blocks:
            for layer in range(block.layers):
                if len(skips) < count:
                    x = block(x, time, context, layer)
                    skips.append(x)
            if block.downsamplers is not None and len(skips) < count:
                x = block.downsamplers[0](x)
                skips.append(x)
        return x, skips

    def mid(self, x: Array, time: Array, context: Array) -> Array:
        """The lowest stage."""
        return x if self.mid_block is None else self.mid_block(x, time, context)
