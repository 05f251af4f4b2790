"""int8 weights in files: ``x.weight`` in int8, and beside it the scale and the ranges.

``x.weight_scale`` (out,) times the integers is the weight. If its product is in int8, ``x.input_low`` and
``x.input_high``, scalars, are the range of the input, which the engine rounds to 256 levels; if it rounds the result
too, ``x.output_low`` and ``x.output_high`` hold its range.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..utils.printable import shown
from . import group_files
from .safetensors import StoredTensor
from .weights import Weights

QUANTIZATION = "quantization_config"
"""The entry of ``config.json`` that describes the quantisation of its weights."""
METHOD = "mindone_int8"
"""The value of its ``quant_method``."""

_SCALE, _INPUT, _OUTPUT = ("weight_scale",), ("input_low", "input_high"), ("output_low", "output_high")
_ALL = _SCALE + _INPUT + _OUTPUT


Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Int8Tensor:
    """A weight in int8 for a parameter (`engines.base.Quantized`).

    ``stored`` is (out, …) int8, ``scale`` float32 (out,). ``input_range`` is the minimum and maximum input if the
    product is in int8; ``output_range`` is that of the result if it is rounded too.
    """

    stored: StoredTensor
    scale: NDArray[np.float32]
    input_range: Range | None = None
    output_range: Range | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(out, …)."""
        return self.stored.shape

    @property
    def integers(self) -> NDArray[np.int8]:
        """The integers, without a copy."""
        return self.stored.numpy()

    def numpy(self, dtype: DTypeLike | None = None) -> NDArray[np.float32]:
        """The weight's values, float32 or ``dtype``."""
        scale = self.scale.reshape(-1, *[1] * (len(self.shape) - 1))
        return (self.integers * scale).astype(dtype or np.float32, copy=False)

    def tensors(self, name: str) -> dict[str, StoredTensor]:
        """Its tensors in a file, by name; ``name`` is the parameter's, such as ``x.weight``."""
        bounds = [np.array(bound, np.float32) for bound in (*(self.input_range or ()), *(self.output_range or ()))]
        beside = {_beside(name, what): StoredTensor.from_numpy(x) for what, x in zip(_ALL, (self.scale, *bounds))}
        return {name: self.stored, **beside}


def check_method(config: Mapping[str, object]) -> None:
    """Raise ``ValueError`` if a config declares an unsupported quantisation of its weights."""
    quantization = config.get(QUANTIZATION)
    method = quantization.get("quant_method") if isinstance(quantization, Mapping) else quantization
    if method not in (None, METHOD, group_files.METHOD):
        known = f"{METHOD!r} and {group_files.METHOD!r}"
        raise ValueError(f"cannot read quant_method {shown(method)}, only {known}; take the float checkpoint")


def read_int8(weights: Weights) -> tuple[dict[str, Int8Tensor], Weights]:
    """A checkpoint's int8 weights by name, and the checkpoint without the tensors beside them.

    Raises:
        ValueError: a companion is missing or broken.
    """
    found = {name: _read(weights, name) for name, tensor in weights.items() if tensor.dtype == "I8"}
    companions = {_beside(name, what) for name in found for what in _ALL}
    return found, weights.renamed(lambda name: None if name in companions else name)


def _read(weights: Weights, name: str) -> Int8Tensor:
    has_input, has_output = (any(_beside(name, end) in weights for end in ends) for ends in (_INPUT, _OUTPUT))
    needed = [_beside(name, what) for what in (_ALL if has_output else _SCALE + _INPUT if has_input else _SCALE)]
    if missing := [each for each in needed if each not in weights]:
        raise ValueError(f"{weights.source}: {name} is int8, but {', '.join(missing)} is missing; fetch it again")
    tensors: Mapping[str, StoredTensor] = weights
    scale, *bounds = (tensors[each].numpy(np.float32).reshape(-1) for each in needed)
    fits = scale.shape == weights[name].shape[:1] and all(bound.shape == (1,) for bound in bounds)
    numbers = [float(bound[0]) for bound in bounds] if fits else []
    ranges = list(zip(numbers[0::2], numbers[1::2]))
    if not fits or not all(low <= 0 <= high and low != high for low, high in ranges):
        raise ValueError(f"{weights.source}: the scale or the ranges of {name} do not fit it; fetch it again")
    return Int8Tensor(weights[name], scale, *ranges)


def _beside(name: str, what: str) -> str:
    """The name of a tensor beside the weight ``name``."""
    return name.removesuffix("weight") + what
