"""Token downsampling (ToDo, Smith et al. 2024): at a UNet's largest level pixels attend to a few of the others.

Neighbouring pixels have much the same keys and values there, so every second row and column does for them. The queries,
and so the result, keep all pixels; the weights stay as they are, and so do the parameters' names.
"""

from collections.abc import Iterable, Iterator

from mindspore import nn

from .. import functional as F
from ..engines import Array
from ..engines.cache import GraphCache
from .layers import Attention
from .unet_blocks import Block, SelfAttention, TransformerBlock


class DownsampledSelfAttention(Attention):
    """Stands in the place of a `SelfAttention`, with its weights: keys and values of every ``factor``-th row and column
    (nearest-neighbour downsampling, §3.2)."""

    def __init__(self, whole: SelfAttention, factor: int):
        nn.Cell.__init__(self)
        self.heads, self.flash, self.factor = whole.heads, whole.flash, factor
        self.to_q, self.to_k, self.to_v, self.to_out = whole.to_q, whole.to_k, whole.to_v, whole.to_out
        self.whole = lambda: whole  # a cell of its own here would give its parameters a second name

    def construct(self, x: Array, size: tuple[int, int]) -> Array:  # type: ignore[override]
        """``x`` (batch, height · width, channels) of an image of ``size`` (height, width)."""
        channels = x.shape[2]
        grid = F.reshape(x, (-1, size[0], size[1], channels))
        grid = F.slice_axis(grid, 1, 0, size[0], self.factor)
        grid = F.slice_axis(grid, 2, 0, size[1], self.factor)
        rows, columns = grid.shape[1:3]
        return super().construct(x, F.reshape(grid, (-1, rows * columns, channels)))


class TokenDownsampling:
    """Mixed into `UNet2DConditionModel`."""

    down_blocks: nn.CellList
    up_blocks: nn.CellList
    graphs: GraphCache

    def enable_token_downsampling(self, factor: int = 2, levels: Iterable[int] | None = None) -> None:
        """Let pixels attend to every ``factor``-th row and column only; at factor 1 nothing is left out.

        ``levels`` numbers the stages in which they do, 0 being the largest; by default it is the largest in which there
        is attention. It replaces what was asked for before.

        Raises:
            ValueError: a factor that is no whole number of at least 1, or levels in which there is no attention.
        """
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
            raise ValueError(f"factor must be a whole number of at least 1, got {factor!r}")
        places = {level: list(self._self_attentions(level)) for level in range(len(self.down_blocks))}
        attending = [level for level, blocks in places.items() if blocks]
        wanted = attending[:1] if levels is None else list(levels)
        for level in wanted:
            if level not in attending:
                known = ", ".join(str(each) for each in attending) or "none"
                raise ValueError(f"the UNet attends to pixels at the levels {known}, got level {level!r}")
        self.disable_token_downsampling()
        for block in (block for level in wanted if factor > 1 for block in places[level]):
            block.attn1 = DownsampledSelfAttention(block.attn1, factor)

    def disable_token_downsampling(self) -> None:
        """Let pixels attend to all others again."""
        for level in range(len(self.down_blocks)):
            for block in self._self_attentions(level):
                if isinstance(block.attn1, DownsampledSelfAttention):
                    flash, block.attn1 = block.attn1.flash, block.attn1.whole()
                    block.attn1.flash = flash
        self.graphs.clear()

    def _self_attentions(self, level: int) -> Iterator[TransformerBlock]:
        stages: list[Block] = [self.down_blocks[level], self.up_blocks[len(self.up_blocks) - 1 - level]]
        for stage in stages:
            for transformer in stage.attentions or ():
                yield from transformer.transformer_blocks
