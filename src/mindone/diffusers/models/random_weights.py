"""Writes networks with random weights to disk, to measure time and memory without a trained checkpoint."""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..loading.config import write_config
from ..loading.deferred import Deferred
from ..loading.group_files import METHOD, names_in_file
from ..loading.int8 import QUANTIZATION
from ..loading.safetensors import save_file
from .base import Model

_BLOCK = 1 << 20
"""The random numbers per scale; larger tensors repeat them."""


GROUP = 64
"""The number of values that share a scale if weights are in 4 or 8 bits."""
_SPREAD = {4: 4.61, 8: 73.9}
"""The standard deviation of the integers, all equally frequent."""


def write_random_network(
    cls: type[Model],
    config: Mapping[str, object],
    folder: Path,
    bits: Callable[[str], int | None] = lambda name: None,
) -> None:
    """Write a network of a class and config, with random weights, in the published layout.

    Args:
        cls, config: the network's.
        folder: created if needed.
        bits: 4 or 8 for a weight by its name, or None for float16; matrices whose row length is not a multiple of 64
            are float16, too.
    """
    network = cls.from_config(config)
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    matrices = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] % GROUP == 0]
    packed = {name: count for name in matrices if (count := bits(name)) is not None}
    rest = random_weights({name: shape for name, shape in shapes.items() if name not in packed})
    described = {QUANTIZATION: {"quant_method": METHOD, "weights_only": True, "group_size": GROUP}} if packed else {}
    write_config(folder, {**network.config, "_class_name": cls.__name__, **described})
    groups = _random_groups({name: (shapes[name], count) for name, count in packed.items()})
    save_file(Deferred({**rest, **groups}), folder / f"{cls.weights_name}.safetensors")


def _random_groups(weights: Mapping[str, tuple[tuple[int, ...], int]]) -> dict[str, Callable[[], NDArray[Any]]]:
    """Makers of matrices by group, as in `loading.group_files`: integers and scales; given shape and bits by name."""
    integers = np.random.Generator(np.random.PCG64(1)).integers(0, 256, _BLOCK, np.uint8)

    def made(name: str, shape: tuple[int, ...], bits: int, is_scale: bool) -> NDArray[Any]:
        outs, ins = shape
        if is_scale:
            return np.full((outs, ins // GROUP, 1), ins**-0.5 / _SPREAD[bits], np.float16)
        rolled = np.roll(integers, -(zlib.crc32(name.encode()) % _BLOCK))
        values = np.resize(rolled, (outs, ins // GROUP, GROUP * bits // 8))
        return values if bits == 4 else values.view(np.int8)

    return {
        name: partial(made, name, *weight, is_scale)
        for whole, weight in weights.items()
        for name, is_scale in zip(names_in_file(whole), (False, True))
    }


def random_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Callable[[], NDArray[np.float16]]]:
    """Makers of float16 tensors by name: norms near 1, the rest scaled to preserve the size of signals.

    No two are equal: compilers merge products of equal weights, and times would be too short.
    """
    normals = np.random.Generator(np.random.PCG64(0)).standard_normal(_BLOCK, np.float32)

    def made(name: str, shape: tuple[int, ...]) -> NDArray[np.float16]:
        rolled = np.roll(normals, -(zlib.crc32(name.encode()) % _BLOCK))
        if len(shape) == 1:
            values = 0.1 * np.resize(rolled, shape)
            return np.asarray(values + (1.0 if name.endswith("weight") else 0.0), np.float16)
        fan_in = int(np.prod(shape[1:]))
        return np.resize((rolled / np.sqrt(fan_in)).astype(np.float16), shape)

    return {name: partial(made, name, shape) for name, shape in shapes.items()}
