"""Weights in 4 or 8 bits by group, in the form that OpenVINO's CPU plugin keeps and multiplies.

It recognises (integers − zero point) · scale in front of a product of float32 activations, and unpacks a part of the
weight at a time while it multiplies. A zero point need not be whole; written as integers · scale − minimum the same
weight would be folded to floats. So would one that the plugin's kernels do not take, silently: the compiled graph shows
whether each weight survived.
"""

import functools
from collections.abc import Mapping

import openvino as ov

from ...utils.logging import get_logger
from ...utils.machine import instruction_sets, is_x86
from ...utils.printable import printable
from ..base import Grouped

logger = get_logger(__name__)

TYPES = {(4, False): ov.Type.u4, (4, True): ov.Type.i4, (8, False): ov.Type.u8, (8, True): ov.Type.i8}
"""By bits, and whether the integers have signs."""
_FLOATS = ("f32", "f16", "bf16")
LEAST_GROUP = 4
"""The smallest group size of the kernels."""
_TILE, _SMALL = 32, 512
"""Matrix units (AMX) multiply rows of 32 values in bfloat16. Matrices smaller than 512 × 512, and not multiples of
that, use a kernel that unpacks nothing."""


def is_kept(stored: Grouped, parts: int, in_bfloat16: bool) -> bool:
    """Whether the device multiplies one of equal ``parts`` of a matrix's rows directly as stored."""
    outs, ins = stored.shape[0] // parts, stored.shape[-1]
    if len(stored.shape) != 2 or outs == 1 or stored.group_size < LEAST_GROUP or not has_kernels():
        return False
    if in_bfloat16 and "amx_bf16" in instruction_sets():
        return max(ins, outs) > _TILE and (max(ins, outs) > _SMALL or ins % _TILE == 0)
    return True


@functools.cache
def has_kernels() -> bool:
    """Whether this CPU multiplies weights in 4 or 8 bits by group: x86 with AVX2 does, Arm does not."""
    sets = instruction_sets()  # only Linux tells
    found = is_x86() and ("avx2" in sets or not sets)
    if not found:
        logger.warning(
            "this CPU has no kernels for weights in 4 or 8 bits by group, as x86 with AVX2 has: they are widened to "
            "16 bits"
        )
    return found


def check_kept(compiled: ov.CompiledModel, kept: Mapping[str, str], network: str) -> None:
    """Check in the compiled graph that the products of weights to keep still use them as stored.

    Args:
        compiled: the graph.
        kept: the weights' names, by the names of the operations that read them.
        network: its class, for the message.

    Raises:
        ValueError: a weight was folded to floats and would take many times the memory.
    """
    if not kept:
        return
    for node in compiled.get_runtime_model().get_ordered_ops():
        about = node.get_rt_info()
        made_of = str(about["originalLayersNames"].value).split(",")
        weight = next((kept[name] for name in made_of if name in kept), None)
        if weight is not None and str(about["runtimePrecision"].value) in _FLOATS:
            raise ValueError(
                f"{network}: OpenVINO {ov.get_version().partition('-')[0]} would widen the weight {printable(weight)}, "
                "stored in 4 or 8 bits by group, to floats on this CPU; take a checkpoint in 16 bits, or "
                'engine="mindspore"'
            )
