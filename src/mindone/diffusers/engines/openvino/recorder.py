"""What is known while a network is recorded: its weights as nodes, and inputs that come from outside the graph."""

from collections.abc import Callable
from dataclasses import dataclass

import mindspore as ms
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset15 as ov_ops

from ..base import Adjustable, Array
from ..binding import stored
from .constants import Constants, Node


@dataclass(frozen=True)
class HostInput:
    """A graph input that is computed from another one, on arrays, outside the graph."""

    node: Node
    source: Node
    compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Recorder:
    """The state of one recording. `operators.Operators` adds the operations that `functional` calls.

    ``float32`` says that the device will compute in that precision. All arithmetic is recorded in float32 whatever it
    is: the precision is chosen when the graph is compiled.
    """

    def __init__(self, float32: bool):
        self.float32 = float32
        self.constants = Constants()
        self.host_inputs: list[HostInput] = []
        self.adjustables: list[tuple[Node, Adjustable]] = []
        self._nodes: dict[tuple[int, int, int], Node] = {}

    def weight(self, parameter: ms.Parameter, part: int = 0, parts: int = 1) -> Node:
        """The parameter, or one of equal parts of its rows, as a float32 node; made once however often it is used."""
        key = (id(parameter), part, parts)
        if key not in self._nodes:
            values = stored(parameter)
            if isinstance(values, Adjustable):
                self._nodes[key] = self._adjustable(values)
            else:
                self._nodes[key] = self.constants.of_stored(values, part, parts)
        return self._nodes[key]

    def _adjustable(self, values: Adjustable) -> Node:
        node = ov_ops.parameter(list(values.shape), ov.Type.f32)
        self.adjustables.append((node, values))
        return node

    def values(self, parameter: ms.Parameter) -> NDArray[np.float32]:
        """The parameter's values in float32, to compute with while recording."""
        return stored(parameter).numpy(np.float32)

    def is_fixed(self, parameter: ms.Parameter) -> bool:
        """Whether the parameter's values can be computed with while recording."""
        return not isinstance(stored(parameter), Adjustable)

    def node(self, x: Array) -> Node:
        """An operand, which may be a parameter, as a node."""
        return self.weight(x) if isinstance(x, ms.Parameter) else x

    def host_input(
        self, source: Node, shape: list[int], compute: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> Node:
        """A node whose values are computed from those of the network's input ``source`` before each call."""
        node = ov_ops.parameter(shape, ov.Type.f32)
        self.host_inputs.append(HostInput(node, source, compute))
        return node
