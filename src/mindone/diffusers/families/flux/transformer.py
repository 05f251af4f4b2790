"""The transformer that predicts a flow's velocity: FLUX.1 (Black Forest Labs 2024; arXiv 2506.15742, §2).

Its first blocks are those of MMDiT (Esser et al. 2024, arXiv 2403.03206), the others run attention and feed-forward in
parallel (Dehghani et al. 2023, arXiv 2302.05442, §2). Positions enter as rotations of queries and keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from mindspore import nn
from pydantic import Field, Strict

from ... import functional as F
from ...engines import Array, single
from ...loading.fields import Flag
from ...models.adaln_single import check_unused, numbers
from ...models.cells import Cell, CellList
from ...models.fields import Channels, Count, Heads
from ...models.layers import GeluPerceptron, Linear
from ...models.outputs import Transformer2DModelOutput
from ...models.patches import packed, patch_grid, unpacked
from ...models.two_streams import (
    ContinuousNorm,
    JointAttention,
    Modulation,
    SelfAttention,
    TimeTextEmbedding,
    Turn,
    fed,
    normed,
)
from ..networks import Model

PATCH = 2
"""The side of a token's patch of latents."""
THETA = 10_000.0
"""The base of the frequencies of rotations."""
TIMES = 1000.0
"""The factor for the published call's timesteps and guidance scales."""

Turns: TypeAlias = tuple[Turn, Turn | None, Turn]
"""The rotations of queries and keys: for the image's tokens, the text's, and both concatenated."""

Even = Annotated[int, Strict(), Field(ge=2, le=1024, multiple_of=2)]


@dataclass(frozen=True)
class FluxTransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``in_channels`` are those of a patch of latents, four times the latents' own; ``out_channels`` None means the same
    number. ``axes_dims_rope`` gives the numbers of a head's channels rotated by a token's position along each of three
    axes: one that FLUX.1 leaves at 0, the row and the column.
    """

    patch_size: Literal[1] = 1
    in_channels: Channels = 64
    out_channels: Channels | None = None
    num_layers: Count = 19
    num_single_layers: Count = 38
    attention_head_dim: Channels = 128
    num_attention_heads: Count = 24
    joint_attention_dim: Channels = 4096
    pooled_projection_dim: Channels = 768
    guidance_embeds: Flag = False
    axes_dims_rope: Annotated[tuple[Even, ...], Field(min_length=3, max_length=3)] = (16, 56, 56)

    def __post_init__(self) -> None:
        if sum(self.axes_dims_rope) != self.attention_head_dim:
            raise ValueError(
                f"axes_dims_rope must add up to attention_head_dim, got {sum(self.axes_dims_rope)} and "
                f"{self.attention_head_dim}"
            )


class FluxTransformer2DModel(Model):
    """Predicts the velocity of latents from the timestep and the text; see `construct`."""

    Fields = FluxTransformerFields
    row_of_blocks = "transformer_blocks"
    exceeds_float16 = True

    def __init__(self, **config: object):
        super().__init__(config)
        c: FluxTransformerFields = self.fields
        self.time_text_embed = TimeTextEmbedding(c.pooled_projection_dim, c.width, c.guidance_embeds)
        self.context_embedder = Linear(c.joint_attention_dim, c.width)
        self.x_embedder = Linear(c.in_channels, c.width)
        self.transformer_blocks = CellList([JointBlock(c) for _ in range(c.num_layers)])
        self.single_transformer_blocks = CellList([SingleBlock(c, i) for i in range(c.num_single_layers)])
        self.norm_out = ContinuousNorm(c.width)
        self.proj_out = Linear(c.width, c.out_channels or c.in_channels)

    @property
    def blocks(self) -> Sequence[str]:
        """See `Model`: the two-stream blocks, then the single-stream ones."""
        single_blocks = [f"single_transformer_blocks.{i}" for i in range(self.fields.num_single_layers)]
        return [*super().blocks, *single_blocks]

    def construct(
        self,
        hidden_states: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        pooled_projections: Array,
        guidance: Array | None = None,
    ) -> Array:
        """Predict the velocity of latents.

        Args:
            hidden_states: latents (batch, in_channels / 4, height, width), or for guidance (batch / 2, …): the latents
                that both halves of the text share.
            timestep: (batch,) or (1,), from 0 to 1,000.
            encoder_hidden_states: the text, (batch, tokens, joint_attention_dim); padding counts like words.
            pooled_projections: the text as a whole, (batch, pooled_projection_dim).
            guidance: 1,000 times the guidance scale, (batch,) or (1,), only for a network with ``guidance_embeds``.

        Returns:
            (batch, out_channels / 4, height, width).

        Raises:
            ValueError: the latents have other channels, or patches do not cover them; a guidance scale is missing, or
                the network does not read one.
        """
        channels = self.fields.in_channels // PATCH**2
        if hidden_states.shape[1] != channels:
            raise ValueError(f"latents must have in_channels / 4 = {channels} channels, got {hidden_states.shape[1]}")
        height, width = patch_grid(hidden_states, PATCH)
        grid = height, width, self.fields.axes_dims_rope, THETA
        # The text's own positions are all 0, which means no rotation.
        turns = F.rotary_grid(0, *grid), None, F.rotary_grid(encoder_hidden_states.shape[1], *grid)
        tokens = packed(hidden_states, PATCH)
        velocity = self._velocity(tokens, timestep, encoder_hidden_states, pooled_projections, guidance, turns)
        return unpacked(velocity, height, width, PATCH)

    def of_tokens(
        self,
        hidden_states: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        pooled_projections: Array,
        img_ids: Array,
        txt_ids: Array,
        guidance: Array | None = None,
    ) -> Array:
        """The same for latents already in tokens (batch, tokens, in_channels), at any positions.

        Args:
            hidden_states: see above.
            timestep, encoder_hidden_states, pooled_projections, guidance: as in `construct`.
            img_ids, txt_ids: the positions of the image's and the text's tokens along three axes, (tokens, 3).

        Returns:
            (batch, tokens, out_channels).
        """
        axes = self.fields.axes_dims_rope
        image, text = F.rotary_table(img_ids, axes, THETA), F.rotary_table(txt_ids, axes, THETA)
        both = F.concat((text[0], image[0]), 0), F.concat((text[1], image[1]), 0)
        given = hidden_states, timestep, encoder_hidden_states, pooled_projections, guidance
        return self._velocity(*given, (image, text, both))

    def _velocity(
        self, tokens: Array, timestep: Array, text: Array, pooled: Array, guidance: Array | None, turns: Turns
    ) -> Array:
        if self.fields.guidance_embeds and guidance is None:
            raise ValueError("guidance is missing: the network's config has guidance_embeds true")
        if guidance is not None and not self.fields.guidance_embeds:
            raise ValueError("guidance must be None for a network whose config has guidance_embeds false")
        time = F.silu(self.time_text_embed(timestep, pooled, guidance))
        streams = self.x_embedder(tokens), self.context_embedder(text)
        for block in self.transformer_blocks:
            streams = block(streams, time, turns[0], turns[1])
        both = F.concat((streams[1], streams[0]), 1)
        for block in self.single_transformer_blocks:
            both = block(both, time, turns, text.shape[1])
        # Only the image is left, unless the last block was left out.
        image = F.slice_axis(both, 1, both.shape[1] - tokens.shape[1], both.shape[1])
        return self.proj_out(self.norm_out(image, time))

    def __call__(  # type: ignore[override]
        self,
        hidden_states: Array,
        encoder_hidden_states: Array,
        pooled_projections: Array,
        timestep: Array | float,
        img_ids: Array,
        txt_ids: Array,
        guidance: Array | float | None = None,
        joint_attention_kwargs: None = None,
        controlnet_block_samples: None = None,
        controlnet_single_block_samples: None = None,
        return_dict: bool = True,
        controlnet_blocks_repeat: bool = False,
    ) -> Transformer2DModelOutput | tuple[Array]:
        """Predict a velocity: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            hidden_states: latents as tokens, (batch, tokens, in_channels).
            encoder_hidden_states, pooled_projections: as in `construct`.
            timestep: one number for all images, or (batch,), from 0 to 1.
            img_ids, txt_ids: as in `of_tokens`.
            guidance: the guidance scale, likewise, only for a network with ``guidance_embeds``.
            joint_attention_kwargs, controlnet_block_samples, controlnet_single_block_samples: must be None.
            return_dict: false for a plain tuple.
            controlnet_blocks_repeat: ignored, as there are no such samples.

        Raises:
            ValueError: an argument that must be None is not; also what `construct` raises.
        """
        check_unused(
            type(self).__name__,
            joint_attention_kwargs=joint_attention_kwargs,
            controlnet_block_samples=controlnet_block_samples,
            controlnet_single_block_samples=controlnet_single_block_samples,
        )
        engine = self._engine_for(hidden_states)
        given = hidden_states, engine.asarray(numbers(timestep)) * TIMES, encoder_hidden_states, pooled_projections
        scale = () if guidance is None else (engine.asarray(numbers(guidance)) * TIMES,)
        prediction = single(engine.run(self, *given, img_ids, txt_ids, *scale, method="of_tokens"))
        return Transformer2DModelOutput(prediction) if return_dict else (prediction,)


class JointBlock(nn.Cell):
    """Attention of image and text to both, and a feed-forward layer for each, all modulated and with shortcuts."""

    def __init__(self, c: FluxTransformerFields):
        super().__init__()
        self.norm1, self.norm1_context = Modulation(c.width, 6), Modulation(c.width, 6)
        self.attn = JointAttention(c.num_attention_heads, c.attention_head_dim, norms_heads=True)
        self.ff, self.ff_context = GeluPerceptron(c.width, 4 * c.width), GeluPerceptron(c.width, 4 * c.width)

    def construct(
        self, streams: tuple[Array, Array], time: Array, turn: Turn, turn_of_text: Turn | None
    ) -> tuple[Array, Array]:
        """One block.

        Args:
            streams: the tokens of the image (batch, tokens, width), and those of the text.
            time: `TimeTextEmbedding` after SiLU, (rows, width).
            turn, turn_of_text: the rotations of the queries and keys of each.
        """
        image, text = streams
        of_image, of_text = self.norm1(time), self.norm1_context(time)
        mixed, mixed_text = self.attn(
            F.modulate(normed(image), of_image[1], of_image[0]),
            F.modulate(normed(text), of_text[1], of_text[0]),
            turn,
            turn_of_text,
        )
        image = F.add(image, F.multiply(of_image[2], mixed))
        text = F.add(text, F.multiply(of_text[2], mixed_text))
        return fed(self.ff, image, of_image), fed(self.ff_context, text, of_text)


class SingleBlock(Cell):
    """Attention of all tokens to each other and, in parallel, a feed-forward layer, with a shortcut.

    The last block's text ends with its keys and values, because nothing else of it is needed.
    """

    def __init__(self, c: FluxTransformerFields, index: int):
        super().__init__()
        self.is_last = index == c.num_single_layers - 1
        self.norm = Modulation(c.width, 3)
        self.proj_mlp = Linear(c.width, 4 * c.width)
        self.proj_out = Linear(5 * c.width, c.width)
        self.attn = SelfAttention(c.num_attention_heads, c.attention_head_dim, norms_heads=True, has_output=False)

    def construct(self, x: Array, time: Array, turns: Turns, words: int) -> Array:
        """One block.

        Args:
            x: the tokens of the text and then those of the image, (batch, tokens, width).
            time: `TimeTextEmbedding` after SiLU, (rows, width).
            turns: the rotations of queries and keys.
            words: how many tokens are the text's.

        Returns:
            All tokens, or after the last block the image's.
        """
        shift, scale, gate = self.norm(time)
        y = F.modulate(normed(x), scale, shift)
        if not self.is_last:
            return self._added(x, y, self.attn(y, turns[2]), gate)
        image, asking = F.slice_axis(x, 1, words, x.shape[1]), F.slice_axis(y, 1, words, x.shape[1])
        return self._added(image, asking, self.attn.of(asking, turns[0], y, turns[2]), gate)

    def _added(self, x: Array, y: Array, mixed: Array, gate: Array) -> Array:
        """``x`` plus what becomes of its attention's output and of ``y``, which is ``x`` modulated."""
        both = F.concat((mixed, F.gelu_tanh(self.proj_mlp(y))), 2)
        return F.add(x, F.multiply(gate, self.proj_out(both)))
