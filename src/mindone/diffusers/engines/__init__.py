"""Who executes a network: MindSpore's kernels, or a graph compiled by OpenVINO. `base` is the contract."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .base import Array, Engine, FlashAttention, Input
from .mindspore import operators
from .mindspore.device import on_ascend

ops: Any = operators
"""The operations in charge of `functional`: MindSpore's, but while a network is being recorded that recorder's."""

executing = threading.RLock()
"""Held by whoever calls a network's Python code, because `ops` holds for the whole process."""

NAMES = ("auto", "openvino", "mindspore")

__all__ = ["NAMES", "Array", "Engine", "FlashAttention", "Input", "executing", "get", "ops", "recording"]


@contextmanager
def recording(recorder: object) -> Iterator[None]:
    """Within this context `functional` calls the operations of ``recorder``, and no other thread runs a network."""
    global ops
    with executing:
        previous, ops = ops, recorder
        try:
            yield
        finally:
            ops = previous


def get(name: str | None = None) -> Engine:
    """The engine called ``name``, or the one that ``MINDONE_ENGINE`` names, or the best for this machine.

    Raises:
        ValueError: the name is none of ``auto``, ``openvino``, ``mindspore``.
    """
    chosen = name or os.environ.get("MINDONE_ENGINE") or "auto"
    if chosen not in NAMES:
        given = "engine" if name else "the environment variable MINDONE_ENGINE"
        raise ValueError(f"{given} must be one of {', '.join(NAMES)}, got {chosen!r}")
    if chosen == "auto":
        chosen = "mindspore" if on_ascend() else "openvino"
    if chosen == "mindspore":
        from .mindspore.engine import MindSporeEngine

        return MindSporeEngine()
    from .openvino.engine import OpenVINOEngine

    return OpenVINOEngine()
