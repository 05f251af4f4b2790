"""The device that MindSpore computes on, and the one rule of what it computes in there."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import mindspore as ms
from mindspore import ops

P = ParamSpec("P")
R = TypeVar("R")


def constant(function: Callable[P, R]) -> Callable[P, R]:
    """``ops.constexpr``: what the graph compiler takes for a constant of the graph."""
    made: Callable[P, R] = ops.constexpr(function)
    return made


@constant
def on_ascend() -> bool:
    """Whether networks run on an Ascend device; a constant to the graph compiler."""
    return bool(ms.get_context("device_target") == "Ascend")


def compute_dtype(dtype: str) -> str:
    """What a network of ``dtype`` computes in on this device: on a CPU always float32.

    The half-precision kernels of MindSpore's CPU build are many times slower than those of float32, or missing.
    """
    return dtype if on_ascend() else "float32"


def compute_type(weight: ms.Tensor) -> ms.Type:
    """The type that an operation with this weight computes in: `compute_dtype`, as the graph compiler can read it."""
    return weight.dtype if on_ascend() else ms.float32


def cast(x: ms.Tensor, dtype: ms.Type) -> ms.Tensor:
    """``x`` in another type; itself when it has that type."""
    return x if x.dtype == dtype else ops.cast(x, dtype)


def float32_on_cpu(x: ms.Tensor) -> ms.Tensor:
    """``x`` as this device computes with it."""
    return x if on_ascend() else cast(x, ms.float32)
