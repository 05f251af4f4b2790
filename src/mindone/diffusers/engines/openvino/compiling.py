"""Compiles a recorded graph for the CPU."""

import functools
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import openvino as ov

from ...utils.logging import get_logger
from ...utils.machine import instruction_sets
from ..cache import limit_arenas, on_release, return_freed_memory
from .groups import check_kept
from .memory_maps import merge_maps

logger = get_logger(__name__)

# oneDNN keeps the generated code of the process's last 1,024 operations, even if no graph uses them any more: some 100
# MB that are never freed. Graphs keep their own; compiling without the cache takes no longer.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0")
limit_arenas()


@functools.cache
def _core() -> ov.Core:
    return ov.Core()


on_release.append(_core.cache_clear)
_choosing = threading.Lock()


@functools.cache
def half_precision() -> str:
    """The compute dtype of 16-bit models on this CPU, in OpenVINO's terms: its fastest 16-bit type, or f32.

    A CPU may have float16 vectors but matrix units (AMX) only for bfloat16: there the bundled denoiser's step takes 1.5
    times as long in float16 as in bfloat16, its decoder three times, and both no less than in float32.
    """
    usable, sets = _half_types(), instruction_sets()
    for name in ("bf16", "f16") if "amx_bf16" in sets and "amx_fp16" not in sets else ("f16", "bf16"):
        if name in usable:
            return name
    logger.warning("this CPU has no 16-bit arithmetic: half-precision models keep 16 bits but run in float32")
    return "f32"


def _half_types() -> set[str]:
    """The 16-bit types in which this CPU computes."""
    capabilities = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {name for name, capability in (("f16", "FP16"), ("bf16", "BF16")) if capability in capabilities}


def precision_of(dtype: str, exceeds_float16: bool = False) -> str:
    """The compute dtype of a network of ``dtype`` on this CPU, in OpenVINO's terms: f32, f16 or bf16.

    A network whose values exceed float16's range computes in float32 if the CPU has no bfloat16.
    """
    if dtype == "float32":
        return "f32"
    with _choosing:  # networks compile in parallel, and the choice is reported once
        half = half_precision()
    return ("bf16" if "bf16" in _half_types() else "f32") if half == "f16" and exceeds_float16 else half


def compile_graph(graph: ov.Model, precision: str, kept: Mapping[str, str]) -> ov.CompiledModel:
    """Compile for the CPU; ``kept`` are the weights to keep in 4 or 8 bits by group (`groups.check_kept`)."""
    # Otherwise inputs of such weights would be rounded to 8 bits.
    exact = {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"} if kept else {}
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY", **exact}
    compiled = _core().compile_model(graph, "CPU", settings)
    check_kept(compiled, kept, graph.get_friendly_name())
    return_freed_memory()
    merge_maps()
    return compiled


@contextmanager
def repeating(action: Callable[[], None], seconds: float = 0.1) -> Iterator[None]:
    """Within this context ``action`` is called at regular intervals, and at its end."""
    done = threading.Event()

    def keep_going() -> None:
        while not done.wait(seconds):
            action()

    thread = threading.Thread(target=keep_going, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        action()
