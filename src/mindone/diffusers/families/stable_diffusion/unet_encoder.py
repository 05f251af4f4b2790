"""The encoder half of a UNet, from latents down to the lowest stage. A ControlNet is another copy of it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ... import functional as F
from ...engines import Array
from ...models.cells import CellList
from ...models.layers import Conv2d, Downsample, TimestepEmbedding
from ..networks import Model
from .unet_blocks import DownBlock, MidBlock, per_stage
from .unet_fields import UNetEncoderFields


class UNetEncoder(Model):
    """``conv_in``, the embedding of the timestep, the stages on the way down, and the lowest one."""

    Fields: ClassVar[type] = UNetEncoderFields

    def __init__(self, config: Mapping[str, Any]):
        super().__init__(config)
        c: UNetEncoderFields = self.fields
        channels, stages = c.block_out_channels, len(c.block_out_channels)
        layers = per_stage(c.layers_per_block, stages)
        depths = per_stage(c.transformer_layers_per_block, stages)
        heads = per_stage(c.num_attention_heads or c.attention_head_dim, stages)
        # Only a UNet has these; a ControlNet has neither.
        conv_in_kernel, time_cond = getattr(c, "conv_in_kernel", 3), getattr(c, "time_cond_proj_dim", None)

        time = 4 * channels[0]
        self.conv_in = Conv2d(c.in_channels, channels[0], conv_in_kernel, padding=(conv_in_kernel - 1) // 2)
        self.time_embedding = TimestepEmbedding(channels[0], time, c.act_fn, time_cond)
        # Graph mode reads only plain attributes, not those of a dataclass.
        self.time_channels, self.size_channels = channels[0], c.addition_time_embed_dim or 0
        self.flip_sin_to_cos, self.freq_shift = c.flip_sin_to_cos, c.freq_shift
        self.add_embedding = None
        if c.addition_embed_type == "text_time":
            self.add_embedding = TimestepEmbedding(c.projection_class_embeddings_input_dim or 0, time, c.act_fn)

        self.skip_channels = [channels[0]]
        """The channels of each skip connection, in the order of `down`."""
        self.down_blocks: CellList[DownBlock] = CellList()
        for i, kind in enumerate(c.down_block_types):
            reads = kind == "CrossAttnDownBlock2D"
            ins = [channels[max(i - 1, 0)]] + [channels[i]] * (layers[i] - 1)
            block = DownBlock(c, ins, channels[i], time, depths[i], heads[i], reads)
            if i < stages - 1:
                block.downsamplers = CellList([Downsample(channels[i], 1)])
            self.skip_channels += [channels[i]] * (layers[i] + (i < stages - 1))
            self.down_blocks.append(block)
        self.mid_block = None
        if c.mid_block_type is not None:
            attends = c.mid_block_type == "UNetMidBlock2DCrossAttn"
            self.mid_block = MidBlock(c, channels[-1], time, depths[-1] if attends else None, heads[-1])
        self.skips = len(self.skip_channels)

    def embed(
        self, timestep: Array, timestep_cond: Array | None, text_embeds: Array | None, time_ids: Array | None
    ) -> Array:
        """The timestep and the other conditions of every residual block, as one vector: (batch or 1, channels)."""
        time = F.timestep_embedding(timestep, self.time_channels, self.flip_sin_to_cos, self.freq_shift)
        time = self.time_embedding(time, timestep_cond)
        if self.add_embedding is not None:
            if text_embeds is None or time_ids is None:
                raise ValueError("this network is conditioned on text_embeds and time_ids as well; pass both")
            sizes = F.timestep_embedding(time_ids, self.size_channels, self.flip_sin_to_cos, self.freq_shift)
            sizes = F.reshape(sizes, (text_embeds.shape[0], -1))
            time = F.add(time, self.add_embedding(F.concat((text_embeds, sizes), 1)))
        return time

    def down(self, x: Array, time: Array, context: Array) -> tuple[Array, ...]:
        """From the output of `conv_in` to the lowest stage: all skip connections; the last one is also the lowest
        stage's input."""
        skips = (x,)
        for block in self.down_blocks:
            skips = skips + block(skips[-1], time, context)
        return skips

    def mid(self, x: Array, time: Array, context: Array) -> Array:
        """The lowest stage."""
        return x if self.mid_block is None else self.mid_block(x, time, context)
