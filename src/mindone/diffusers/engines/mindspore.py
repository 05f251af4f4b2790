"""The MindSpore engine: a network runs eagerly or, in Graph mode, as a graph that MindSpore compiles."""

from typing import Any

import mindspore as ms
import numpy as np

from . import mindspore_ops


class MindSporeEngine:
    """Runs networks with MindSpore's kernels; native arrays are ``ms.Tensor``.

    `asarray` makes float32 tensors, and a half-precision network's result widens as soon as it meets one, so what
    schedulers do between the networks is float32 arithmetic on the device.

    A compiled graph is kept on the model that it was made from, so it goes when the model goes.
    """

    name = "mindspore"

    def run(self, model, *inputs: np.ndarray | ms.Tensor, method: str = "construct", **options: Any):
        """Run ``model.method(*inputs, **options)``: eagerly, or compiled when MindSpore is in Graph mode.

        NumPy arrays become tensors (int32 or float32). Among the options None is as good as absent, and bool, int,
        float and str are constants of the graph. On a CPU the weights are float32, whatever they are stored in.
        """
        model.prepare(model.dtype if mindspore_ops.on_ascend() else "float32")
        arguments = [_input(x) for x in inputs]
        named = {name: _input(x) for name, x in options.items() if x is not None}
        if ms.get_context("mode") == ms.GRAPH_MODE:
            key = (self.name, method)
            if key not in model.graphs:
                model.graphs[key] = _compiled(model, method)
            return model.graphs[key](*arguments, **named)
        return getattr(model, method)(*arguments, **named)

    def asarray(self, x: np.ndarray) -> ms.Tensor:
        return _input(np.asarray(x, np.float32))

    def numpy(self, x: ms.Tensor) -> np.ndarray:
        return x.astype(ms.float32).asnumpy().copy()

    def concat(self, arrays: list[ms.Tensor], axis: int = 0) -> ms.Tensor:
        return mindspore_ops.concat(arrays, axis)


def _compiled(model, method: str):
    # The compiler wants every parameter to have a name of its own; those of cells appended to lists need not have.
    for name, parameter in model.parameters_and_names():
        parameter.name = name
    return ms.jit(getattr(model, method))


def _input(x):
    if not isinstance(x, np.ndarray):
        return x
    kind = np.int32 if np.issubdtype(x.dtype, np.integer) else np.float32
    return ms.Tensor(np.ascontiguousarray(x, kind))
