"""The UNet that predicts noise: Latent Diffusion (Rombach et al. 2022, §3.2) and SDXL (Podell et al. 2023, §2.1)."""

from collections.abc import Mapping

import mindspore as ms
import numpy as np
from mindspore import nn

from ... import functional as F
from ...engines import Array, Input
from ...models.caching import Caching
from ...models.layers import Activation, Conv2d, GroupNorm, Upsample
from ...models.outputs import UNet2DConditionOutput
from ...utils.types import Value
from .freeu import FreeU
from .token_downsampling import TokenDownsampling
from .unet_blocks import Block, per_stage
from .unet_encoder import UNetEncoder
from .unet_fields import UNetFields


class UNet2DConditionModel(Caching, TokenDownsampling, FreeU, UNetEncoder):
    """Predicts the noise (or velocity) in latents from the timestep and the text; see `construct`.

    On the way up each layer takes the skip connection of its opposite. A **branch** ``b`` cuts the network there: what
    lies below is everything but ``conv_in``, the first ``b`` skip connections and the last ``b + 1`` layers. What
    enters those layers changes slowly from step to step, and can be kept (`deep`) and used again (`shallow`).
    """

    Fields = UNetFields

    def __init__(self, **config: Value):
        super().__init__(config)
        c: UNetFields = self.fields
        channels, stages = c.block_out_channels, len(c.block_out_channels)
        layers = per_stage(c.layers_per_block, stages)
        mirrored = per_stage(c.transformer_layers_per_block, stages)[::-1]
        depths = c.reverse_transformer_layers_per_block or mirrored
        heads = per_stage(c.num_attention_heads or c.attention_head_dim, stages)

        # The up path mirrors the down path, with one layer more a stage; each layer also takes one skip connection.
        skips = list(self.skip_channels)
        self.up_blocks = nn.CellList()
        before = channels[-1]
        for i, kind in enumerate(c.up_block_types):
            stage = stages - 1 - i
            reads = kind == "CrossAttnUpBlock2D"
            ins = [width + skips.pop() for width in [before] + [channels[stage]] * layers[stage]]
            block = Block(c, ins, channels[stage], 4 * channels[0], depths[i], heads[stage], reads)
            if i < stages - 1:
                block.upsamplers = nn.CellList([Upsample(channels[stage])])
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
        timestep_cond: Array = None,
        text_embeds: Array = None,
        time_ids: Array = None,
        down_block_additional_residuals: tuple[Array, ...] | None = None,
        mid_block_additional_residual: Array = None,
    ) -> Array:
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
            down_block_additional_residuals, mid_block_additional_residual: what a ControlNet adds to the skip
                connections, from the first one on, and to the lowest stage's result.

        Returns:
            (batch, out_channels, height, width).
        """
        return self.deep(
            sample,
            timestep,
            encoder_hidden_states,
            timestep_cond,
            text_embeds,
            time_ids,
            down_block_additional_residuals,
            mid_block_additional_residual,
        )[0]

    def __call__(  # type: ignore[override]
        self,
        sample: Array,
        timestep: Array | float,
        encoder_hidden_states: Array,
        *,
        timestep_cond: Array = None,
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
        prediction = super().__call__(
            sample,
            self._engine_for(sample).asarray(time),
            encoder_hidden_states,
            **{name: value for name, value in inputs.items() if value is not None},
        )
        return UNet2DConditionOutput(prediction) if return_dict else (prediction,)

    def deep(
        self,
        sample: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        timestep_cond: Array = None,
        text_embeds: Array = None,
        time_ids: Array = None,
        down_block_additional_residuals: tuple[Array, ...] | None = None,
        mid_block_additional_residual: Array = None,
        branch: int = 0,
    ) -> tuple[Array, Array]:
        """`construct`, and what enters the last ``branch + 1`` layers on the way up, for `shallow`."""
        time = self.embed(timestep, timestep_cond, text_embeds, time_ids)
        x, skips = self.down(self.conv_in(sample), time, encoder_hidden_states, self.skips)
        skips = _with_residuals(skips, down_block_additional_residuals)
        x = self.mid(x, time, encoder_hidden_states)
        if mid_block_additional_residual is not None:
            x = F.add(x, mid_block_additional_residual)
        return self.up(x, skips, time, encoder_hidden_states, 0, self.skips - 1 - branch)

    def shallow(
        self,
        sample: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        feature: Array,
        timestep_cond: Array = None,
        text_embeds: Array = None,
        time_ids: Array = None,
        down_block_additional_residuals: tuple[Array, ...] | None = None,
        branch: int = 0,
    ) -> Array:
        """`construct` with everything below ``branch`` replaced by the ``feature`` that `deep` gave at an earlier step.

        DeepCache (Ma et al. 2024, §3.2). Residuals are needed for the first ``branch + 1`` skip connections only.
        """
        time = self.embed(timestep, timestep_cond, text_embeds, time_ids)
        _, skips = self.down(self.conv_in(sample), time, encoder_hidden_states, branch + 1)
        skips = _with_residuals(skips, down_block_additional_residuals)
        first = self.skips - 1 - branch
        return self.up(feature, skips, time, encoder_hidden_states, first, first)[0]

    def up(
        self, x: Array, skips: list[Array], time: Array, context: Array, first: int, kept: int
    ) -> tuple[Array, Array]:
        """The layers on the way up from number ``first`` on. Returns the prediction, and what entered layer ``kept``.

        ``x`` is what enters layer ``first``; ``skips`` are the skip connections of the layers that are run.
        """
        layer_number = 0
        feature = x
        for block in self.up_blocks:
            for layer in range(block.layers):
                if layer_number >= first:
                    if layer_number == kept:
                        feature = x
                    x = F.concat((x, skips[self.skips - 1 - layer_number]), 1)
                    x = block(x, time, context, layer)
                layer_number += 1
            if block.upsamplers is not None and layer_number > first:
                height, width = skips[self.skips - 1 - layer_number].shape[2:]
                x = block.upsamplers[0](x, (height, width))
        return self.conv_out(self.conv_act(self.conv_norm_out(x))), feature


def _with_residuals(skips: list[Array], residuals: tuple[Array, ...] | None) -> list[Array]:
    if residuals is None:
        return skips
    return [F.add(skips[i], residuals[i]) for i in range(len(skips))]
