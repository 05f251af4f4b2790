"""The transformer that predicts a flow's velocity: Sana (Xie et al. 2024, arXiv 2410.10629, §2.2) and its successors.

SANA 1.5 (Xie et al. 2025, arXiv 2501.18427) normalises queries and keys; SANA-Sprint (Chen et al. 2025, arXiv
2503.09641) reads the guidance scale as well.
"""

from dataclasses import dataclass
from typing import Any, Literal

from mindspore import nn

from ... import functional as F
from ...engines import Array, single
from ...loading.fields import Flag, Fraction, Pixels, Positive
from ...models.adaln_single import (
    QK_EPS,
    CaptionProjection,
    GridPatchEmbed,
    TextAttention,
    TimeEmbedding,
    block_modulation,
    check_unused,
    embedder,
    ending,
    keys_and_values_of,
    modulation_of,
    numbers,
    scores_of_padding,
    sinusoids,
)
from ...models.cells import Cell, CellList, Identity
from ...models.fields import Channels, Count, Heads, Ratio, Zero
from ...models.layers import Conv2d, HalvedConv2d, LayerNorm, Linear, RMSNorm, parameter
from ...models.outputs import Transformer2DModelOutput
from ...models.patches import patch_grid, unpatched
from ..networks import Model

CAPTION_EPS = 1e-5
"""The ε of the text's norm."""


@dataclass(frozen=True)
class SanaTransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``out_channels`` None means as many as ``in_channels``; ``interpolation_scale`` None means no positions: the
    depthwise convolutions show where a token is. ``timestep_scale`` and ``guidance_embeds_scale`` are the pipeline's
    factors for timesteps and guidance before it calls the network.
    """

    in_channels: Channels = 32
    out_channels: Channels | None = 32
    num_attention_heads: Count = 70
    attention_head_dim: Channels = 32
    num_layers: Count = 20
    num_cross_attention_heads: Count = 20
    cross_attention_head_dim: Channels = 112
    cross_attention_dim: Channels = 2240
    caption_channels: Channels = 2304
    mlp_ratio: Ratio = 2.5
    dropout: Zero = 0.0
    attention_bias: Flag = False
    sample_size: Pixels = 32
    patch_size: Count = 1
    norm_elementwise_affine: Flag = False
    norm_eps: Fraction = 1e-6
    interpolation_scale: Positive | None = None
    guidance_embeds: Flag = False
    guidance_embeds_scale: Positive = 0.1
    qk_norm: Literal["rms_norm_across_heads"] | None = None
    timestep_scale: Positive = 1.0

    def __post_init__(self) -> None:
        self.check_width("cross_attention_dim")
        if self.interpolation_scale is not None and self.width % 4:
            raise ValueError(
                "num_attention_heads x attention_head_dim must be a multiple of 4 if interpolation_scale is given, "
                f"got {self.num_attention_heads} x {self.attention_head_dim}"
            )


class SanaTransformer2DModel(Model):
    """Predicts the velocity of latents from the timestep and the text; see `construct`."""

    Fields = SanaTransformerFields
    row_of_blocks = "transformer_blocks"

    def __init__(self, **config: object):
        super().__init__(config)
        c: SanaTransformerFields = self.fields
        outs = c.out_channels or c.in_channels
        base = c.sample_size // c.patch_size
        self.patch_embed = GridPatchEmbed(c.in_channels, c.width, c.patch_size, base, c.interpolation_scale)
        self.time_embed = (GuidedTimeEmbedding if c.guidance_embeds else TimeEmbedding)(c.width)
        self.caption_projection = CaptionProjection(c.caption_channels, c.width)
        self.caption_norm = RMSNorm(c.width, CAPTION_EPS)
        self.transformer_blocks = CellList([SanaBlock(c) for _ in range(c.num_layers)])
        self.scale_shift_table = parameter(2, c.width)
        self.proj_out = Linear(c.width, c.patch_size**2 * outs)

    def construct(
        self,
        hidden_states: Array,
        timestep: Array,
        encoder_hidden_states: Array | tuple[Array, ...],
        encoder_attention_mask: Array | None = None,
        guidance: Array | None = None,
    ) -> Array:
        """Predict the velocity of latents.

        Args:
            hidden_states: latents (batch, in_channels, height, width), or for guidance (batch / 2, …): the latents that
                both halves of the text share, so that nothing is computed twice before the first attention to the text.
            timestep: (batch,) or (1,); from 0 to 1,000, or to 1 for a network of SANA-Sprint.
            encoder_hidden_states: the text, (batch, tokens, caption_channels), or the output of `read_text`.
            encoder_attention_mask: 1 for words and 0 for padding, (batch, tokens); None if all are words.
            guidance: the guidance scale times ``guidance_embeds_scale``, (batch,) or (1,), only for a network with
                ``guidance_embeds``.

        Returns:
            (batch, out_channels, height, width).
        """
        height, width = patch_grid(hidden_states, self.fields.patch_size)
        modulation, time = self._read_time(timestep, guidance)
        text = encoder_hidden_states
        keys_and_values = text if isinstance(text, tuple) else self.read_text(text)
        hidden = scores_of_padding(encoder_attention_mask)
        x = self.patch_embed(hidden_states)
        for i, block in enumerate(self.transformer_blocks):
            x = block(x, modulation, keys_and_values[2 * i : 2 * i + 2], hidden, (height, width))
        y = self.proj_out(ending(x, self.scale_shift_table, time))
        return unpatched(y, height, width, self.fields.patch_size)

    def read_text(self, encoder_hidden_states: Array) -> tuple[Array, ...]:
        """All that the blocks read of the text, the same at every step.

        Args:
            encoder_hidden_states: the text, (batch, tokens, caption_channels).

        Returns:
            The keys and the values of each block in turn, all (batch, tokens, heads · size).
        """
        text = self.caption_norm(self.caption_projection(encoder_hidden_states))
        return keys_and_values_of(text, self.transformer_blocks)

    def _read_time(self, timestep: Array, guidance: Array | None) -> tuple[tuple[Array, ...], Array]:
        """The modulation of all blocks and the output by the timestep and, if read, the guidance scale."""
        if guidance is None:
            if self.fields.guidance_embeds:
                raise ValueError("guidance is missing: the network's config has guidance_embeds true")
            read: tuple[tuple[Array, ...], Array] = self.time_embed(timestep)
            return read
        if not self.fields.guidance_embeds:
            raise ValueError("guidance must be None for a network whose config has guidance_embeds false")
        read = self.time_embed(timestep, guidance)
        return read

    def __call__(  # type: ignore[override]
        self,
        hidden_states: Array,
        encoder_hidden_states: Array,
        timestep: Array | float,
        guidance: Array | float | None = None,
        encoder_attention_mask: Array | None = None,
        attention_mask: None = None,
        attention_kwargs: None = None,
        controlnet_block_samples: None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Array]:
        """Predict a velocity: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            hidden_states, encoder_hidden_states, encoder_attention_mask: as in `construct`.
            timestep, guidance: one number for all images, or (batch,).
            attention_mask, attention_kwargs, controlnet_block_samples: must be None.
            return_dict: false for a plain tuple.

        Raises:
            ValueError: an argument that must be None is not.
        """
        check_unused(
            "SanaTransformer2DModel",
            attention_mask=attention_mask,
            attention_kwargs=attention_kwargs,
            controlnet_block_samples=controlnet_block_samples,
        )
        as_array = self._engine_for(hidden_states).asarray
        options = {
            "guidance": None if guidance is None else as_array(numbers(guidance)),
            "encoder_attention_mask": None if encoder_attention_mask is None else as_array(encoder_attention_mask),
        }
        given = {name: value for name, value in options.items() if value is not None}
        prediction = single(
            super().__call__(hidden_states, as_array(numbers(timestep)), encoder_hidden_states, **given)
        )
        return Transformer2DModelOutput(prediction) if return_dict else (prediction,)


class GuidedTimeEmbedding(nn.Cell):
    """`TimeEmbedding` of the timestep and the guidance scale (SANA-Sprint, §3.3)."""

    def __init__(self, width: int):
        super().__init__()
        self.timestep_embedder = embedder(width)
        self.guidance_embedder = embedder(width)
        self.linear = Linear(width, 6 * width)

    def construct(self, timestep: Array, guidance: Array) -> tuple[tuple[Array, ...], Array]:
        """As `TimeEmbedding` does."""
        time, guided = self.timestep_embedder(sinusoids(timestep)), self.guidance_embedder(sinusoids(guidance))
        return modulation_of(self.linear, F.add(time, guided))


class SanaBlock(Cell):
    """Linear attention of the picture, attention to the text, and gated convolutions, each with a shortcut."""

    def __init__(self, c: SanaTransformerFields):
        super().__init__()
        self.eps = c.norm_eps
        qk_norm = c.qk_norm is not None
        self.attn1 = LinearAttention(c.width, c.num_attention_heads, c.attention_bias, qk_norm)
        self.attn2 = TextAttention(
            c.width, c.width, c.num_cross_attention_heads, c.cross_attention_head_dim, qk_norm=qk_norm
        )
        self.norm2 = LayerNorm(c.width, c.norm_eps) if c.norm_elementwise_affine else None
        self.ff = GLUMBConv(c.width, int(c.mlp_ratio * c.width))
        self.scale_shift_table = parameter(6, c.width)

    def construct(
        self,
        x: Array,
        modulation: tuple[Array, ...],
        text: tuple[Array, ...],
        hidden: Array | None,
        size: tuple[int, int],
    ) -> Array:
        """One block.

        Args:
            x: tokens (batch, height · width, width).
            modulation: six of (rows, 1, width); see `TimeEmbedding`.
            text: its keys and its values.
            hidden: the bias of the scores of the text's tokens.
            size: (height, width), in tokens.
        """
        rows = block_modulation(self.scale_shift_table, modulation)
        y = F.modulate(F.layer_norm(x, eps=self.eps), rows[1], rows[0])
        x = F.add(x, F.multiply(rows[2], self.attn1(y)))
        x = F.add(x, self.attn2(x, text, hidden))
        y = F.layer_norm(x, eps=self.eps) if self.norm2 is None else self.norm2(x)
        return F.add(x, F.multiply(rows[5], self.ff(F.modulate(y, rows[4], rows[3]), size)))


class LinearAttention(Cell):
    """Attention of tokens (batch, tokens, width) to each other, with ReLU as kernel:
    `functional.relu_linear_attention`."""

    def __init__(self, width: int, heads: int, bias: bool, qk_norm: bool):
        super().__init__()
        self.heads = heads
        self.to_q, self.to_k, self.to_v = [Linear(width, width, bias) for _ in range(3)]
        self.norm_q, self.norm_k = [RMSNorm(width, QK_EPS) if qk_norm else Identity() for _ in range(2)]
        self.to_out = CellList([Linear(width, width)])

    def construct(self, x: Array) -> Array:
        query, key = self.norm_q(self.to_q(x)), self.norm_k(self.to_k(x))
        return self.to_out[0](F.relu_linear_attention(query, key, self.to_v(x), self.heads))


class GLUMBConv(Cell):
    """A gated inverted residual of convolutions, on tokens as a picture (Sana, §2.2, Mix-FFN)."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.inner = inner
        self.conv_inverted = HalvedConv2d(width, 2 * inner)
        self.conv_depth = Conv2d(2 * inner, 2 * inner, 3, padding=1, groups=2 * inner)
        self.conv_point = Conv2d(inner, width, 1, bias=False)

    def construct(self, x: Array, size: tuple[int, int]) -> Array:
        """``x`` (batch, height · width, width), ``size`` (height, width)."""
        rows, tokens, channels = x.shape
        picture = F.reshape(F.transpose(x, (0, 2, 1)), (rows, channels, *size))
        value, gate = [self._blurred(y, half) for half, y in enumerate(self.conv_inverted(picture))]
        y = self.conv_point(F.multiply(value, F.silu(gate)))
        return F.transpose(F.reshape(y, (rows, channels, tokens)), (0, 2, 1))

    def _blurred(self, y: Array, half: int) -> Array:
        """The depthwise convolution of the gated half (0) or of the gate (1)."""
        both: tuple[Any, Any] = (self.conv_depth.weight, self.conv_depth.bias)
        weight, bias = [F.weight_rows((each,), half, 2, self.inner) for each in both]
        return F.conv2d(F.silu(y), weight, bias, 1, 1, self.inner)
