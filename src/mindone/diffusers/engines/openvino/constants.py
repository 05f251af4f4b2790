"""Stored weights as constants of an OpenVINO graph, sharing their memory."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import mindspore as ms
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ov_ops

from ...utils.machine import multiplies_bytes_exactly
from ...utils.scratch import Scratch
from ..base import Grouped, Stored, Values, is_mapped, is_quantized
from .groups import TYPES
from .marks import Node as Node, unpacking

Operand: TypeAlias = Node | ms.Parameter
"""An operand of operations: a node, or a parameter, which they turn into a node."""

_TYPES = {"F16": (np.uint16, ov.Type.f16), "BF16": (np.uint16, ov.Type.bf16), "F32": (np.float32, ov.Type.f32)}


class Constants:
    """Makes constants and keeps the arrays whose memory they share; whatever keeps the graph must keep this.

    ``scratch`` holds weights computed during recording. ``float32`` says that the device will compute in that
    precision.
    """

    def __init__(self, float32: bool) -> None:
        self.scratch, self._float32 = Scratch(), float32
        self._borrowed: list[Values] = []
        self._small: dict[bytes, Node] = {}

    def of_stored(self, stored: Stored, part: int = 0, parts: int = 1) -> Node:
        """One of equal parts of the rows of stored values, as a float32 node."""
        if is_quantized(stored):
            if len(stored.shape) < 4 or self._float32:
                return self.of_int8(np.split(stored.integers, parts)[part], np.split(stored.scale, parts)[part])
            # The device multiplies matrices in int8 but unpacks kernels to float32, so kernels are in 16 bits here.
            values = np.split(stored.numpy(np.float32), parts)[part]
            kept = self.scratch.keep(values.astype(np.float16)).view(np.uint16)
            return _as_float32(self._sharing(kept.reshape(-1), list(values.shape), ov.Type.f16))
        if len(stored.shape) < 2:  # hardly any memory, and one conversion less for every pass over the graph
            values = stored.numpy(np.float32)
            return ov_ops.constant(np.split(values, parts)[part] if parts > 1 else values)
        if not is_mapped(stored) or stored.dtype not in _TYPES:
            (node,) = self.of_computed(np.split(stored.numpy(np.float32), parts)[part][None])
            return node
        element, kind = _TYPES[stored.dtype]
        values = stored.data.view(element)
        size = values.size // parts
        shape = [stored.shape[0] // parts, *stored.shape[1:]]
        values = values[part * size : (part + 1) * size]
        if stored.makes_data:  # it would stay in memory as long as the graph
            if kind == ov.Type.f32 and not self._float32:
                values, kind = values.astype(np.float16).view(np.uint16), ov.Type.f16
            values = self.scratch.keep(values)
        return _as_float32(self._sharing(values, shape, kind))

    def of_places(self, stored: Stored, begin: int, end: int) -> Node:
        """The places from ``begin`` to ``end`` of a stored table (1, places, channels), as a float32 node."""
        if not is_mapped(stored) or stored.dtype not in _TYPES:
            (node,) = self.of_computed(stored.numpy(np.float32)[:, begin:end][None])
            return node
        element, kind = _TYPES[stored.dtype]
        channels = stored.shape[2]
        values = stored.data.view(element)[begin * channels : end * channels]
        return _as_float32(self._sharing(values, [1, end - begin, channels], kind))

    def of_int8(self, integers: NDArray[np.int8], scale: NDArray[np.float32]) -> Node:
        """``integers · scale`` (out, …) in a form that lets the device keep and multiply the integers."""
        constant = self._sharing(integers.reshape(-1), list(integers.shape), ov.Type.i8)
        per_row = scale.reshape(-1, *[1] * (integers.ndim - 1))
        return ov_ops.multiply(ov_ops.convert(constant, "f32"), ov_ops.constant(per_row))

    def of_groups(self, stored: Grouped, part: int = 0, parts: int = 1) -> Node:
        """One of equal parts of a matrix's rows, by group, in a form that lets the device keep and multiply it."""
        rows = slice(part * stored.shape[0] // parts, (part + 1) * stored.shape[0] // parts)
        packed, scale = stored.packed[rows], stored.scale[rows]
        outs, groups, size = packed.shape[0], packed.shape[1], packed.shape[2] * 8 // stored.bits
        constant = self._sharing(packed.reshape(-1), [outs, groups, size], TYPES[stored.bits, stored.signed])
        integers = ov_ops.convert(constant, "f32")
        if stored.zero_point is not None:
            integers = ov_ops.subtract(integers, self._of_floats(stored.zero_point[rows]))
        values = ov_ops.multiply(integers, self._of_floats(scale))
        return ov_ops.reshape(values, self.ints([outs, groups * size]), False)

    def _of_floats(self, values: NDArray[np.floating[Any]]) -> Node:
        # The device would widen them itself, and keep the result beside its own copy in another order.
        kept = self.scratch.keep(values.astype(np.float32)) if values.dtype == np.float16 else values
        return self._sharing(kept.reshape(-1), list(values.shape), ov.Type.f32)

    def of_multiplied_int8(
        self, integers: NDArray[np.int8], scale: NDArray[np.float32], is_computed: bool = False
    ) -> Node:
        """`of_int8`, for multiplication by bytes, from integers in their own memory or just computed.

        If sums of two such products may exceed the device's 16 bits, integers have 7 bits.
        """
        if not multiplies_bytes_exactly():
            integers, scale, is_computed = np.rint(integers / 2).astype(np.int8), 2 * scale, True
        return self.of_int8(self.scratch.keep(integers) if is_computed else integers, scale)

    def of_computed(self, values: NDArray[np.float32]) -> list[Node]:
        """Values computed during recording, float32, as one constant for each index of the first axis."""
        values = self.scratch.keep(values)
        return [self._sharing(part.reshape(-1), list(part.shape), ov.Type.f32) for part in values]

    def ints(self, values: Iterable[int]) -> Node:
        """A constant of whole numbers, for shapes and axes; made once, as compiling goes over each node many times."""
        return self._shared(np.array(list(values), np.int64))

    def scalar(self, value: float) -> Node:
        """A constant number; made once."""
        return self._shared(np.array(value, np.float32))

    def _shared(self, value: NDArray[np.int64] | NDArray[np.float32]) -> Node:
        key = value.dtype.char.encode() + value.tobytes()
        if key not in self._small:
            self._small[key] = ov_ops.constant(value)
        return self._small[key]

    def _sharing(self, values: Values, shape: list[int], kind: ov.Type) -> Node:
        self._borrowed.append(values)
        return ov.op.Constant(ov.Tensor(values, shape, kind), shared_memory=True)


def _as_float32(constant: Node) -> Node:
    if constant.get_element_type() == ov.Type.f32:
        return constant
    return unpacking(ov_ops.convert(constant, "f32"))
