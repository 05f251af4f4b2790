"""The OpenVINO engine: finds or makes the graph for a call's shapes."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base import Array, Input, Network, Outputs, Taps, Values, is_constant, network_key
from .graph import VALUES, Graph, InputName


class OpenVINOEngine:
    """Runs networks on the CPU; native arrays are float32 NumPy arrays.

    The network keeps its graphs, so they are freed with it.
    """

    name = "openvino"
    compiles_any_length = True

    def run(
        self,
        network: Network,
        *inputs: Input,
        method: str = "construct",
        taps: Taps | None = None,
        values: tuple[Array, ...] = (),
        **options: Input,
    ) -> Outputs:
        """Run ``network.method(*inputs, **options)``, compiling it the first time for these shapes.

        Arrays and tuples of arrays are the graph's inputs; bool, int, float, str and tuples of int are fixed when it is
        recorded. Calls of one graph wait for each other; different graphs run in parallel.
        """
        arrays, fixed = _arranged(inputs, options)
        arrays |= {(VALUES, i): _input(value) for i, value in enumerate(values)}
        shapes = _shapes(network, method, arrays)
        key = (*network_key(self.name, method, arrays, shapes, fixed), taps)
        graph = network.graphs.get(key, lambda: Graph(network, method, arrays, shapes, fixed, taps))
        return graph(arrays)

    def compile_ahead(self, network: Network, *inputs: Input, method: str = "construct", **options: Input) -> None:
        """Record and compile the graph that `run` would use in a thread, if it does not exist."""
        arrays, fixed = _arranged(inputs, options)
        shapes = _shapes(network, method, arrays)
        key = (*network_key(self.name, method, arrays, shapes, fixed), None)
        network.graphs.make_ahead(key, lambda: Graph(network, method, arrays, shapes, fixed))

    def asarray(self, x: ArrayLike) -> NDArray[np.float32]:
        """A contiguous float32 array, also from a MindSpore tensor."""
        return np.ascontiguousarray(_values(x), np.float32)

    def numpy(self, x: Array) -> NDArray[np.float32]:
        """The array itself."""
        return _values(x)

    def concat(self, arrays: Sequence[Array], axis: int = 0) -> NDArray[np.float32]:
        """Arrays concatenated along ``axis``."""
        return np.concatenate([_values(x) for x in arrays], axis)


def _arranged(
    inputs: Sequence[Input], options: Mapping[str, Input]
) -> tuple[dict[InputName, NDArray[np.generic]], dict[str, Input]]:
    """Split a call's arguments into arrays, the graph's inputs, and constants."""
    arrays: dict[InputName, NDArray[np.generic]] = {}
    fixed: dict[str, Input] = {}
    arguments: list[tuple[int | str, Input]] = [*enumerate(inputs), *options.items()]
    for name, value in arguments:
        if _is_array(value):
            arrays[(name, None)] = _input(value)
        elif isinstance(value, tuple) and not is_constant(value):
            arrays |= {(name, i): _input(part) for i, part in enumerate(value)}
        elif value is not None:
            fixed[str(name)] = value
    return arrays, fixed


def _shapes(
    network: Network, method: str, arrays: Mapping[InputName, NDArray[np.generic]]
) -> dict[InputName, tuple[int, ...]]:
    """The shapes for recording a graph, with -1 along the network's free axes."""
    free = network.free_axes.get(method, {})
    return {
        (name, place): tuple(-1 if axis in free.get(name, ()) else size for axis, size in enumerate(x.shape))
        for (name, place), x in arrays.items()
    }


def _is_array(x: Input) -> TypeGuard[Array]:
    return isinstance(x, np.ndarray) or hasattr(x, "asnumpy")


def _input(x: Array) -> NDArray[np.generic]:
    values = _values(x)
    kind = np.int32 if np.issubdtype(values.dtype, np.integer) else np.float32
    return np.ascontiguousarray(values, kind)


def _values(x: object) -> Values:
    """A NumPy array from an array or a MindSpore tensor."""
    return np.asarray(x.asnumpy() if hasattr(x, "asnumpy") else x)
