"""The transformer that predicts a flow's velocity: MMDiT (Esser et al. 2024, arXiv 2403.03206, §4 and figure 2).

Stable Diffusion 3.5 normalises queries and keys; the medium one lets the image attend to itself once more in its first
blocks (MMDiT-X).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mindspore import nn
from pydantic import FailFast, Field, Strict

from ... import functional as F
from ...engines import Array, single
from ...loading.fields import Pixels
from ...models.adaln_single import numbers
from ...models.cells import Cell, CellList
from ...models.fields import Channels, Count, Heads, Positions
from ...models.layers import Conv2d, GeluPerceptron, Linear, parameter
from ...models.outputs import Transformer2DModelOutput
from ...models.patches import as_tokens, patch_grid, unpatched
from ...models.two_streams import (
    ContinuousNorm,
    JointAttention,
    Modulation,
    SelfAttention,
    TimeTextEmbedding,
    fed,
    normed,
)
from ...utils.printable import shown
from ..networks import Model

BlockNumbers = Annotated[tuple[Annotated[int, Strict(), Field(ge=0, lt=256)], ...], Field(max_length=256), FailFast()]


@dataclass(frozen=True)
class SD3TransformerFields(Heads):
    """The fields of its ``config.json``, with their published defaults.

    ``out_channels`` None means as many as ``in_channels``. ``pos_embed_max_size`` is the side of the table of
    positions, in patches. The blocks in ``dual_attention_layers`` have a second attention, of the image to itself;
    numbers beyond the last block are ignored.
    """

    sample_size: Pixels = 128
    patch_size: Count = 2
    in_channels: Channels = 16
    num_layers: Count = 18
    attention_head_dim: Channels = 64
    num_attention_heads: Count = 18
    joint_attention_dim: Channels = 4096
    caption_projection_dim: Channels = 1152
    pooled_projection_dim: Channels = 2048
    out_channels: Channels | None = 16
    pos_embed_max_size: Positions = 96
    dual_attention_layers: BlockNumbers = ()
    qk_norm: Literal["rms_norm"] | None = None

    def __post_init__(self) -> None:
        self.check_width("caption_projection_dim")


class SD3Transformer2DModel(Model):
    """Predicts the velocity of latents from the timestep and the text; see `construct`."""

    Fields = SD3TransformerFields
    row_of_blocks = "transformer_blocks"

    def __init__(self, **config: object):
        super().__init__(config)
        c: SD3TransformerFields = self.fields
        outs = c.out_channels or c.in_channels
        self.pos_embed = PatchEmbed(c)
        self.time_text_embed = TimeTextEmbedding(c.pooled_projection_dim, c.width)
        self.context_embedder = Linear(c.joint_attention_dim, c.width)
        self.transformer_blocks = CellList([JointBlock(c, i) for i in range(c.num_layers)])
        self.norm_out = ContinuousNorm(c.width)
        self.proj_out = Linear(c.width, c.patch_size**2 * outs)

    def construct(
        self,
        hidden_states: Array,
        timestep: Array,
        encoder_hidden_states: Array,
        pooled_projections: Array,
        skip_layers: tuple[int, ...] = (),
        last_counts: int = 1,
    ) -> Array:
        """Predict the velocity of latents.

        Args:
            hidden_states: latents (batch, in_channels, height, width), or for guidance (batch / 2, …): the latents that
                both halves of the text share.
            timestep: (batch,) or (1,), from 0 to 1,000.
            encoder_hidden_states: the text, (batch, tokens, joint_attention_dim); padding counts like words.
            pooled_projections: the text as a whole, (batch, pooled_projection_dim).
            skip_layers: numbers of the blocks to skip (skip-layer guidance).
            last_counts: how many equal tokens the last one of the text stands for: without positions they stay equal in
                all blocks, and only attention counts them.

        Returns:
            (batch, out_channels, height, width).

        Raises:
            ValueError: the latents have other channels, patches do not cover them, or a side has more patches than
                positions.
        """
        side, channels = self.fields.patch_size, self.fields.in_channels
        if hidden_states.shape[1] != channels:
            raise ValueError(f"latents must have in_channels = {channels} channels, got {hidden_states.shape[1]}")
        height, width = patch_grid(hidden_states, side)
        image = self.pos_embed(hidden_states, (height, width))
        text = self.context_embedder(encoder_hidden_states)
        time = F.silu(self.time_text_embed(timestep, pooled_projections))
        streams = (image, text)
        for i, block in enumerate(self.transformer_blocks):
            if i not in skip_layers:
                streams = block(streams, time, last_counts)
        return unpatched(self.proj_out(self.norm_out(streams[0], time)), height, width, side)

    def __call__(  # type: ignore[override]
        self,
        hidden_states: Array,
        encoder_hidden_states: Array,
        pooled_projections: Array,
        timestep: Array | float,
        block_controlnet_hidden_states: None = None,
        joint_attention_kwargs: None = None,
        return_dict: bool = True,
        skip_layers: Iterable[int] | None = None,
    ) -> Transformer2DModelOutput | tuple[Array]:
        """Predict a velocity: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            hidden_states, encoder_hidden_states, pooled_projections: as in `construct`.
            timestep: one number for all images, or (batch,).
            block_controlnet_hidden_states, joint_attention_kwargs: must be None.
            return_dict: false for a plain tuple.
            skip_layers: numbers of the blocks to skip; None runs all.

        Raises:
            ValueError: an argument that must be None is not, or a block does not exist; also what `construct` raises.
        """
        unused = {
            "block_controlnet_hidden_states": (block_controlnet_hidden_states, "no ControlNet of this family is known"),
            "joint_attention_kwargs": (joint_attention_kwargs, "set_adapters says how much each LoRA counts"),
        }
        for name, (value, why) in unused.items():
            if value is not None:
                raise ValueError(f"{name} must be None: {why}")
        skipped, count = tuple(skip_layers or ()), self.fields.num_layers
        if not all(type(number) is int and 0 <= number < count for number in skipped):
            raise ValueError(f"skip_layers must be whole numbers from 0 to {count - 1}, got {shown(skip_layers)}")
        as_array = self._engine_for(hidden_states).asarray
        prediction = single(
            super().__call__(
                hidden_states,
                as_array(numbers(timestep)),
                encoder_hidden_states,
                pooled_projections,
                skip_layers=skipped,
            )
        )
        return Transformer2DModelOutput(prediction) if return_dict else (prediction,)


class PatchEmbed(Cell):
    """Latents as tokens, plus the centre of a square table of positions."""

    def __init__(self, c: SD3TransformerFields):
        super().__init__()
        self.proj = Conv2d(c.in_channels, c.width, c.patch_size, stride=c.patch_size)
        self.most = c.pos_embed_max_size
        self.pos_embed = parameter(1, self.most**2, c.width)

    def construct(self, latents: Array, size: tuple[int, int]) -> Array:
        """``size`` is (rows, columns) of patches."""
        height, width = size
        if height > self.most or width > self.most:
            raise ValueError(
                f"latents must have at most pos_embed_max_size = {self.most} patches along a side, got {height} and "
                f"{width}"
            )
        return F.add(as_tokens(self.proj(latents)), F.middle_of_grid(self.pos_embed, height, width))


class JointBlock(nn.Cell):
    """Attention of image and text to both, and a feed-forward layer for each, all modulated and with shortcuts.

    The last block's text ends with its keys and values, because nothing else of it is needed.
    """

    def __init__(self, c: SD3TransformerFields, index: int):
        super().__init__()
        self.is_dual, self.is_last = index in c.dual_attention_layers, index == c.num_layers - 1
        self.norm1 = Modulation(c.width, 9 if self.is_dual else 6)
        self.norm1_context: Any = ContinuousNorm(c.width) if self.is_last else Modulation(c.width, 6)
        own = c.num_attention_heads, c.attention_head_dim, c.qk_norm is not None
        self.attn = JointAttention(*own, is_last=self.is_last)
        self.attn2 = SelfAttention(*own) if self.is_dual else None
        self.ff = GeluPerceptron(c.width, 4 * c.width)
        self.ff_context: Any = None if self.is_last else GeluPerceptron(c.width, 4 * c.width)

    def construct(self, streams: tuple[Array, Array], time: Array, last_counts: int = 1) -> tuple[Array, Array]:
        """One block.

        Args:
            streams: the tokens of the image (batch, tokens, width), and those of the text.
            time: `TimeTextEmbedding` after SiLU, (rows, width).
            last_counts: how many tokens the last one of the text stands for.
        """
        image, text = streams
        of_image = self.norm1(time)
        plain = normed(image)
        x = F.modulate(plain, of_image[1], of_image[0])
        if self.is_last:
            mixed = self.attn.of_image(x, self.norm1_context(text, time), last_counts)
            image = self._attended(image, mixed, plain, of_image)
            return fed(self.ff, image, of_image), text
        of_text = self.norm1_context(time)
        words = F.modulate(normed(text), of_text[1], of_text[0])
        mixed, mixed_text = self.attn(x, words, last_counts=last_counts)
        image = self._attended(image, mixed, plain, of_image)
        text = F.add(text, F.multiply(of_text[2], mixed_text))
        return fed(self.ff, image, of_image), fed(self.ff_context, text, of_text)

    def _attended(self, image: Array, mixed: Array, plain: Array, modulation: tuple[Array, ...]) -> Array:
        """The image after its attentions; ``plain`` is what went into them, not modulated yet."""
        image = F.add(image, F.multiply(modulation[2], mixed))
        if self.attn2 is None:
            return image
        again = self.attn2(F.modulate(plain, modulation[7], modulation[6]))
        return F.add(image, F.multiply(modulation[8], again))
