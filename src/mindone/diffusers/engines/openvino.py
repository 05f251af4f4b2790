"""The OpenVINO engine: a network is recorded once for its input shapes, compiled, and run on NumPy arrays."""

import functools
import threading
from contextlib import contextmanager
from typing import Any

import mindspore as ms
import numpy as np
import openvino as ov
from openvino import opset15 as ov_ops

from .. import engines
from ..utils.logging import get_logger
from ..utils.scratch import Scratch
from . import openvino_ops

logger = get_logger(__name__)


class OpenVINOEngine:
    """Runs networks on the CPU; native arrays are float32 NumPy arrays.

    A graph is kept on the model that it was recorded from, so it goes when the model goes.
    """

    name = "openvino"

    def run(self, model, *inputs: np.ndarray, method: str = "construct", **options: Any):
        """Run ``model.method(*inputs, **options)``, compiling it the first time that it meets these shapes.

        Array arguments are the graph's inputs; None, bool, int, float and str are fixed in it when it is recorded.
        """
        arrays: dict[Any, np.ndarray] = {i: _input(x) for i, x in enumerate(inputs)}
        arrays |= {name: _input(x) for name, x in options.items() if isinstance(x, np.ndarray)}
        fixed = {name: x for name, x in options.items() if name not in arrays and x is not None}
        shapes = tuple((name, x.shape, x.dtype.char) for name, x in arrays.items())
        key = (method, shapes, tuple(sorted(fixed.items())))
        if key not in model.graphs:
            model.graphs[key] = Graph(model, method, arrays, fixed)
        return model.graphs[key](arrays)

    def asarray(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x, np.float32)

    def numpy(self, x: np.ndarray) -> np.ndarray:
        return x

    def concat(self, arrays: list[np.ndarray], axis: int = 0) -> np.ndarray:
        return np.concatenate(arrays, axis)


class Graph:
    """One method of a model, compiled for one set of input shapes."""

    def __init__(self, model, method: str, arrays: dict[Any, np.ndarray], fixed: dict[str, Any]):
        inputs = {
            name: ov_ops.parameter(list(x.shape), ov.Type.i32 if x.dtype == np.int32 else ov.Type.f32)
            for name, x in arrays.items()
        }
        precision = "f32" if model.dtype == "float32" else half_precision()
        outputs, recording = _record(model, method, inputs, fixed, precision)
        self.single = not isinstance(outputs, tuple)
        results = [outputs] if self.single else list(outputs)
        self.host_inputs = [(_source_name(inputs, source), embed) for _, source, embed in recording.host_inputs]
        self.names = list(inputs)
        self.borrowed = recording.borrowed
        parameters = [*inputs.values(), *(node for node, _, _ in recording.host_inputs)]
        graph = ov.Model([_output(node) for node in results], parameters, model.__class__.__name__)
        with _releasing(model, recording.derived):
            self.request = _compile(graph, precision).create_infer_request()

    def __call__(self, arrays: dict[Any, np.ndarray]):
        values = [arrays[name] for name in self.names]
        values += [embed(arrays[name]) for name, embed in self.host_inputs]
        for index, value in enumerate(values):
            self.request.set_input_tensor(index, ov.Tensor(value, shared_memory=True))
        self.request.infer()
        outputs = tuple(t.data.copy() for t in self.request.output_tensors)
        return outputs[0] if self.single else outputs


@contextmanager
def _releasing(model, derived: Scratch):
    """Within this context the pages of mapped weights are given back again and again, and at its end.

    Packing reads each weight about once; without this all of them would stay resident beside their packed copy, because
    what is compiled keeps its graph, and that the constants.
    """
    done = threading.Event()

    def release():
        model.release_weights()
        derived.release()

    def keep_releasing():
        while not done.wait(0.1):
            release()

    thread = threading.Thread(target=keep_releasing, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        release()


def _source_name(inputs: dict[Any, Any], source) -> Any:
    for name, node in inputs.items():
        if node is source:
            return name
    raise ValueError("timestep_embedding takes an input of the network as it is, not something computed from one")


_recording = threading.Lock()


def _record(model, method: str, inputs: dict[Any, Any], fixed: dict[str, Any], precision: str):
    """Call the model's method with graph nodes. Returns its outputs, and what is known of the recording."""
    named = {name: node for name, node in inputs.items() if isinstance(name, str)}
    positional = [node for name, node in inputs.items() if not isinstance(name, str)]
    stored = {id(p): lambda name=name: model.stored(name) for name, p in model.parameters_and_names()}
    with _recording, _eagerly(), engines.recording(openvino_ops):
        openvino_ops.recording = recording = openvino_ops.Recording(stored, precision == "f32")
        try:
            outputs = getattr(model, method)(*positional, **named, **fixed)
        finally:
            openvino_ops.recording = None
    return outputs, recording


class _eagerly:
    """Within this context Cells are called as plain Python, also for users in Graph mode."""

    def __enter__(self):
        self.mode = ms.get_context("mode")
        if self.mode != ms.PYNATIVE_MODE:
            ms.set_context(mode=ms.PYNATIVE_MODE)

    def __exit__(self, *_):
        if self.mode != ms.PYNATIVE_MODE:
            ms.set_context(mode=self.mode)


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


@functools.cache
def half_precision() -> str:
    """What 16-bit models compute in on this CPU, in OpenVINO's words: its fastest 16-bit type, or f32."""
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    for capability, name in (("FP16", "f16"), ("BF16", "bf16")):
        if capability in capabilities:
            return name
    logger.warning("this CPU computes in no 16-bit type: models in half precision are kept so, but run in float32")
    return "f32"


def _compile(graph: ov.Model, precision: str):
    return _core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"})


def _output(node):
    return node if isinstance(node, ov.Output) else node.output(0)


def _input(x: np.ndarray) -> np.ndarray:
    kind = np.int32 if np.issubdtype(x.dtype, np.integer) else np.float32
    return np.ascontiguousarray(x, kind)
