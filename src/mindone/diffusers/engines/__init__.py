"""The engines that run networks: MindSpore's kernels, or a graph compiled by OpenVINO. `base` is the contract."""

from ..utils.environment import ENGINE
from .base import Array, Engine, FlashAttention, Input, Outputs, Taps, several, single
from .mindspore.device import on_ascend

NAMES = ("auto", "openvino", "mindspore")

__all__ = ["NAMES", "Array", "Engine", "FlashAttention", "Input", "Outputs", "Taps", "get", "several", "single"]


def get(name: str | None = None) -> Engine:
    """The engine called ``name``, or the one in ``MINDONE_ENGINE``, or the best for this machine.

    Raises:
        ValueError: the name is none of ``auto``, ``openvino``, ``mindspore``.
    """
    chosen = name or ENGINE.value or "auto"
    if chosen not in NAMES:
        given = "engine" if name else f"the environment variable {ENGINE.name}"
        raise ValueError(f"{given} must be one of {', '.join(NAMES)}, got {chosen!r}")
    if chosen == "auto":
        chosen = "mindspore" if on_ascend() else "openvino"
    if chosen == "mindspore":
        from .mindspore.engine import MindSporeEngine

        return MindSporeEngine()
    from .openvino.engine import OpenVINOEngine

    return OpenVINOEngine()
