"""The transformer that predicts a flow's velocity: MMDiT (Esser et al. 2024, arXiv 2403.03206, §4 and figure 2).

Stable Diffusion 3.5 normalises queries and keys; the medium one lets the image attend to itself once more in its first
blocks (MMDiT-X).
"""

from collections.abc import Iterable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn
from numpy.typing import NDArray

from ... import functional as F
from ...engines import Array, FlashAttention, single
from ...models.cells import Cell, CellList
from ...models.layers import Conv2d, GeluPerceptron, Linear, TimestepEmbedding, parameter
from ...models.outputs import Transformer2DModelOutput
from ...models.patches import as_tokens, patch_grid, unpatched
from ...utils.printable import shown
from ..networks import Model
from .transformer_fields import SD3TransformerFields

SINUSOIDS = 256
"""The channels that a timestep becomes."""
EPS = 1e-6
"""Of all norms."""


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
    ) -> Array:
        """Predict the velocity of latents.

        Args:
            hidden_states: latents (batch, in_channels, height, width), or for guidance (batch / 2, …): the latents that
                both halves of the text share.
            timestep: (batch,) or (1,), from 0 to 1,000.
            encoder_hidden_states: the text, (batch, tokens, joint_attention_dim), whose padding counts as words do.
            pooled_projections: the text as a whole, (batch, pooled_projection_dim).
            skip_layers: numbers of the blocks that are left out (skip-layer guidance).

        Returns:
            (batch, out_channels, height, width).

        Raises:
            ValueError: latents of other channels; patches do not cover them, or are more along a side than there are
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
                streams = block(streams, time)
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
            skip_layers: numbers of the blocks that are left out; None: all run.

        Raises:
            ValueError: an argument that must be None is not, a block that is not there, or what `construct` raises.
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
                as_array(_numbers(timestep)),
                encoder_hidden_states,
                pooled_projections,
                skip_layers=skipped,
            )
        )
        return Transformer2DModelOutput(prediction) if return_dict else (prediction,)


class PatchEmbed(Cell):
    """Latents as tokens, with the middle of a square table of positions added."""

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


class TimeTextEmbedding(Cell):
    """The timestep and the text as a whole, as one vector (rows, width) that modulates all blocks."""

    def __init__(self, pooled_channels: int, width: int):
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(SINUSOIDS, width, "silu")
        self.text_embedder = TimestepEmbedding(pooled_channels, width, "silu")

    def construct(self, timestep: Array, pooled: Array) -> Array:
        time = self.timestep_embedder(F.timestep_embedding(timestep, SINUSOIDS, True, 0.0))
        return F.add(time, self.text_embedder(pooled))


class JointBlock(nn.Cell):
    """Attention of image and text to both, and a feed-forward layer for each, all modulated and beside shortcuts.

    The last block's text ends with its keys and values, which is all that is needed of it.
    """

    def __init__(self, c: SD3TransformerFields, index: int):
        super().__init__()
        self.is_dual, self.is_last = index in c.dual_attention_layers, index == c.num_layers - 1
        self.norm1 = Modulation(c.width, 9 if self.is_dual else 6)
        self.norm1_context: Any = ContinuousNorm(c.width) if self.is_last else Modulation(c.width, 6)
        self.attn = JointAttention(c, is_last=self.is_last)
        self.attn2 = ImageAttention(c) if self.is_dual else None
        self.ff = GeluPerceptron(c.width, 4 * c.width)
        self.ff_context: Any = None if self.is_last else GeluPerceptron(c.width, 4 * c.width)

    def construct(self, streams: tuple[Array, Array], time: Array) -> tuple[Array, Array]:
        """One block.

        Args:
            streams: the tokens of the image (batch, tokens, width), and those of the text.
            time: `TimeTextEmbedding` after SiLU, (rows, width).
        """
        image, text = streams
        of_image = self.norm1(time)
        normed = F.layer_norm(image, eps=EPS)
        x = F.modulate(normed, of_image[1], of_image[0])
        if self.is_last:
            mixed = self.attn.of_image(x, self.norm1_context(text, time))
            image = self._attended(image, mixed, normed, of_image)
            return self._fed(self.ff, image, of_image), text
        of_text = self.norm1_context(time)
        mixed, mixed_text = self.attn(x, F.modulate(F.layer_norm(text, eps=EPS), of_text[1], of_text[0]))
        image = self._attended(image, mixed, normed, of_image)
        text = F.add(text, F.multiply(of_text[2], mixed_text))
        return self._fed(self.ff, image, of_image), self._fed(self.ff_context, text, of_text)

    def _attended(self, image: Array, mixed: Array, normed: Array, modulation: tuple[Array, ...]) -> Array:
        """The image after its attentions; ``normed`` is what went into them, not modulated yet."""
        image = F.add(image, F.multiply(modulation[2], mixed))
        if self.attn2 is None:
            return image
        again = self.attn2(F.modulate(normed, modulation[7], modulation[6]))
        return F.add(image, F.multiply(modulation[8], again))

    def _fed(self, ff: Cell, x: Array, modulation: tuple[Array, ...]) -> Array:
        y = F.modulate(F.layer_norm(x, eps=EPS), modulation[4], modulation[3])
        return F.add(x, F.multiply(modulation[5], ff(y)))


class Modulation(nn.Cell):
    """``parts`` of (rows, 1, width): shift, scale and gate of attention, of feed-forward, and of a second attention."""

    def __init__(self, width: int, parts: int):
        super().__init__()
        self.parts = parts
        self.linear = Linear(width, parts * width)

    def construct(self, time: Array) -> tuple[Array, ...]:
        rows, width = time.shape
        y = F.reshape(self.linear(time), (rows, self.parts, width))
        return tuple([F.slice_axis(y, 1, i, i + 1) for i in range(self.parts)])


class ContinuousNorm(Cell):
    """Layer normalization with a scale and a shift that the time makes: AdaLN (Peebles & Xie 2023, §3.2)."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = Linear(width, 2 * width)

    def construct(self, x: Array, time: Array) -> Array:
        rows, width = time.shape
        y = F.reshape(self.linear(time), (rows, 2, width))
        return F.modulate(F.layer_norm(x, eps=EPS), F.slice_axis(y, 1, 0, 1), F.slice_axis(y, 1, 1, 2))


class HeadNorm(Cell):
    """Root mean square normalization of each head of (batch, tokens, heads · size), and a factor."""

    def __init__(self, size: int):
        super().__init__()
        self.weight = parameter(size)

    def construct(self, x: Array, factor: float = 1.0) -> Array:
        rows, tokens, channels = x.shape
        size = self.weight.shape[0]
        heads = F.reshape(x, (rows, tokens, channels // size, size))
        # The factor goes to the weight, which costs nothing where that is known when a network is compiled.
        weight = self.weight if factor == 1.0 else F.affine(self.weight, factor)
        return F.reshape(F.rms_norm(heads, weight, EPS), (rows, tokens, channels))


class ImageAttention(nn.Cell):
    """Multi-head attention of tokens (batch, tokens, width) to each other."""

    def __init__(self, c: SD3TransformerFields):
        super().__init__()
        self.heads, self.scale = c.num_attention_heads, c.attention_head_dim**-0.5
        self.flash: FlashAttention | None = FlashAttention()
        self.to_q, self.to_k, self.to_v = [Linear(c.width, c.width) for _ in range(3)]
        self.to_out = CellList([Linear(c.width, c.width)])
        norms: list[Any] = [HeadNorm(c.attention_head_dim) if c.qk_norm else None for _ in range(2)]
        self.norm_q, self.norm_k = norms

    def construct(self, x: Array) -> Array:
        query = _scaled(self.to_q(x), self.norm_q, self.scale)
        return self.to_out[0](self._mixed(query, _normed(self.to_k(x), self.norm_k), self.to_v(x)))

    def _mixed(self, query: Array, key: Array, value: Array) -> Array:
        """Attention of queries that are scaled already."""
        return F.attention(query, key, value, self.heads, False, self.flash, None, 1.0)


class JointAttention(ImageAttention):
    """Multi-head attention of the tokens of image and text to both.

    Each stream asks by itself: the same numbers as one attention, whose queries would be joined and taken apart again.
    """

    def __init__(self, c: SD3TransformerFields, is_last: bool):
        super().__init__(c)
        self.add_q_proj, self.add_k_proj, self.add_v_proj = [Linear(c.width, c.width) for _ in range(3)]
        self.to_add_out: Any = None if is_last else Linear(c.width, c.width)
        norms: list[Any] = [HeadNorm(c.attention_head_dim) if c.qk_norm else None for _ in range(2)]
        self.norm_added_q, self.norm_added_k = norms

    def construct(self, x: Array, text: Array) -> tuple[Array, Array]:  # type: ignore[override]
        """What image and text (batch, tokens, width) read."""
        key, value = self._keys_and_values(x, text)
        asked = _scaled(self.add_q_proj(text), self.norm_added_q, self.scale)
        return self._read(x, key, value), self.to_add_out(self._mixed(asked, key, value))

    def of_image(self, x: Array, text: Array) -> Array:
        """What the image alone reads."""
        key, value = self._keys_and_values(x, text)
        return self._read(x, key, value)

    def _read(self, x: Array, key: Array, value: Array) -> Array:
        return self.to_out[0](self._mixed(_scaled(self.to_q(x), self.norm_q, self.scale), key, value))

    def _keys_and_values(self, x: Array, text: Array) -> tuple[Array, Array]:
        """Of both: (batch, tokens of both, width)."""
        keys = (_normed(self.to_k(x), self.norm_k), _normed(self.add_k_proj(text), self.norm_added_k))
        return F.concat(keys, 1), F.concat((self.to_v(x), self.add_v_proj(text)), 1)


def _normed(x: Array, norm: HeadNorm | None) -> Array:
    return x if norm is None else norm(x)


def _scaled(x: Array, norm: HeadNorm | None, factor: float) -> Array:
    """Queries, normalised where there is a norm, times a factor."""
    return F.affine(x, factor) if norm is None else norm(x, factor)


def _numbers(value: Array | float) -> NDArray[np.generic]:
    """One number or several as an array (count,)."""
    return np.reshape(value.asnumpy() if isinstance(value, ms.Tensor) else value, (-1,))
