"""Token downsampling (ToDo, Smith et al. 2024): at a denoiser's largest level pixels attend to only a few others.

Neighbouring pixels have similar keys and values there, so every second row and column is enough. The queries, and so
the result, keep all pixels; the weights and parameter names stay unchanged.
"""

from collections.abc import Callable, Iterable
from functools import partial

from .. import functional as F
from ..engines import Array
from ..models.base import Model
from ..models.cells import Cell
from ..models.layers import Attention
from ..models.wrapping import Wrapper, wrap


class DownsampledSelfAttention(Wrapper):
    """Wraps self-attention over pixels: uses keys and values of every ``factor``-th row and column.

    Nearest-neighbour downsampling, §3.2.
    """

    def __init__(self, inner: Cell, factor: int):
        super().__init__(inner)
        self.factor = factor

    def construct(self, x: Array, size: tuple[int, int]) -> Array:
        """``x`` (batch, height · width, channels) from an image of ``size`` (height, width)."""
        channels = x.shape[2]
        grid = F.reshape(x, (-1, size[0], size[1], channels))
        grid = F.slice_axis(grid, 1, 0, size[0], self.factor)
        grid = F.slice_axis(grid, 2, 0, size[1], self.factor)
        rows, columns = grid.shape[1:3]
        fewer = F.reshape(grid, (-1, rows * columns, channels))
        whole: Attention = self.bare
        keys, values = whole.to_k(fewer), whole.to_v(fewer)
        return whole.to_out[0](F.attention(whole.to_q(x), keys, values, whole.heads, False, whole.flash))


class TokenDownsampling:
    """The token downsampling of a network: ``network.put_on.of(TokenDownsampling)``."""

    def __init__(self, network: Model):
        self.network = network
        self._take_off: list[Callable[[], None]] = []

    def enable(self, factor: int = 2, levels: Iterable[int] | None = None) -> None:
        """Let pixels attend to only every ``factor``-th row and column; factor 1 skips nothing.

        ``levels`` lists the affected stages, 0 being the largest; by default the largest with attention. It replaces
        earlier settings.

        Raises:
            ValueError: the factor is no whole number of at least 1, or a level has no attention.
        """
        if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
            raise ValueError(f"factor must be a whole number of at least 1, got {factor!r}")
        places = self.network.self_attentions
        attending = list(places)
        if factor > 1 and not attending:
            raise ValueError(
                f"{type(self.network).__name__} has no self-attention over pixels to downsample; leave out "
                "token downsampling"
            )
        wanted = attending[:1] if levels is None else list(levels)
        for level in wanted:
            if level not in attending:
                known = ", ".join(str(each) for each in attending) or "none"
                raise ValueError(f"the denoiser has self-attention at the levels {known}, got level {level!r}")
        self.disable()
        for path in (path for level in wanted if factor > 1 for path in places[level]):
            self._take_off.append(wrap(self.network, path, partial(DownsampledSelfAttention, factor=factor)))

    def disable(self) -> None:
        """Let pixels attend to all other pixels again."""
        while self._take_off:
            self._take_off.pop()()
        self.network.graphs.clear()
