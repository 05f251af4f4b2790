"""Token downsampling (ToDo, Smith et al. 2024): at a UNet's largest level pixels attend to a few of the others.

Neighbouring pixels have much the same keys and values there, so every second row and column does for them. The queries,
and so the result, keep all pixels; the weights stay as they are, and so do the parameters' names.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from mindspore import nn

from ... import functional as F
from ...engines import Array
from ...engines.cache import GraphCache
from ...models.wrapping import PutOn, Wrapper, bare, cell_at, wrap
from .unet_blocks import Block, SelfAttention


class DownsampledSelfAttention(Wrapper):
    """Around a `SelfAttention`: keys and values of every ``factor``-th row and column (nearest-neighbour downsampling,
    §3.2)."""

    def __init__(self, inner: nn.Cell, factor: int):
        super().__init__(inner)
        self.factor = factor

    def construct(self, x: Array, size: tuple[int, int]) -> Array:
        """``x`` (batch, height · width, channels) of an image of ``size`` (height, width)."""
        channels = x.shape[2]
        grid = F.reshape(x, (-1, size[0], size[1], channels))
        grid = F.slice_axis(grid, 1, 0, size[0], self.factor)
        grid = F.slice_axis(grid, 2, 0, size[1], self.factor)
        rows, columns = grid.shape[1:3]
        fewer = F.reshape(grid, (-1, rows * columns, channels))
        whole: SelfAttention = self.bare
        keys, values = whole.to_k(fewer), whole.to_v(fewer)
        return whole.to_out[0](F.attention(whole.to_q(x), keys, values, whole.heads, False, whole.flash))


class _Downsampling:
    """What takes the token downsampling of a network off."""

    def __init__(self, network: object):
        self.take_off: list[Callable[[], None]] = []


class TokenDownsampling:
    """Mixed into `UNet2DConditionModel`."""

    down_blocks: nn.CellList
    up_blocks: nn.CellList
    graphs: GraphCache
    put_on: PutOn

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
        attending = [level for level, paths in places.items() if paths]
        wanted = attending[:1] if levels is None else list(levels)
        for level in wanted:
            if level not in attending:
                known = ", ".join(str(each) for each in attending) or "none"
                raise ValueError(f"the UNet attends to pixels at the levels {known}, got level {level!r}")
        self.disable_token_downsampling()
        for path in (path for level in wanted if factor > 1 for path in places[level]):
            taken = wrap(self, path, partial(DownsampledSelfAttention, factor=factor))
            self.put_on.of(_Downsampling).take_off.append(taken)

    def disable_token_downsampling(self) -> None:
        """Let pixels attend to all others again."""
        on = self.put_on.of(_Downsampling)
        for take_off in on.take_off:
            take_off()
        on.take_off.clear()
        self.graphs.clear()

    def _self_attentions(self, level: int) -> Iterator[str]:
        """Where the self-attentions of a level stand."""
        for path in (f"down_blocks.{level}", f"up_blocks.{len(self.up_blocks) - 1 - level}"):
            stage: Block = bare(cell_at(self, path))
            for i, transformer in enumerate(stage.attentions or ()):
                for j in range(len(transformer.transformer_blocks)):
                    yield f"{path}.attentions.{i}.transformer_blocks.{j}.attn1"
