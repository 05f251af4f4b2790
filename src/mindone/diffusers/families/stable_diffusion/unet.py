"""The UNet that predicts noise: Latent Diffusion (Rombach et al. 2022, §3.2) and SDXL (Podell et al. 2023, §2.1)."""

from collections.abc import Mapping
from typing import Any

import mindspore as ms
import numpy as np

from ... import functional as F
from ...engines import Array, Input, single
from ...models.cells import CellList
from ...models.layers import Activation, Conv2d, GroupNorm, Upsample
from ...models.outputs import UNet2DConditionOutput
from ...models.taps import Cut
from .freeu import FreeU
from .taps import cuts, self_attentions
from .unet_blocks import UpBlock, per_stage
from .unet_encoder import UNetEncoder
from .unet_fields import UNetFields


class UNet2DConditionModel(UNetEncoder):
    """Predicts the noise (or velocity) in latents from the timestep and the text; see `construct`.

    On the way up each layer takes the skip connection of its counterpart.
    """

    Fields = UNetFields

    def __init__(self, **config: Any):
        super().__init__(config)
        c: UNetFields = self.fields
        channels, stages = c.block_out_channels, len(c.block_out_channels)
        layers = per_stage(c.layers_per_block, stages)
        mirrored = per_stage(c.transformer_layers_per_block, stages)[::-1]
        depths = c.reverse_transformer_layers_per_block or mirrored
        heads = per_stage(c.num_attention_heads or c.attention_head_dim, stages)

        # The up path mirrors the down path, with one more layer per stage; each layer also takes one skip connection.
        skips = list(self.skip_channels)
        self.up_blocks: CellList[UpBlock] = CellList()
        before = channels[-1]
        for i, kind in enumerate(c.up_block_types):
            stage = stages - 1 - i
            reads = kind == "CrossAttnUpBlock2D"
            ins = [width + skips.pop() for width in [before] + [channels[stage]] * layers[stage]]
            block = UpBlock(c, ins, channels[stage], 4 * channels[0], depths[i], heads[stage], reads)
            if i < stages - 1:
                block.upsamplers = CellList([Upsample(channels[stage])])
            self.up_blocks.append(block)
            before = channels[stage]

        self.conv_norm_out = GroupNorm(c.norm_num_groups, channels[0], c.norm_eps)
        self.conv_act = Activation(c.act_fn)
        self.conv_out = Conv2d(channels[0], c.out_channels, c.conv_out_kernel, padding=(c.conv_out_kernel - 1) // 2)

    def construct(
        self,
        sample: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        timestep_cond: Array | None = None,
        text_embeds: Array | None = None,
        time_ids: Array | None = None,
        down_block_additional_residuals: tuple[Array, ...] | None = None,
        mid_block_additional_residual: Array | None = None,
    ) -> Array:
        """Predict the noise in ``sample``.

        Args:
            sample: latents (batch, in_channels, height, width), or for guidance (batch / 2, …): the latents that both
                halves of the text share, so that nothing is computed twice before the first attention to the text.
            timestep: (batch,) or (1,), between 0 and 1,000.
            encoder_hidden_states: the text, (batch, tokens, cross_attention_dim).
            timestep_cond: the guidance scale's embedding (batch, time_cond_proj_dim), for distilled guidance
                (Meng et al. 2023; LCM).
            text_embeds: SDXL's pooled text (batch, channels).
            time_ids: SDXL's sizes and crops in pixels (batch, 6).
            down_block_additional_residuals, mid_block_additional_residual: a ControlNet's additions to the skip
                connections, from the first one on, and to the lowest stage's result.

        Returns:
            (batch, out_channels, height, width).
        """
        time = self.embed(timestep, timestep_cond, text_embeds, time_ids)
        skips = self.down(self.conv_in(sample), time, encoder_hidden_states)
        x = self.mid(skips[-1], time, encoder_hidden_states)
        if down_block_additional_residuals is not None:
            skips = _with_residuals(skips, down_block_additional_residuals)
        if mid_block_additional_residual is not None:
            x = F.add(x, mid_block_additional_residual)
        for block in self.up_blocks:
            x = block(x, skips[-len(block.resnets) :], time, encoder_hidden_states)
            skips = skips[: -len(block.resnets)]
            if block.upsamplers is not None:
                x = block.upsamplers[0](x, skips[-1].shape[2:])
        return self.conv_out(self.conv_act(self.conv_norm_out(x)))

    def __call__(  # type: ignore[override]
        self,
        sample: Array,
        timestep: Array | float,
        encoder_hidden_states: Array,
        *,
        timestep_cond: Array | None = None,
        added_cond_kwargs: Mapping[str, Array] | None = None,
        return_dict: bool = True,
        **options: Input,
    ) -> UNet2DConditionOutput | tuple[Array]:
        """Predict the noise in ``sample``: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            sample, encoder_hidden_states, timestep_cond, options: as in `construct`.
            timestep: one number for all images, or (batch,).
            added_cond_kwargs: SDXL's ``text_embeds`` and ``time_ids``.
            return_dict: false for a plain tuple.
        """
        time = np.reshape(timestep.asnumpy() if isinstance(timestep, ms.Tensor) else timestep, (-1,))
        inputs = {"timestep_cond": timestep_cond, **(added_cond_kwargs or {}), **options}
        given = {name: value for name, value in inputs.items() if value is not None}
        timesteps = self._engine_for(sample).asarray(time)
        prediction = single(super().__call__(sample, timesteps, encoder_hidden_states, **given))
        return UNet2DConditionOutput(prediction) if return_dict else (prediction,)

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """See `FreeU.enable`."""
        self.put_on.of(FreeU).enable(s1, s2, b1, b2)

    def disable_freeu(self) -> None:
        """Disable FreeU."""
        self.put_on.of(FreeU).disable()

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The places where feature caches may cut it: see `taps.cuts`."""
        return cuts(self)

    @property
    def self_attentions(self) -> dict[int, tuple[str, ...]]:
        """The self-attentions over pixels: see `taps.self_attentions`."""
        return self_attentions(self)


def _with_residuals(skips: tuple[Array, ...], residuals: tuple[Array, ...]) -> tuple[Array, ...]:
    """The skip connections plus residuals; if there are residuals only for the first ones, the rest stay unchanged."""
    added = [F.add(skips[i], residuals[i]) for i in range(len(residuals))]
    return tuple(added) + skips[len(residuals) :]
