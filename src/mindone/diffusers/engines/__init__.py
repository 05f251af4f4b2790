"""Who executes a network: MindSpore's kernels, or a graph compiled by OpenVINO.

An engine is an object with a ``name`` and these methods; nothing above this package knows more of it:

- ``run(model, *inputs, method="construct", **options)``: a network's method on NumPy or native arrays.
- ``asarray(x)`` and ``numpy(x)``: to the engine's native arrays and back (float32 NumPy).
- ``concat(arrays, axis)``: on native arrays. ``+ - * /`` with Python floats work on them too.
"""

import os
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple

from . import mindspore_ops

ops: ModuleType = mindspore_ops
"""The operations in charge of `functional`: MindSpore's, but while a graph is being recorded that recorder's."""

NAMES = ("auto", "openvino", "mindspore")


class FlashAttention(NamedTuple):
    """How the memory-efficient attention kernel of an Ascend device is used.

    ``cast_dtype`` ("float16" or "bfloat16") is what inputs of another type are cast to,
    since the kernel takes no other; with None they go to plain attention.
    """

    cast_dtype: str | None = "float16"


@contextmanager
def recording(recorder: ModuleType):
    """Within this context `functional` calls the operations of ``recorder``."""
    global ops
    previous, ops = ops, recorder
    try:
        yield
    finally:
        ops = previous


def get(name: str | None = None) -> Any:
    """The engine called ``name``, or the one that ``MINDONE_ENGINE`` names, or the best for this machine.

    Raises:
        ValueError: the name is none of ``auto``, ``openvino``, ``mindspore``.
    """
    chosen = name or os.environ.get("MINDONE_ENGINE") or "auto"
    if chosen not in NAMES:
        given = "engine" if name else "the environment variable MINDONE_ENGINE"
        raise ValueError(f"{given} must be one of {', '.join(NAMES)}, got {chosen!r}")
    if chosen == "auto":
        chosen = "mindspore" if mindspore_ops.on_ascend() else "openvino"
    if chosen == "mindspore":
        from .mindspore import MindSporeEngine

        return MindSporeEngine()
    from .openvino import OpenVINOEngine

    return OpenVINOEngine()
