"""FreeU (Si et al. 2023, arXiv 2309.11497): a stronger backbone and weaker skip connections in the UNet.

In the two lowest stages on the way up, FreeU amplifies half of the channels from below and damps the lowest frequencies
of the skip connections (§3.3). It needs no training, and the weights stay unchanged.
"""

from collections.abc import Callable
from functools import partial

from ... import functional as F
from ...engines import Array
from ...models.base import Model
from ...models.cells import Cell
from ...models.wrapping import Wrapper, bare, wrap

_STAGES = 2


class FreeULayer(Wrapper):
    """Around a residual block on the way up."""

    def __init__(self, inner: Cell, amplified: float, damped: float):
        super().__init__(inner)
        self.amplified, self.damped = amplified, damped

    def construct(self, x: Array, skip: Array, time: Array) -> Array:
        """``x`` from below and its ``skip`` connection, (batch, channels, height, width) each."""
        channels = x.shape[1]
        first = F.affine(F.slice_axis(x, 1, 0, channels // 2), self.amplified)
        second = F.slice_axis(x, 1, channels // 2, channels)
        skip = F.add_lowest_frequencies(skip, self.damped - 1.0)
        return self.inner(F.concat((first, second), 1), skip, time)


class FreeU:
    """The FreeU of a UNet: ``unet.put_on.of(FreeU)``."""

    def __init__(self, unet: Model):
        self.unet = unet
        self._take_off: list[Callable[[], None]] = []

    def enable(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """Enable FreeU with these factors, replacing earlier ones.

        The paper's code suggests (0.9, 0.2, 1.5, 1.6) for Stable Diffusion 1, (0.9, 0.2, 1.4, 1.6) for 2 and
        (0.9, 0.2, 1.3, 1.4) for XL.

        Args:
            s1, s2: factors for the skip connections' slowest waves, in the lowest stage on the way up and in the one
                above it; below 1.
            b1, b2: factors for half of the channels from below in these stages; above 1.

        Raises:
            ValueError: a factor that is no number, or 0 or less.
        """
        for name, value in {"s1": s1, "s2": s2, "b1": b1, "b2": b2}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        self.disable()
        for number, (amplified, damped) in zip(range(min(_STAGES, len(self.unet.up_blocks))), ((b1, s1), (b2, s2))):
            make = partial(FreeULayer, amplified=amplified, damped=damped)
            for layer in range(len(bare(self.unet.up_blocks[number]).resnets)):
                self._take_off.append(wrap(self.unet, f"up_blocks.{number}.resnets.{layer}", make))

    def disable(self) -> None:
        """Disable FreeU."""
        while self._take_off:
            self._take_off.pop()()
        self.unet.graphs.clear()
