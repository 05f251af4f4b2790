"""FreeU (Si et al. 2023, arXiv 2309.11497): a stronger backbone and weaker skip connections in the UNet.

In the two lowest stages on the way up, half of the channels that come from below are amplified, and the lowest
frequencies of the skip connections are damped (§3.3). Nothing is trained; the weights stay as they are.
"""

from collections.abc import Sequence

from mindspore import nn

from ... import functional as F
from ...engines import Array
from ...engines.cache import GraphCache
from .unet_blocks import Block

_STAGES = 2


class FreeUBlock(Block):
    """Stands in the place of a `Block` on the way up, with its weights."""

    def __init__(self, whole: Block, backbone: Sequence[int], amplified: float, damped: float):
        """``backbone``: for each layer, how many of its channels come from below; the skip connection's follow them."""
        nn.Cell.__init__(self)
        self.layers, self.attentions, self.resnets = whole.layers, whole.attentions, whole.resnets
        self.downsamplers, self.upsamplers = whole.downsamplers, whole.upsamplers
        self.backbone, self.amplified, self.damped = tuple(backbone), amplified, damped
        self.whole = lambda: whole  # a cell of its own here would give its parameters a second name

    def construct(self, x: Array, time: Array, context: Array, layer: int) -> Array:
        below, channels = self.backbone[layer], x.shape[1]
        first = F.affine(F.slice_axis(x, 1, 0, below // 2), self.amplified)
        second = F.slice_axis(x, 1, below // 2, below)
        skip = F.add_lowest_frequencies(F.slice_axis(x, 1, below, channels), self.damped - 1.0)
        return super().construct(F.concat((first, second, skip), 1), time, context, layer)


class FreeU:
    """Mixed into `UNet2DConditionModel`."""

    up_blocks: nn.CellList
    skip_channels: list[int]
    graphs: GraphCache

    def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
        """Use FreeU with these factors from now on, instead of earlier ones.

        The paper's code suggests (0.9, 0.2, 1.5, 1.6) for Stable Diffusion 1, (0.9, 0.2, 1.4, 1.6) for 2 and
        (0.9, 0.2, 1.3, 1.4) for XL.

        Args:
            s1, s2: what the skip connections' slowest waves are multiplied by, in the lowest stage on the way up and
                in the one above it; below 1.
            b1, b2: what half of the channels from below are multiplied by in these stages; above 1.

        Raises:
            ValueError: a factor that is no number, or 0 or less.
        """
        for name, value in {"s1": s1, "s2": s2, "b1": b1, "b2": b2}.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number above 0, got {value!r}")
        self.disable_freeu()
        skips = list(self.skip_channels)
        for number, factors in zip(range(min(_STAGES, len(self.up_blocks))), ((b1, s1), (b2, s2))):
            block: Block = self.up_blocks[number]
            ins = [resnet.conv1.weight.shape[1] for resnet in block.resnets]
            self.up_blocks[number] = FreeUBlock(block, [channels - skips.pop() for channels in ins], *factors)

    def disable_freeu(self) -> None:
        """Go without it again."""
        for number, block in enumerate(self.up_blocks):
            if isinstance(block, FreeUBlock):
                self.up_blocks[number] = block.whole()
        self.graphs.clear()
