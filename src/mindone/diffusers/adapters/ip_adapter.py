"""The IP-Adapters of a network: attention to pictures alongside the text (Ye et al. 2023, §3.2.2).

A cell wraps each attention to the text. Its input arrives in place of the text: the network gets a tuple, ``(text,
scales, tokens of the first adapter, of the second, …)``, and passes it on untouched. So the network's own blocks know
nothing about pictures, and a scale is a number passed in: changing it compiles nothing again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from .. import functional as F
from ..engines import Array
from ..engines.binding import bind, put_on
from ..loading.safetensors import StoredTensor
from ..loading.weights import Weights
from ..models.base import Model
from ..models.cells import Cell, CellList
from ..models.image_projection import ImageProjection, IPAdapterPlusImageProjection
from ..models.layers import Attention, Linear
from ..models.wrapping import Wrapper, wrap
from .ip_adapter_files import IPAdapter

_PROJECTIONS: Mapping[str, type[Model]] = {"plain": ImageProjection, "plus": IPAdapterPlusImageProjection}


class PictureAttention(Wrapper):
    """Around an `Attention` to the text: the same queries also attend to each adapter's tokens (eq. 5).

    Args:
        inner: the attention to the text, which stays as it is.
        number: its place among the network's attentions, and of its scales.
        keys, values: each adapter's, in the shape of the attention's own.
    """

    def __init__(self, inner: Cell, number: int, keys: Sequence[StoredTensor], values: Sequence[StoredTensor]):
        super().__init__(inner)
        self.number = number
        self.to_k_ip = CellList([_linear(tensor) for tensor in keys])
        self.to_v_ip = CellList([_linear(tensor) for tensor in values])

    def construct(self, x: Array, context: tuple[Array, ...]) -> Array:
        """``x`` (b, pixels, channels), ``context`` as this module says."""
        inner: Attention = self.bare
        text, scales, tokens = context[0], context[1], context[2:]
        query = inner.to_q(x)
        mixed = F.attention(query, inner.to_k(text), inner.to_v(text), inner.heads, False, inner.flash)
        for i in range(len(tokens)):
            key, value = self.to_k_ip[i](tokens[i]), self.to_v_ip[i](tokens[i])
            scale = F.slice_axis(F.slice_axis(scales, 0, i, i + 1), 1, self.number, self.number + 1)
            seen = F.attention(query, key, value, inner.heads, False, inner.flash)
            mixed = mixed + seen * F.reshape(scale, (1, 1, 1))
        return inner.to_out[0](mixed)


class NetworkIPAdapters:
    """The IP-Adapters of ``network``; pipelines that share the network share this."""

    def __init__(self, network: Model):
        self.network = network
        self.loaded: tuple[IPAdapter, ...] = ()
        self.projections: tuple[Model, ...] = ()
        """For each adapter the network that turns a picture's vectors into tokens."""
        self.scales = np.zeros((0, 0), np.float32)
        """How much each adapter counts in each attention to the text, (adapters, attentions)."""
        self._take_off: list[Callable[[], None]] = []

    def load(self, adapters: Sequence[IPAdapter], attentions: Sequence[str]) -> None:
        """Put these adapters on, each with scale 1, in place of the present ones.

        Args:
            adapters: the adapters to put on.
            attentions: the network's attentions to the text.
        """
        projections = tuple(_projection(each, self.network.dtype) for each in adapters)  # which may refuse its tensors
        self.unload()
        for number, layer in enumerate(attentions):
            keys, values = ([each.attention[f"{layer}.to_{x}_ip.weight"] for each in adapters] for x in "kv")
            self._take_off.append(
                wrap(self.network, layer, partial(PictureAttention, number=number, keys=keys, values=values))
            )
        self.loaded = tuple(adapters)
        self.projections = projections
        self.scales = np.ones((len(adapters), len(attentions)), np.float32)
        self.network.graphs.clear()

    def unload(self) -> None:
        """Take all adapters off."""
        if not self.loaded:
            return
        for take_off in self._take_off:
            take_off()
        self._take_off.clear()
        self.loaded = self.projections = ()
        self.network.graphs.clear()


def context(text: Array, scales: Array, tokens: Sequence[Array]) -> tuple[Array, ...]:
    """What a network with adapters takes in place of ``text``; ``tokens`` have the same number of rows."""
    return (text, scales, *tokens)


def _projection(adapter: IPAdapter, dtype: str) -> Model:
    network = _PROJECTIONS[adapter.kind].from_config(adapter.config)
    network.load(Weights(adapter.projection), dtype)
    return network


def _linear(weight: StoredTensor) -> Linear:
    out_channels, in_channels = weight.shape
    cell = Linear(in_channels, out_channels, bias=False)
    put_on(cell.weight)
    bind(cell.weight, weight)
    return cell
