"""GELU, SiLU and ReLU from elementary operations, as an OpenVINO graph.

The device attaches its own activations to the product before, whose kernel is slow at them. These become one pass over
the product's result. A product (2,048 × 1,536) · (1,536 × 6,144) takes 236 ms on two cores with AVX2; with the device's
GELU by tanh 290, with this 237; with its GELU by erf 265, with its SiLU 269.
"""

import math

from openvino import opset15 as ov_ops

from ...utils.machine import is_x86
from .constants import Constants, Node

MEASURED = is_x86()
"""It was not measured elsewhere, and Arm has no kernel for erf."""


def silu(x: Node, constants: Constants, factor: float = 1.0) -> Node:
    """``x · sigmoid(factor · x)``."""
    if not MEASURED:
        return ov_ops.swish(x, constants.scalar(factor))
    return _times_sigmoid(x, ov_ops.multiply(x, constants.scalar(-factor)), constants)


def positive(x: Node, constants: Constants) -> Node:
    """``max(x, 0)`` of a matrix product's result; convolutions are fast at ReLU."""
    return ov_ops.maximum(x, constants.scalar(0.0)) if MEASURED else ov_ops.relu(x)


def gelu(x: Node, constants: Constants) -> Node:
    """``x · Φ(x)`` with the normal distribution's Φ, by erf."""
    if not MEASURED:
        return ov_ops.gelu(x, "erf")
    half = ov_ops.multiply(x, constants.scalar(0.5))  # Forms with 1 + erf(…) are recognized and replaced.
    return ov_ops.add(half, ov_ops.multiply(half, ov_ops.erf(ov_ops.multiply(x, constants.scalar(0.5**0.5)))))


def gelu_tanh(x: Node, constants: Constants) -> Node:
    """The approximation ``x · (1 + tanh y) / 2``, which is ``x · sigmoid(2 y)``, for y = √(2/π) · (x + 0.044715 x³)."""
    if not MEASURED:
        return ov_ops.gelu(x, "tanh")
    factor = -2 * math.sqrt(2 / math.pi)
    cubic = ov_ops.multiply(ov_ops.multiply(x, x), constants.scalar(0.044715 * factor))
    return _times_sigmoid(x, ov_ops.multiply(x, ov_ops.add(cubic, constants.scalar(factor))), constants)


def _times_sigmoid(x: Node, negative: Node, constants: Constants) -> Node:
    """``x · sigmoid(-negative)``."""
    return ov_ops.divide(x, ov_ops.add(ov_ops.exp(negative), constants.scalar(1.0)))
