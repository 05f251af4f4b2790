"""The state while recording a network: its weights as nodes, and inputs from outside the graph."""

from collections.abc import Callable
from dataclasses import dataclass

import mindspore as ms
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ov_ops

from ..base import Adjustable, Quantized, is_adjustable, is_grouped, is_quantized
from ..binding import published_name, sound, stored
from . import marks
from .constants import Constants, Node, Operand
from .groups import is_kept


@dataclass(frozen=True)
class HostInput:
    """A graph input computed from another one, on arrays, outside the graph."""

    node: Node
    source: Node
    compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Recorder:
    """The state of one recording. `operators.Operators` adds the operations that `functional` calls.

    ``precision`` is the device's compute dtype: f32, f16 or bf16. All arithmetic is recorded in float32: compiling
    chooses the precision for all nodes except `precise` ones.
    """

    def __init__(self, precision: str):
        self.precision, self.float32 = precision, precision == "f32"
        self.constants = Constants(self.float32)
        self.ints, self.scalar = self.constants.ints, self.constants.scalar
        self.host_inputs: list[HostInput] = []
        self.adjustables: list[tuple[Node, Adjustable]] = []
        self.kept: dict[str, str] = {}
        """The names of weights multiplied directly as stored by group, by the names of their operations."""
        self._nodes: dict[tuple[int, int, int], Node] = {}
        self._factors: dict[tuple[int, int, int], Node] = {}
        self._rounded: dict[tuple[int, tuple[float, float]], tuple[Node, Node]] = {}

    def weight(self, parameter: ms.Parameter, part: int = 0, parts: int = 1) -> Node:
        """The parameter, or one of equal parts of its rows, as a float32 node; made only once."""
        key = (id(parameter), part, parts)
        if key not in self._nodes:
            values = sound(parameter)
            if is_adjustable(values):
                self._nodes[key] = (
                    self._adjustable(values) if parts == 1 else self._rows(self.weight(parameter), part, parts)
                )
            else:
                self._nodes[key] = self.constants.of_stored(values, part, parts)
        return self._nodes[key]

    def operands(self, x: Operand, weight: Operand, part: int = 0, parts: int = 1) -> tuple[Node, Node]:
        """The operands of a product of ``x`` and a weight: for an int8 weight, ``x`` is rounded to 256 levels.

        In this form the device fuses the rounding into the operation before ``x`` and multiplies integers.
        """
        values = self.quantized(weight)
        if values is None:
            return self.node(x), self.factor(weight, part, parts) if isinstance(weight, ms.Parameter) else weight
        integers, scale = np.split(values.integers, parts)[part], np.split(values.scale, parts)[part]
        return self.rounded(x, values.input_range), self.constants.of_multiplied_int8(integers, scale)

    def product(self, x: Operand, weight: Operand, part: int = 0, parts: int = 1) -> Node:
        """``x`` times one of equal parts of the rows of a matrix."""
        return self._noted(ov_ops.matmul(*self.operands(x, weight, part, parts), False, True), weight, part, parts)

    def embedded(self, weight: Operand, ids: Node) -> Node:
        """The rows of a matrix with these ``ids``."""
        rows = self.factor(weight) if isinstance(weight, ms.Parameter) else weight
        return self._noted(ov_ops.gather(rows, ids, self.ints([0])), weight)

    def _noted(self, y: Node, weight: Operand, part: int = 0, parts: int = 1) -> Node:
        if isinstance(weight, ms.Parameter) and (id(weight), part, parts) in self._factors:
            self.kept[y.get_friendly_name()] = published_name(weight, weight.name)
        return y

    def factor(self, parameter: ms.Parameter, part: int = 0, parts: int = 1) -> Node:
        """`weight`, for a product or a look-up; by group if it is stored that way and the device has kernels for it."""
        values = sound(parameter)
        if not is_grouped(values) or not is_kept(values, parts, self.precision == "bf16"):
            return self.weight(parameter, part, parts)
        key = (id(parameter), part, parts)
        if key not in self._factors:
            self._factors[key] = self.constants.of_groups(values, part, parts)
        return self._factors[key]

    def rounded(self, x: Node, limits: tuple[float, float] | None) -> Node:
        """``x`` on 256 levels between the ``limits``, if any; one node for all readers of the same ``x``."""
        if limits is None:
            return x
        key = (id(x), limits)
        if key not in self._rounded:
            low, high = map(self.scalar, limits)
            # Keep the owner of a kept id, or another node could get the same one.
            self._rounded[key] = (x, ov_ops.fake_quantize(x, low, high, low, high, 256))
        return self._rounded[key][1]

    def quantized(self, weight: Operand) -> Quantized | None:
        """The parameter's values if its product is in int8; None for others, and for a weight made from parameters."""
        if not isinstance(weight, ms.Parameter):
            return None
        values = stored(weight)
        return values if is_quantized(values) and values.input_range is not None else None

    def precise(self, node: Node) -> Node:
        """The node, always computed in float32 (`marks.precise`)."""
        return node if self.float32 else marks.precise(node)

    def _adjustable(self, values: Adjustable) -> Node:
        node = ov_ops.parameter(list(values.shape), ov.Type.f32)
        self.adjustables.append((node, values))
        return node

    def _rows(self, x: Node, part: int, parts: int) -> Node:
        """One of equal parts of a matrix's rows."""
        count, ints = x.shape[0] // parts, self.ints
        return ov_ops.slice(x, ints([part * count]), ints([(part + 1) * count]), ints([1]), ints([0]))

    def values(self, parameter: ms.Parameter) -> NDArray[np.float32]:
        """The parameter's values in float32, for computing while recording."""
        return sound(parameter).numpy(np.float32)

    def is_fixed(self, weight: Operand) -> bool:
        """Whether it is a parameter with values usable for computing while recording."""
        return isinstance(weight, ms.Parameter) and not is_adjustable(stored(weight))

    def node(self, x: Operand) -> Node:
        """An operand, possibly a parameter, as a node."""
        return self.weight(x) if isinstance(x, ms.Parameter) else x

    def along_channels(self, vector: Operand) -> Node:
        """A vector (c,) as (1, c, 1, 1), so that it broadcasts over an image."""
        if isinstance(vector, ms.Parameter) and self.is_fixed(vector):
            return ov_ops.constant(self.values(vector).reshape(1, -1, 1, 1))
        return ov_ops.unsqueeze(self.node(vector), self.ints([0, 2, 3]))

    def host_input(
        self, source: Node, shape: list[int], compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> Node:
        """A node with values computed from the network's input ``source`` before each call."""
        node = ov_ops.parameter(shape, ov.Type.f32)
        self.host_inputs.append(HostInput(node, source, compute))
        return node
