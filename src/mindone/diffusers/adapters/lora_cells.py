"""Cells that replace a network's layers and add a low-rank update to their outputs.

Most layers are wrapped directly. In two places, the feed-forward's gated layer and the upsampler, the weight is not
read through the layer that holds it; there the cell around that layer is wrapped.
"""

from collections.abc import Callable
from typing import Any

import mindspore as ms
from mindspore import nn

from .. import functional as F
from ..engines import Array
from ..engines.base import Stored
from ..engines.binding import bind, put_on
from ..families.stable_diffusion.unet_blocks import GatedLinear
from ..models.cells import Cell
from ..models.layers import Conv2d, HalvedConv2d, Linear, Upsample, parameter
from ..models.wrapping import Wrapper, bare, cell_at, wrap
from .lora_matrices import LayerUpdate


class LoraCell(Wrapper):
    """``inner`` with an update of the weight that it holds; the two matrices are bound from outside."""

    def __init__(self, inner: Cell, update: LayerUpdate):
        super().__init__(inner)
        self.down, self.up = _matrix(update.down), _matrix(update.up)


class LoraLinear(LoraCell):
    """Around `models.layers.Linear`."""

    def construct(self, x: Array) -> Array:
        return self.inner(x) + F.linear(F.linear(x, self.down), self.up)


class LoraGatedLinear(LoraCell):
    """Around `GatedLinear`, whose two halves are gated after the update."""

    def construct(self, x: Array) -> Array:
        a, b = F.linear_halves(x, self.bare.proj.weight, self.bare.proj.bias)
        to_a, to_b = F.linear_halves(F.linear(x, self.down), self.up)
        return (a + to_a) * F.gelu(b + to_b)


class LoraConv2d(LoraCell):
    """Around `models.layers.Conv2d`: a convolution to a few channels, and a 1×1 convolution back (LoCon)."""

    def construct(self, x: Array) -> Array:
        few = F.conv2d(x, self.down, None, self.bare.stride, self.bare.padding)
        return F.add(self.inner(x), F.conv2d(few, self.up))


class LoraHalvedConv2d(LoraCell):
    """Around `models.layers.HalvedConv2d`."""

    def construct(self, x: Array) -> tuple[Array, Array]:
        halves: Any = self.inner
        a, b = halves(x)
        to_a, to_b = F.conv2d_halves(F.conv2d(x, self.down), self.up)
        return F.add(a, to_a), F.add(b, to_b)


class LoraUpsample(LoraCell):
    """Around `models.layers.Upsample`."""

    def construct(self, x: Array, size: tuple[int, int]) -> Array:
        few = F.conv2d(F.interpolate_nearest(x, size), self.down, None, 1, 1)
        return F.add(self.inner(x, size), F.conv2d(few, self.up))


_KINDS: dict[type[nn.Cell], type[LoraCell]] = {
    Linear: LoraLinear,
    Conv2d: LoraConv2d,
    HalvedConv2d: LoraHalvedConv2d,
    GatedLinear: LoraGatedLinear,
    Upsample: LoraUpsample,
}


def put_around(network: nn.Cell, module: str, update: LayerUpdate) -> Callable[[], None]:
    """Wrap the layer that stands at ``module`` now (``down_blocks.0.….to_q``); returns a function that unwraps it.

    Raises:
        ValueError: this kind of layer takes no low-rank update.
    """
    above = module.rpartition(".")[0]
    path = above if above and isinstance(bare(cell_at(network, above)), (GatedLinear, Upsample)) else module
    layer = bare(cell_at(network, path))
    kind = type(layer)
    if getattr(layer, "groups", 1) > 1:
        raise ValueError(f"{module} is a grouped convolution and takes no LoRA; linear layers and convolutions do")
    if kind not in _KINDS:
        raise ValueError(f"{module} is a {kind.__name__}, which takes no LoRA; linear layers and convolutions do")
    return wrap(network, path, lambda inner: _KINDS[kind](inner, update))


def _matrix(values: Stored) -> ms.Parameter:
    matrix = parameter(*values.shape)
    put_on(matrix)
    bind(matrix, values)
    return matrix
