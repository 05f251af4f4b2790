"""The transformer that predicts noise: PixArt-α (Chen et al. 2023, arXiv 2310.00426, §2.3) and PixArt-Σ (2024)."""

from dataclasses import dataclass
from typing import Any, Literal

from mindspore import nn

from ... import functional as F
from ...engines import Array, single
from ...loading.fields import Flag, Fraction, Pixels, Positive
from ...models.adaln_single import (
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
from ...models.fields import Channels, Count, Heads, Zero
from ...models.layers import Attention, GeluPerceptron, LayerNorm, Linear, parameter
from ...models.outputs import Transformer2DModelOutput
from ...models.patches import patch_grid, unpatched
from ..networks import Model

_SIZES = ("resolution", "aspect_ratio")
_TOKENS_OF_512 = 64
"""The latents along each side of a 512-pixel image; up to this, positions are not divided."""
_LATENTS_OF_1024 = 128
"""The latents of a 1,024-pixel image: the first checkpoint of this size also reads the resolution."""


@dataclass(frozen=True)
class PixArtTransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``out_channels`` None means as many as ``in_channels``. ``interpolation_scale`` None is derived from the size, and
    so is ``use_additional_conditions`` None: PixArt-α for 1024×1024, whose config has no such entry, reads the
    resolution and the aspect ratio. With ``caption_channels`` None the network reads texts of ``cross_attention_dim``
    channels directly. ``norm_num_groups``, ``num_embeds_ada_norm`` and ``upcast_attention`` change nothing.
    """

    num_attention_heads: Count = 16
    attention_head_dim: Channels = 72
    in_channels: Channels = 4
    out_channels: Channels | None = 8
    num_layers: Count = 28
    dropout: Zero = 0.0
    norm_num_groups: int = 32
    cross_attention_dim: Channels = 1152
    attention_bias: Flag = True
    sample_size: Pixels = 128
    patch_size: Count = 2
    activation_fn: Literal["gelu-approximate"] = "gelu-approximate"
    num_embeds_ada_norm: int | None = 1000
    upcast_attention: Flag = False
    norm_type: Literal["ada_norm_single"] = "ada_norm_single"
    norm_elementwise_affine: Flag = False
    norm_eps: Fraction = 1e-6
    interpolation_scale: Positive | None = None
    use_additional_conditions: Flag | None = None
    caption_channels: Channels | None = None
    attention_type: Literal["default"] = "default"

    def __post_init__(self) -> None:
        heads = f"{self.num_attention_heads} x {self.attention_head_dim}"
        if self.width % 4:
            raise ValueError(f"num_attention_heads x attention_head_dim must be a multiple of 4, got {heads}")
        if self.reads_sizes and self.width % 3:
            raise ValueError(
                "num_attention_heads x attention_head_dim must be a multiple of 3 if use_additional_conditions is "
                f"true, got {heads}"
            )
        if self.caption_channels is not None:
            self.check_width("cross_attention_dim", " if caption_channels is given")

    @property
    def position_scale(self) -> float:
        """The divisor of positions."""
        return self.interpolation_scale or max(self.sample_size // _TOKENS_OF_512, 1)

    @property
    def reads_sizes(self) -> bool:
        """Whether it reads the resolution and the aspect ratio of the image."""
        given = self.use_additional_conditions
        return self.sample_size == _LATENTS_OF_1024 if given is None else given


class PixArtTransformer2DModel(Model):
    """Predicts the noise in latents from the timestep and the text; see `construct`.

    Checkpoints also name it ``Transformer2DModel``.
    """

    Fields = PixArtTransformerFields
    row_of_blocks = "transformer_blocks"

    def __init__(self, **config: object):
        super().__init__(config)
        c: PixArtTransformerFields = self.fields
        outs, base = c.out_channels or c.in_channels, c.sample_size // c.patch_size
        self.pos_embed = GridPatchEmbed(c.in_channels, c.width, c.patch_size, base, c.position_scale)
        self.adaln_single = (SizedTimeEmbedding if c.reads_sizes else TimeEmbedding)(c.width)
        reads = c.caption_channels
        self.caption_projection = Identity() if reads is None else CaptionProjection(reads, c.width)
        self.transformer_blocks = CellList([PixArtBlock(c) for _ in range(c.num_layers)])
        self.scale_shift_table = parameter(2, c.width)
        self.proj_out = Linear(c.width, c.patch_size**2 * outs)

    def construct(
        self,
        hidden_states: Array,
        timestep: Array,
        encoder_hidden_states: Array | tuple[Array, ...],
        encoder_attention_mask: Array | None = None,
        resolution: Array | None = None,
        aspect_ratio: Array | None = None,
    ) -> Array:
        """Predict the noise in latents.

        Args:
            hidden_states: latents (batch, in_channels, height, width), or for guidance (batch / 2, …): the latents that
                both halves of the text share, so that nothing is computed twice before the first attention to the text.
            timestep: (batch,) or (1,); from 0 to 1,000.
            encoder_hidden_states: the text, (batch, tokens, caption_channels), or the output of `read_text`.
            encoder_attention_mask: 1 for words and 0 for padding, (batch, tokens); None if all are words.
            resolution, aspect_ratio: height and width of the image in pixels, (batch or 1, 2), and height divided by
                width, (batch or 1, 1); only for a network with ``use_additional_conditions``.

        Returns:
            (batch, out_channels, height, width); if it has twice the latents' channels, the second half is a variance.
        """
        height, width = patch_grid(hidden_states, self.fields.patch_size)
        modulation, time = self._read_time(timestep, resolution, aspect_ratio)
        text = encoder_hidden_states
        keys_and_values = text if isinstance(text, tuple) else self.read_text(text)
        hidden = scores_of_padding(encoder_attention_mask)
        x = self.pos_embed(hidden_states)
        for i, block in enumerate(self.transformer_blocks):
            x = block(x, modulation, keys_and_values[2 * i : 2 * i + 2], hidden)
        y = self.proj_out(ending(x, self.scale_shift_table, time))
        return unpatched(y, height, width, self.fields.patch_size)

    def read_text(self, encoder_hidden_states: Array) -> tuple[Array, ...]:
        """All that the blocks read of the text, the same at every step.

        Args:
            encoder_hidden_states: the text, (batch, tokens, caption_channels).

        Returns:
            The keys and the values of each block in turn, all (batch, tokens, width).
        """
        text = self.caption_projection(encoder_hidden_states)
        return keys_and_values_of(text, self.transformer_blocks)

    @property
    def reads_sizes(self) -> bool:
        """Whether it reads the resolution and the aspect ratio of the image."""
        reads: bool = self.fields.reads_sizes
        return reads

    def _read_time(
        self, timestep: Array, resolution: Array | None, aspect_ratio: Array | None
    ) -> tuple[tuple[Array, ...], Array]:
        """The modulation of all blocks and of the output by the timestep and, if the network reads them, the sizes."""
        if self.reads_sizes:
            if resolution is None or aspect_ratio is None:
                raise ValueError("resolution and aspect_ratio are missing: the network reads both")
            read: tuple[tuple[Array, ...], Array] = self.adaln_single(timestep, resolution, aspect_ratio)
            return read
        if resolution is not None or aspect_ratio is not None:
            raise ValueError("resolution and aspect_ratio must be None for a network that does not read them")
        read = self.adaln_single(timestep)
        return read

    def __call__(  # type: ignore[override]
        self,
        hidden_states: Array,
        encoder_hidden_states: Array,
        timestep: Array | float,
        added_cond_kwargs: dict[str, Array | None] | None = None,
        cross_attention_kwargs: None = None,
        attention_mask: None = None,
        encoder_attention_mask: Array | None = None,
        return_dict: bool = True,
    ) -> Transformer2DModelOutput | tuple[Array]:
        """Predict noise: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            hidden_states, encoder_hidden_states, encoder_attention_mask: as in `construct`.
            timestep: one number for all images, or (batch,).
            added_cond_kwargs: ``resolution`` and ``aspect_ratio`` as in `construct`; entries that the network does not
                read are ignored.
            cross_attention_kwargs, attention_mask: must be None.
            return_dict: false for a plain tuple.

        Raises:
            ValueError: an argument that must be None is not, or a required one is missing.
        """
        check_unused(
            "PixArtTransformer2DModel", cross_attention_kwargs=cross_attention_kwargs, attention_mask=attention_mask
        )
        as_array, added = self._engine_for(hidden_states).asarray, added_cond_kwargs or {}
        options: dict[str, Any] = {name: added.get(name) for name in _SIZES if self.reads_sizes}
        options["encoder_attention_mask"] = encoder_attention_mask
        given = {name: as_array(value) for name, value in options.items() if value is not None}
        prediction = single(
            super().__call__(hidden_states, as_array(numbers(timestep)), encoder_hidden_states, **given)
        )
        return Transformer2DModelOutput(prediction) if return_dict else (prediction,)


Transformer2DModel = PixArtTransformer2DModel
"""Its name in published checkpoints and their scripts."""


class SizedTimeEmbedding(nn.Cell):
    """`TimeEmbedding` of the timestep, and of the image's resolution and aspect ratio."""

    def __init__(self, width: int):
        super().__init__()
        self.emb = SizedTimestep(width)
        self.linear = Linear(width, 6 * width)

    def construct(self, timestep: Array, resolution: Array, aspect_ratio: Array) -> tuple[tuple[Array, ...], Array]:
        """As `TimeEmbedding` does."""
        return modulation_of(self.linear, self.emb(timestep, resolution, aspect_ratio))


class SizedTimestep(Cell):
    """The part of `SizedTimeEmbedding` that has a name in checkpoints."""

    def __init__(self, width: int):
        super().__init__()
        self.timestep_embedder = embedder(width)
        self.resolution_embedder = embedder(width // 3)
        self.aspect_ratio_embedder = embedder(width // 3)

    def construct(self, timestep: Array, resolution: Array, aspect_ratio: Array) -> Array:
        """Height, width and aspect ratio take a third of the channels each."""
        time = self.timestep_embedder(sinusoids(timestep))
        sizes = self.resolution_embedder(sinusoids(resolution)), self.aspect_ratio_embedder(sinusoids(aspect_ratio))
        return F.add(time, F.concat([F.reshape(x, (x.shape[0], x.shape[1] * x.shape[2])) for x in sizes], 1))


class PixArtBlock(Cell):
    """Attention of the picture to itself, attention to the text, and a perceptron, each with a shortcut."""

    def __init__(self, c: PixArtTransformerFields):
        super().__init__()
        self.eps = c.norm_eps
        heads, size, bias = c.num_attention_heads, c.attention_head_dim, c.attention_bias
        affine = c.norm_elementwise_affine
        self.norm1, self.norm2 = [LayerNorm(c.width, c.norm_eps) if affine else None for _ in range(2)]
        self.attn1 = Attention(c.width, c.width, heads, size, bias)
        self.attn2 = TextAttention(c.width, c.cross_attention_dim, heads, size, bias)
        self.ff = GeluPerceptron(c.width, 4 * c.width)
        self.scale_shift_table = parameter(6, c.width)

    def construct(
        self, x: Array, modulation: tuple[Array, ...], text: tuple[Array, ...], hidden: Array | None
    ) -> Array:
        """One block.

        Args:
            x: tokens (batch, tokens, width).
            modulation: six of (rows, 1, width); see `TimeEmbedding`.
            text: its keys and its values.
            hidden: the bias of the scores of the text's tokens.
        """
        rows = block_modulation(self.scale_shift_table, modulation)
        y = F.modulate(self._normalised(x, self.norm1), rows[1], rows[0])
        x = F.add(x, F.multiply(rows[2], self.attn1(y, y)))
        x = F.add(x, self.attn2(x, text, hidden))
        y = F.modulate(self._normalised(x, self.norm2), rows[4], rows[3])
        return F.add(x, F.multiply(rows[5], self.ff(y)))

    def _normalised(self, x: Array, norm: LayerNorm | None) -> Array:
        return F.layer_norm(x, eps=self.eps) if norm is None else norm(x)
