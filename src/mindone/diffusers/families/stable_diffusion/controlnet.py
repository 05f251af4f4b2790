"""ControlNet: Adding Conditional Control to Text-to-Image Diffusion Models (Zhang et al. 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from ... import functional as F
from ...engines import Array, Taps
from ...models.cells import Cell, CellList
from ...models.fields import Channels, StageChannels
from ...models.layers import Activation, Conv2d
from .taps import first_skips, skips_without
from .unet_encoder import UNetEncoder
from .unet_fields import UNetEncoderFields


@dataclass(frozen=True)
class ControlNetFields(UNetEncoderFields):
    """The fields of a ControlNet's ``config.json``."""

    conditioning_channels: Channels = 3
    controlnet_conditioning_channel_order: Literal["rgb", "bgr"] = "rgb"
    conditioning_embedding_out_channels: StageChannels = (16, 32, 96, 256)
    global_pool_conditions: Literal[False] = False


class ControlNetModel(UNetEncoder):
    """A copy of the UNet's encoder half that reads a picture and computes additions to the UNet's features (§3.1).

    `embed_condition` reduces the picture to the size of the latents; the output of each stage passes a convolution that
    was zero before training.
    """

    Fields = ControlNetFields

    def __init__(self, **config: Any):
        super().__init__(config)
        c: ControlNetFields = self.fields
        channels = c.block_out_channels
        self.flips_channels = c.controlnet_conditioning_channel_order == "bgr"
        self.controlnet_cond_embedding = ConditioningEmbedding(
            c.conditioning_channels, c.conditioning_embedding_out_channels, channels[0]
        )
        self.controlnet_down_blocks = CellList([Conv2d(width, width, 1) for width in self.skip_channels])
        self.controlnet_mid_block = Conv2d(channels[-1], channels[-1], 1)

    def construct(
        self,
        sample: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        controlnet_cond: Array,
        conditioning_scale: Array | None = None,
        text_embeds: Array | None = None,
        time_ids: Array | None = None,
        guess_mode: bool = False,
    ) -> tuple[Array, ...]:
        """The residuals for the UNet's skip connections and, last, for its lowest stage's result.

        Args:
            sample, timestep, encoder_hidden_states, text_embeds, time_ids: as in `UNet2DConditionModel.construct`.
            controlnet_cond: the picture in [0, 1], (batch or 1, conditioning_channels, scale · height, scale · width).
            conditioning_scale: a factor for all residuals, (1, 1, 1, 1); None means 1.
            guess_mode: weigh the upper stages less, from 0.1 to 1, for runs without a text (§4.3 of its repository).
        """
        return self.residuals(
            sample,
            timestep,
            encoder_hidden_states,
            self.embed_condition(controlnet_cond),
            conditioning_scale,
            text_embeds,
            time_ids,
            guess_mode,
            self.skips,
        )

    def embed_condition(self, controlnet_cond: Array) -> Array:
        """The picture at the size of the latents: (batch, block_out_channels[0], height, width). Once per run."""
        if self.flips_channels:
            planes = [F.slice_axis(controlnet_cond, 1, i, i + 1) for i in range(controlnet_cond.shape[1])]
            controlnet_cond = F.concat(planes[::-1], 1)
        return self.controlnet_cond_embedding(controlnet_cond)

    def residuals(
        self,
        sample: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        condition: Array,
        conditioning_scale: Array | None = None,
        text_embeds: Array | None = None,
        time_ids: Array | None = None,
        guess_mode: bool = False,
        count: int = 0,
    ) -> tuple[Array, ...]:
        """`construct` with the embedded picture, for the first ``count`` skip connections.

        With fewer than all of them there is no residual for the lowest stage: a UNet cut above it needs none.
        """
        time = self.embed(timestep, None, text_embeds, time_ids)
        skips = self.down(F.add(self.conv_in(sample), condition), time, encoder_hidden_states)
        outputs = [self.controlnet_down_blocks[i](skips[i]) for i in range(count)]
        if count == self.skips:
            outputs.append(self.controlnet_mid_block(self.mid(skips[-1], time, encoder_hidden_states)))
        if guess_mode:  # evenly spaced exponents from -1 to 0
            outputs = [F.affine(outputs[i], 10.0 ** (i / self.skips - 1)) for i in range(len(outputs))]
        if conditioning_scale is not None:
            outputs = [output * conditioning_scale for output in outputs]
        return tuple(outputs)

    def residuals_beside(self, taps: Taps) -> tuple[int, Taps | None]:
        """The arguments of `residuals` for a call of the UNet with ``taps``: ``count``, and this network's own taps."""
        count = skips_without(self, taps.left_out)
        return count, first_skips(self, count)


class ConditioningEmbedding(Cell):
    """Convolutions from a picture to features of an eighth of its size (§3.1), the last zero before training."""

    def __init__(self, in_channels: int, widths: Sequence[int], out_channels: int):
        super().__init__()
        self.conv_in = Conv2d(in_channels, widths[0], 3, padding=1)
        self.blocks: CellList[Conv2d] = CellList()
        for before, after in pairwise(widths):
            self.blocks.append(Conv2d(before, before, 3, padding=1))
            self.blocks.append(Conv2d(before, after, 3, stride=2, padding=1))
        self.conv_out = Conv2d(widths[-1], out_channels, 3, padding=1)
        self.act = Activation("silu")

    def construct(self, picture: Array) -> Array:
        x = self.act(self.conv_in(picture))
        for block in self.blocks:
            x = self.act(block(x))
        return self.conv_out(x)
