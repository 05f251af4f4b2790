"""One method of a network for one set of input shapes: recorded, changed by passes, compiled, and run."""

import threading
import weakref
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ov_ops

from ..base import Input, Network, Outputs, Taps, Values
from ..operations import recording
from .compiling import compile_graph, precision_of, repeating
from .constants import Node
from .operators import Operators, finished

InputName: TypeAlias = tuple[int | str, int | None]
"""An argument's position or name, and the index in it if the argument is a tuple of arrays."""

VALUES = "values"
"""The argument with the arrays that replace the taps' values; the network itself does not get it."""


class Graph:
    """Record → passes → compile; then a function of arrays that threads call in turn."""

    def __init__(
        self,
        network: Network,
        method: str,
        arrays: Mapping[InputName, NDArray[np.generic]],
        shapes: Mapping[InputName, tuple[int, ...]],
        fixed: Mapping[str, Input],
        taps: Taps | None = None,
    ):
        precision = precision_of(network.dtype, network.exceeds_float16)
        recorder = Operators(precision)
        nodes = {name: ov_ops.parameter(list(shapes[name]), _kind(x)) for name, x in arrays.items()}
        owner = weakref.ref(network)  # which keeps this graph

        def release() -> None:
            if (alive := owner()) is not None:
                alive.release_weights()
            recorder.constants.scratch.release()

        # Weights are checked while recording, and packed while compiling or, as for products of any length, at the
        # first call. Each is read about once, and without this all would stay in memory next to their packed copies,
        # because a compiled graph keeps the recorded one, and that keeps the constants.
        with repeating(release):
            outputs = _record(recorder, network, method, nodes, fixed, taps)
            self._single = not isinstance(outputs, tuple)
            results = outputs if isinstance(outputs, tuple) else (outputs,)
            graph = finished(results, recorder, list(nodes.values()), type(network).__name__)
            for change in network.passes:
                change(graph, recorder)
            self._request = compile_graph(graph, precision, recorder.kept).create_infer_request()
        self._at_first: AbstractContextManager[None] = repeating(release)
        self._constants = recorder.constants  # the compiled graph reads their memory
        self._names = list(nodes)
        self._host_inputs = [(_source(nodes, host.source), host.compute) for host in recorder.host_inputs]
        self._adjustables = [values for _, values in recorder.adjustables]
        self._lock = threading.Lock()

    def __call__(self, arrays: Mapping[InputName, NDArray[np.generic]]) -> Outputs:
        values = [arrays[name] for name in self._names]
        values += [compute(arrays[name].astype(np.float32, copy=False)) for name, compute in self._host_inputs]
        values += [np.ascontiguousarray(stored.numpy(np.float32)) for stored in self._adjustables]
        with self._lock:
            for index, value in enumerate(values):
                self._request.set_input_tensor(index, ov.Tensor(value, shared_memory=True))
            around, self._at_first = self._at_first, nullcontext()
            with around:
                self._request.infer()
            outputs: tuple[Values, ...] = tuple(tensor.data.copy() for tensor in self._request.output_tensors)
        return outputs[0] if self._single else outputs

    def rest(self) -> None:
        """Free the memory of intermediate results until the next call."""
        with self._lock:
            self._request.get_compiled_model().release_memory()

    def executed(self) -> Counter[tuple[str, str]]:
        """The number of layers of each type that the device runs in each precision, in OpenVINO's terms."""
        nodes = self._request.get_compiled_model().get_runtime_model().get_ordered_ops()
        infos = [node.get_rt_info() for node in nodes]
        return Counter((str(info["layerType"].value), str(info["runtimePrecision"].value)) for info in infos)


def _record(
    recorder: Operators,
    network: Network,
    method: str,
    nodes: Mapping[InputName, Node],
    fixed: Mapping[str, Input],
    taps: Taps | None,
) -> Outputs:
    """Call the network's method with graph nodes."""
    arguments: dict[int | str, Node | tuple[Node, ...]] = {}
    for (name, place), node in nodes.items():
        if place is None:
            arguments[name] = node
        else:
            arguments[name] = (*arguments.get(name, ()), node)
    values = arguments.pop(VALUES, ())
    positional = [arguments[name] for name in arguments if isinstance(name, int)]
    named = {**{name: value for name, value in arguments.items() if isinstance(name, str)}, **fixed}
    with recording(recorder):
        if taps is not None:
            return network.tapped(taps)(method, values, positional, named)
        outputs: Outputs = getattr(network, method)(*positional, **named)
        return outputs


def _kind(x: NDArray[np.generic]) -> ov.Type:
    return ov.Type.i32 if x.dtype == np.int32 else ov.Type.f32


def _source(nodes: Mapping[InputName, Node], source: Node) -> InputName:
    for name, node in nodes.items():
        if node is source:
            return name
    raise ValueError("timestep_embedding takes an input of the network directly, not a value computed from one")
