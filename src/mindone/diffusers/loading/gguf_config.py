"""How to read a GGUF file: the published `GGUFQuantizationConfig`."""

from __future__ import annotations

import os
from dataclasses import dataclass

from .dtypes import parse_dtype


@dataclass(frozen=True)
class GGUFQuantizationConfig:
    """``from_single_file("….gguf", quantization_config=GGUFQuantizationConfig(compute_dtype=ms.bfloat16))``.

    Weights keep the bits that they have in the file; the file itself says how many.

    Args:
        compute_dtype: the network's compute dtype, a MindSpore type or a string; None follows ``mindspore_dtype``.

    Raises:
        ValueError: networks do not compute in this type.
    """

    compute_dtype: object = None

    def __post_init__(self) -> None:
        if self.compute_dtype is not None:
            object.__setattr__(self, "compute_dtype", parse_dtype(self.compute_dtype))

    @property
    def quant_method(self) -> str:
        """Its published name."""
        return "gguf"


def asked_dtype(
    mindspore_dtype: object, quantization_config: object, path_or_address: str | os.PathLike[str]
) -> object:
    """The compute dtype that you asked for, with either of two arguments, for a network from a single file.

    Raises:
        ValueError: they differ, the second is not a `GGUFQuantizationConfig`, or the file is not a GGUF file.
    """
    if quantization_config is None:
        return mindspore_dtype
    if not isinstance(quantization_config, GGUFQuantizationConfig):
        kind = type(quantization_config).__name__
        raise ValueError(f"quantization_config of a single file must be a GGUFQuantizationConfig, got a {kind}")
    if not os.fspath(path_or_address).partition("?")[0].endswith(".gguf"):
        raise ValueError(f"quantization_config is for .gguf files; leave it out for {os.fspath(path_or_address)}")
    own = quantization_config.compute_dtype
    if mindspore_dtype is not None and own is not None and parse_dtype(mindspore_dtype) != own:
        raise ValueError(
            f"a network computes in one type: mindspore_dtype is {parse_dtype(mindspore_dtype)}, the compute_dtype of "
            f"quantization_config is {own}; give one of them, or the same"
        )
    return own if mindspore_dtype is None else mindspore_dtype
