"""Weights in 4 or 8 bits by group in safetensors files, as `quantize --weights` writes them.

``x.weight_packed`` (out, groups, …) replaces ``x.weight``: int8 integers, or uint8 ones with 4 bits in each half of a
byte, the lower half first. Beside it are ``x.weight_scale`` (out, groups, 1) and, unless the integer zero stands for
zero, ``x.weight_zero_point`` of the same shape and type. The names are from compressed-tensors, which packs the same
integers into 32-bit words. 4-bit integers are signed if they have no zero point.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from .groups import GroupedTensor
from .safetensors import StoredTensor
from .weights import Weights

METHOD = "mindone_groups"
"""The ``quant_method`` in ``config.json``."""

_PACKED, _SCALE, _ZERO = "weight_packed", "weight_scale", "weight_zero_point"


def names_in_file(name: str) -> tuple[str, str, str]:
    """The names of the integers, scales and zero points of the weight ``name``, which ends with "weight"."""
    module = name.removesuffix("weight")
    return module + _PACKED, module + _SCALE, module + _ZERO


@runtime_checkable
class InParts(Protocol):
    """Stored values that take several tensors in a file."""

    def tensors(self, name: str) -> dict[str, StoredTensor]:
        """Their tensors in a file, by name; ``name`` is the parameter's."""


def parts_in_file(name: str, values: object) -> dict[str, StoredTensor] | None:
    """The tensors in a file for the values of the parameter ``name``; None if that is one tensor of their own type."""
    if isinstance(values, GroupedTensor):
        arrays = (values.packed, values.scale, values.zero_point)
        named = zip(names_in_file(name), arrays)
        return {each: StoredTensor.from_numpy(array) for each, array in named if array is not None}
    return values.tensors(name) if isinstance(values, InParts) else None


def read_groups(weights: Weights, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, GroupedTensor], Weights]:
    """A checkpoint's weights by group, by parameter name, and the checkpoint without their tensors.

    Args:
        weights: the checkpoint.
        shapes: those of the network's parameters, by name.

    Raises:
        ValueError: a scale is missing, or a weight does not fit the network.
    """
    modules = [name.removesuffix(_PACKED) for name in weights if name.endswith(_PACKED)]
    found = {f"{module}weight": _read(weights, f"{module}weight", shapes) for module in modules}
    beside = {each for name in found for each in names_in_file(name)}
    return found, weights.renamed(lambda name: None if name in beside else name)


def _read(weights: Weights, name: str, shapes: Mapping[str, tuple[int, ...]]) -> GroupedTensor:
    packed, scale, zero = names_in_file(name)
    if name not in shapes or name in weights:
        raise ValueError(
            f"{weights.source}: {packed} is the weight of no layer of this network, or of one that has another; "
            "fetch it again"
        )
    if scale not in weights:
        raise ValueError(f"{weights.source} has {packed} but no {scale}; fetch it again")
    integers, shape = weights[packed], shapes[name]
    values = [weights[each].numpy() for each in (scale, zero) if each in weights]
    bits = 4 if integers.dtype == "U8" and 2 * integers.size == int(np.prod(shape)) else 8
    signed = integers.dtype == "I8" or (bits == 4 and len(values) == 1)
    try:
        if integers.dtype not in ("I8", "U8"):
            raise ValueError(f"integers must be I8 or U8, got {integers.dtype}")
        tensor = GroupedTensor(shape, bits, signed, integers.numpy(), *values)
    except ValueError as error:
        raise ValueError(f"{weights.source}: {name} does not fit its network: {error}; fetch it again") from None
    if not all(np.isfinite(each).all() for each in values):
        raise ValueError(f"{weights.source}: the scales of {name} are NaN or infinite; fetch it again")
    return tensor
