"""MindSpore's device, and the single rule for its compute dtype."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import mindspore as ms
from mindspore import ops

P = ParamSpec("P")
R = TypeVar("R")


def constant(function: Callable[P, R]) -> Callable[P, R]:
    """``ops.constexpr``: makes a value a constant of the graph."""
    made: Callable[P, R] = ops.constexpr(function)
    return made


@constant
def on_ascend() -> bool:
    """Whether networks run on an Ascend device; a constant for the graph compiler."""
    return bool(ms.get_context("device_target") == "Ascend")


def compute_dtype(dtype: str) -> str:
    """The dtype in which a network of ``dtype`` computes on this device: on a CPU always float32.

    The half-precision kernels of MindSpore's CPU build are many times slower than float32's, or missing.
    """
    return dtype if on_ascend() else "float32"


def compute_type(weight: ms.Tensor) -> ms.Type:
    """The compute dtype of an operation with this weight: `compute_dtype`, in a form that the graph compiler reads."""
    return weight.dtype if on_ascend() else ms.float32


def cast(x: ms.Tensor, dtype: ms.Type) -> ms.Tensor:
    """``x`` in another dtype; itself if it has that dtype."""
    return x if x.dtype == dtype else ops.cast(x, dtype)


def float32_on_cpu(x: ms.Tensor) -> ms.Tensor:
    """``x`` in this device's compute dtype."""
    return x if on_ascend() else cast(x, ms.float32)
