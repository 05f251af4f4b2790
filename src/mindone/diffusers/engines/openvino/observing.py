"""What goes into a network's products while it is used: ranges, for whoever quantises them."""

from collections.abc import Iterable
from typing import Any

import mindspore as ms
from openvino import opset15 as ov_ops

from ... import engines
from ..base import Array, Input, Network
from ..binding import published_name
from ..cache import GraphCache
from .constants import Node, ints
from .engine import OpenVINOEngine
from .operators import Operators


class ObservingEngine(OpenVINOEngine):
    """The OpenVINO engine, but it notes the ``ranges`` of all that ``network`` multiplies with weights.

    ``ranges`` holds for each weight, by its published name, the least and the greatest value of what it was multiplied
    with in any call so far. They are found inside the graph, so no activation ever leaves it.
    """

    def __init__(self, network: Network):
        self.network = network
        self.ranges: dict[str, tuple[float, float]] = {}
        self._observed = _Observed(network)

    def run(self, network: Network, *inputs: Input, method: str = "construct", **options: Input) -> Array:
        """As the engine does; with the observed network the ranges widen."""
        if network is not self.network:
            return super().run(network, *inputs, method=method, **options)
        outputs, lows, highs = self._observed.split(super().run(self._observed, *inputs, method=method, **options))
        for name, low, high in zip(self._observed.names, lows, highs):
            before = self.ranges.get(name, (0.0, 0.0))
            self.ranges[name] = (min(before[0], float(low)), max(before[1], float(high)))
        return outputs


class _Observed:
    """A network whose ``construct`` also returns, after its own result, the extremes of every product's input."""

    def __init__(self, network: Network):
        self.network, self.dtype, self.passes = network, network.dtype, network.passes
        self.graphs = GraphCache()
        self.names: list[str] = []

    def parameters_and_names(self) -> Iterable[tuple[str, Any]]:
        return self.network.parameters_and_names()

    def release_weights(self) -> None:
        self.network.release_weights()

    def construct(self, *inputs: Array, **options: Array) -> tuple[Array, ...]:
        network: Any = self.network
        watching = _Watching(engines.ops)
        with engines.recording(watching):
            output = network.construct(*inputs, **options)
        paths = {id(parameter): path for path, parameter in self.parameters_and_names()}
        self.names = [published_name(weight, paths[key]) for key, (weight, _, _) in watching.seen.items()]
        seen = watching.seen.values()
        return (output, *(low for _, low, _ in seen), *(high for _, _, high in seen))

    def split(self, outputs: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:
        """The network's result, all lows, all highs."""
        count = len(self.names)
        return outputs[0], outputs[1 : 1 + count], outputs[1 + count :]


class _Watching:
    """Operations that note what each weight is multiplied with before they hand over to the recorder in charge."""

    def __init__(self, inner: Operators):
        self._inner = inner
        self.seen: dict[int, tuple[ms.Parameter, Node, Node]] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def _note(self, x: Array, weight: ms.Parameter) -> None:
        axes = ints(range(len(x.shape)))
        self.seen[id(weight)] = (weight, ov_ops.reduce_min(x, axes, False), ov_ops.reduce_max(x, axes, False))

    def linear(self, x: Array, weight: ms.Parameter, bias: Array = None) -> Node:
        self._note(x, weight)
        return self._inner.linear(x, weight, bias)

    def geglu(self, x: Array, weight: ms.Parameter, bias: Array) -> Node:
        self._note(x, weight)
        return self._inner.geglu(x, weight, bias)

    def conv2d(
        self,
        x: Array,
        weight: ms.Parameter,
        bias: Array = None,
        stride: int = 1,
        padding: int | tuple[int, int, int, int] = 0,
    ) -> Node:
        self._note(x, weight)
        return self._inner.conv2d(x, weight, bias, stride, padding)

    def upsample_conv2d(self, x: Array, weight: ms.Parameter, bias: Array = None) -> Node:
        self._note(x, weight)
        return self._inner.upsample_conv2d(x, weight, bias)
