"""The operations of `functional` as a recorder: each call adds nodes to an OpenVINO graph.

A network called with graph nodes instead of tensors records itself; `Recording` holds what its calls need to know. All
arithmetic is recorded in float32: the precision that the device computes in is chosen when the graph is compiled.
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as ov_ops
from openvino._offline_transformations import compress_model_transformation

from ..utils.scratch import Scratch
from . import winograd

Node = Any  # openvino.Node and openvino.Output behave alike here


@dataclass
class Recording:
    """What is known while a network is recorded.

    ``stored`` maps ``id(parameter)`` to a function that gives its values as the checkpoint holds them.
    ``float32`` says that the device will compute in that precision.
    ``derived`` holds the weights that are computed while recording. ``borrowed`` are the arrays whose memory constants
    share without keeping it: whoever keeps the graph keeps them.
    ``host_inputs`` collects the graph inputs that are computed from another input, outside the graph.
    """

    stored: Mapping[int, Callable[[], Any]]
    float32: bool
    derived: Scratch = field(default_factory=Scratch)
    borrowed: list[np.ndarray] = field(default_factory=list)
    host_inputs: list[tuple[Node, Node, Callable[[np.ndarray], np.ndarray]]] = field(default_factory=list)
    constants: dict[tuple[int, int, int], Node] = field(default_factory=dict)

    def constant(self, parameter, part: int = 0, parts: int = 1) -> Node:
        """The parameter, or one of equal parts of its rows, as a float32 node; made once however often it is used."""
        key = (id(parameter), part, parts)
        if key not in self.constants:
            self.constants[key] = _as_float32(_constant(self.stored[id(parameter)](), part, parts))
        return self.constants[key]


_TYPES = {"F16": (np.uint16, ov.Type.f16), "BF16": (np.uint16, ov.Type.bf16), "F32": (np.float32, ov.Type.f32)}


def _constant(stored, part: int, parts: int) -> Node:
    """A part of the rows of a stored tensor as a constant that shares its memory."""
    if stored.dtype not in _TYPES:
        return _constant(stored.cast("float32"), part, parts)
    element, kind = _TYPES[stored.dtype]
    values = stored.data.view(element)
    size = values.size // parts
    shape = [stored.shape[0] // parts, *stored.shape[1:]]
    return _sharing(values[part * size : (part + 1) * size], shape, kind)


def _sharing(values: np.ndarray, shape: list[int], kind: ov.Type) -> Node:
    """A constant in the memory of ``values``."""
    assert recording is not None
    recording.borrowed.append(values)
    return ov.op.Constant(ov.Tensor(values, shape, kind), shared_memory=True)


recording: Recording | None = None
"""Set by the engine for as long as a network is being recorded."""


def _weight(parameter, part: int = 0, parts: int = 1) -> Node:
    assert recording is not None, "a network is recorded by OpenVINOEngine, not by calling the operations"
    return recording.constant(parameter, part, parts)


def _values(parameter) -> np.ndarray:
    """The parameter's values in float32, to compute with while recording."""
    assert recording is not None
    return recording.stored[id(parameter)]().numpy(np.float32)


def _derived(values: np.ndarray) -> list[Node]:
    """Weights that were computed while recording, float32, as one constant for each index of the first axis."""
    assert recording is not None
    values = recording.derived.keep(values)
    return [_sharing(part.reshape(-1), list(part.shape), ov.Type.f32) for part in values]


def _as_float32(constant: Node) -> Node:
    if constant.get_element_type() == ov.Type.f32:
        return constant
    widened = ov_ops.convert(constant, "f32")
    for name, mark in _decompression().items():
        widened.set_rt_info(mark, name)
    return widened


@functools.cache
def _decompression() -> dict[str, Any]:
    """The mark of a conversion that only unpacks a 16-bit constant.

    Without it OpenVINO unpacks every weight to float32 before it packs it for the device: three times the memory and
    the time. Python cannot make the mark, so it is taken from a conversion that OpenVINO itself has put in.
    """
    x = ov_ops.parameter([1, 2], ov.Type.f32)
    product = ov_ops.matmul(x, ov_ops.constant(np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)), False, True)
    graph = ov.Model([product.output(0)], [x])
    compress_model_transformation(graph)
    (conversion,) = (node for node in graph.get_ops() if node.get_type_name() == "Convert")
    return dict(conversion.get_rt_info().items())


def _ints(values: Iterable[int]) -> Node:
    return ov_ops.constant(np.array(list(values), np.int64))


def _scalar(value: float) -> Node:
    return ov_ops.constant(np.float32(value))


def _along_channels(vector: Node, rank: int) -> Node:
    """(c,) as (1, c, 1, 1), so that it broadcasts over an image."""
    return ov_ops.unsqueeze(vector, _ints([0, *range(2, rank)]))


# ---- layers ----------------------------------------------------------------------------------------------------------


def linear(x, weight, bias=None):
    y = ov_ops.matmul(x, _weight(weight), False, True)
    return y if bias is None else ov_ops.add(y, _weight(bias))


def geglu(x, weight, bias):
    # Two products, not one and a split: the device splits tensors slowly, and weights for free.
    a, b = (ov_ops.add(ov_ops.matmul(x, _weight(weight, i, 2), False, True), _weight(bias, i, 2)) for i in range(2))
    return ov_ops.multiply(a, gelu(b))


def conv2d(x, weight, bias=None, stride=1, padding=0):
    assert recording is not None
    shift = None if bias is None else _along_channels(_weight(bias), 4)
    if recording.float32 and stride == padding == 1 and winograd.pays(tuple(x.shape), weight.shape):
        return winograd.convolution(x, _derived(winograd.transformed(_values(weight))), shift)
    top, bottom, left, right = (padding,) * 4 if isinstance(padding, int) else padding
    y = ov_ops.convolution(x, _weight(weight), [stride, stride], [top, left], [bottom, right], [1, 1])
    return y if shift is None else ov_ops.add(y, shift)


def upsample_conv2d(x, weight, bias=None):
    # The 3×3 doubled pixels that an output sees are copies of 2×2 pixels of `x`, in one of four ways: whether its row
    # and its column are even or odd. So the outputs of each way are a 2×2 convolution of `x` itself, with sums of
    # the weights: 16 products for four outputs instead of 36.
    kernel, ways = _values(weight), [(row, column) for row in range(2) for column in range(2)]
    kernels = _derived(np.stack([_phase(_phase(kernel, 2, row), 3, column) for row, column in ways]))
    shift = None if bias is None else _along_channels(_weight(bias), 4)
    phases = []
    for (row, column), taps in zip(ways, kernels):
        y = ov_ops.convolution(x, taps, [1, 1], [1 - row, 1 - column], [row, column], [1, 1])
        phases.append(y if shift is None else ov_ops.add(y, shift))
    return ov_ops.depth_to_space(ov_ops.concat(phases, 1), "blocks_first", 2)


def _phase(kernel: np.ndarray, axis: int, phase: int) -> np.ndarray:
    """Three taps on doubled pixels as two on the pixels, for even (0) or odd (1) positions of the output."""
    first, middle, last = np.moveaxis(kernel, axis, 0)
    return np.stack((first, middle + last) if phase == 0 else (first + middle, last), axis)


def embedding(ids, weight):
    return ov_ops.gather(_weight(weight), ids, _ints([0]))


def group_norm(x, groups, weight, bias, eps):
    return ov_ops.group_normalization(x, _weight(weight), _weight(bias), groups, eps)


def layer_norm(x, weight, bias, eps):
    y = ov_ops.mvn(x, _ints([-1]), True, eps, "inside_sqrt")
    return ov_ops.add(ov_ops.multiply(y, _weight(weight)), _weight(bias))


def attention(query, key, value, heads, causal=False, flash=None):
    batch, queries, channels = query.shape
    size = channels // heads

    def split(x, axes):
        return transpose(reshape(x, (batch, -1, heads, size)), axes)

    # The queries are scaled, not the far more numerous scores.
    query = ov_ops.multiply(query, _scalar(1 / math.sqrt(size)))
    scores = ov_ops.matmul(split(query, (0, 2, 1, 3)), split(key, (0, 2, 3, 1)), False, False)
    if causal:
        hidden = np.triu(np.full((queries, key.shape[1]), np.finfo(np.float32).min, np.float32), k=1)
        scores = ov_ops.add(scores, ov_ops.constant(hidden))
    mixed = ov_ops.matmul(ov_ops.softmax(scores, -1), split(value, (0, 2, 1, 3)), False, False)
    return reshape(transpose(mixed, (0, 2, 1, 3)), (batch, queries, channels))


def timestep_embedding(values, channels, flip_sin_to_cos, downscale_freq_shift, max_period=10000.0):
    # Computed outside the graph: in bfloat16 the angles would be off by whole radians.
    assert recording is not None
    half = channels // 2
    frequencies = np.exp(-math.log(max_period) * np.arange(half) / (half - downscale_freq_shift))

    def embed(values: np.ndarray) -> np.ndarray:
        angles = values.astype(np.float64)[..., None] * frequencies
        parts = [np.cos(angles), np.sin(angles)] if flip_sin_to_cos else [np.sin(angles), np.cos(angles)]
        padding = [np.zeros((*values.shape, 1))] if channels % 2 else []
        return np.concatenate([*parts, *padding], axis=-1).astype(np.float32)

    embedded = ov_ops.parameter([*values.shape, channels], ov.Type.f32)
    recording.host_inputs.append((embedded, values, embed))
    return embedded


# ---- element by element ----------------------------------------------------------------------------------------------


def silu(x):
    return ov_ops.swish(x)


def gelu(x):
    return ov_ops.gelu(x, "erf")


def quick_gelu(x):
    return ov_ops.swish(x, _scalar(1.702))


def relu(x):
    return ov_ops.relu(x)


def tanh(x):
    return ov_ops.tanh(x)


def affine(x, scale, shift=0.0):
    y = ov_ops.multiply(x, _scalar(scale))
    return ov_ops.add(y, _scalar(shift)) if shift else y


# ---- shapes ----------------------------------------------------------------------------------------------------------


def reshape(x, shape):
    return ov_ops.reshape(x, _ints(shape), False)


def transpose(x, axes):
    return ov_ops.transpose(x, _ints(axes))


def concat(tensors, axis):
    return ov_ops.concat(list(tensors), axis)


def select(x, index, axis):
    return ov_ops.gather(x, ov_ops.constant(np.int64(index)), _ints([axis]))


def first_rows(weight, rows):
    rows = ov_ops.constant(np.arange(rows, dtype=np.int32))
    return ov_ops.gather(_weight(weight), rows, _ints([0]))


def repeat_vector(weight, batch):
    return ov_ops.broadcast(_weight(weight), _ints([batch, 1, *weight.shape]))


def token_at_first(x, ids, token):
    found = ids if token is None else ov_ops.convert(ov_ops.equal(ids, ov_ops.constant(np.int32(token))), "i32")
    best = ov_ops.topk(found, ov_ops.constant(np.int64(1)), 1, "max", "value", "i64", stable=True)
    # Not gather: with a batch axis it reads beside the tensor when the batch is 1.
    return ov_ops.gather_nd(x, best.output(1), 1)


def interpolate_nearest(x, size):
    return ov_ops.interpolate(
        x, _ints(size), "nearest", "sizes", [0, 0], [0, 0], "asymmetric", "floor", axes=_ints([2, 3])
    )
