"""Observes the ranges of the inputs of a network's products while it runs, for quantization."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import mindspore as ms
from openvino import opset15 as ov_ops

from ..base import Array, FreeAxes, Input, Network, Outputs, Parameter, Tapped, Taps, several
from ..binding import published_name
from ..operations import recorder_of_thread, recording
from ..operators import Operations
from .constants import Node, Operand
from .engine import OpenVINOEngine
from .operators import Operators

Range: TypeAlias = tuple[float, float]
_PRODUCTS = ("linear", "linear_halves", "conv2d", "conv2d_halves", "upsample_conv2d")
"""The operations that multiply with a weight."""


class Ranges(NamedTuple):
    """By published weight name: the minimum and maximum of its inputs over all calls so far, and those of its
    product."""

    inputs: dict[str, Range]
    results: dict[str, Range]


class ObservingEngine(OpenVINOEngine):
    """The OpenVINO engine, which also records the ranges of everything that some networks multiply with weights.

    The graph itself computes them, so no activation leaves it. Ranges of results are recorded for weights whose names
    pass ``wants_result``.

    Args:
        networks: the networks by any names. Their observing graphs are kept on them, as others are.
        methods: the method of each to observe, by the same names.
        wants_result: see above.
        in_half: the names of those that compute in half precision here, whatever they do elsewhere.
    """

    def __init__(
        self,
        networks: Mapping[str, Network],
        methods: Mapping[str, str],
        wants_result: Callable[[str], bool],
        in_half: Collection[str] = (),
    ):
        self.ranges = {name: Ranges({}, {}) for name in networks}
        self._observed = {
            (id(network), methods[name]): (
                _Observed(network, methods[name], wants_result, name in in_half),
                self.ranges[name],
            )
            for name, network in networks.items()
        }

    def run(
        self,
        network: Network,
        *inputs: Input,
        method: str = "construct",
        taps: Taps | None = None,
        values: tuple[Array, ...] = (),
        **options: Input,
    ) -> Outputs:
        """As the engine; a whole run of an observed method also widens the ranges."""
        if (id(network), method) not in self._observed or taps is not None:
            return super().run(network, *inputs, method=method, taps=taps, values=values, **options)
        observed, found = self._observed[id(network), method]
        named: Any = options
        *extremes, output = several(super().run(observed, *inputs, method=_Observed.observe.__name__, **named))
        for places, low, high in zip(observed.places, extremes[0::2], extremes[1::2], strict=True):
            for name, is_result in places:
                ranges = found.results if is_result else found.inputs
                before = ranges.get(name, (0.0, 0.0))
                ranges[name] = (min(before[0], float(self.numpy(low))), max(before[1], float(self.numpy(high))))
        return output

    def compile_ahead(self, network: Network, *inputs: Input, method: str = "construct", **options: Input) -> None:
        """As the engine, but does nothing for an observed method, which has another graph."""
        if (id(network), method) not in self._observed:
            named: Any = options
            super().compile_ahead(network, *inputs, method=method, **named)


class _Observed:
    """A network whose `observe` returns the minimum and maximum of everything that goes in or out of a product with
    weights, then the result of one of the network's methods.

    ``places`` list, for each of these, the products it belongs to: the weight's name, and whether it is the result or
    the input. What three layers read is observed once.
    """

    def __init__(self, network: Network, method: str, wants_result: Callable[[str], bool], in_half: bool):
        self.network, self.passes, self.graphs = network, network.passes, network.graphs
        self.dtype = "float16" if in_half and network.dtype == "float32" else network.dtype
        self.free_axes: FreeAxes = {"observe": network.free_axes.get(method, {})}
        self.exceeds_float16 = network.exceeds_float16
        self.places: list[list[tuple[str, bool]]] = []
        self._method, self._wants_result = method, wants_result

    def parameters_and_names(self) -> Iterable[tuple[str, Parameter]]:
        return self.network.parameters_and_names()

    def release_weights(self) -> None:
        self.network.release_weights()

    def tapped(self, taps: Taps) -> Tapped:
        return self.network.tapped(taps)

    def observe(self, *inputs: Node, **options: Input) -> tuple[Node, ...]:
        """See the class."""
        names = {id(parameter): published_name(parameter, path) for path, parameter in self.parameters_and_names()}
        inner = recorder_of_thread()
        assert isinstance(inner, Operators)
        watching = _Watching(inner, names, self._wants_result)
        with recording(cast(Operations, watching)):  # other attributes are the recorder's
            output = getattr(self.network, self._method)(*inputs, **options)
        places: dict[int, list[tuple[str, bool]]] = {}
        nodes = {id(x): x for x in watching.seen.values()}
        for place, x in watching.seen.items():
            places.setdefault(id(x), []).append(place)
        self.places = [places[each] for each in nodes]
        # The device works in the order of results: with these at the end it would keep everything until then.
        return (*(extreme for x in nodes.values() for extreme in _extremes(x, inner.ints)), output)


class _Watching:
    """Operations that record the input and output of each weight's product before they call the recorder."""

    def __init__(self, inner: Operators, names: dict[int, str], wants_result: Callable[[str], bool]):
        self._inner, self._names, self._wants_result = inner, names, wants_result
        self.seen: dict[tuple[str, bool], Node] = {}

    def __getattr__(self, name: str) -> object:
        operation = getattr(self._inner, name)
        return partial(self._noted, name, operation) if name in _PRODUCTS else operation

    def _noted(self, name: str, operation: Callable[..., Any], x: Node, weight: Operand, *rest: object) -> Any:
        y = operation(x, weight, *rest)
        if isinstance(weight, ms.Parameter):  # not a weight made from parameters' rows, whose product is never in int8
            published = self._names[id(weight)]
            self.seen[(published, False)] = x
            if name == "linear" and self._wants_result(published):
                self.seen[(published, True)] = y
        return y


def _extremes(x: Node, ints: Callable[[Iterable[int]], Node]) -> tuple[Node, Node]:
    axes = ints(range(len(x.shape)))
    return ov_ops.reduce_min(x, axes, False), ov_ops.reduce_max(x, axes, False)
