"""Writes networks with random weights to disk, to measure time and memory without a trained checkpoint."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..loading.config import write_config
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
    rest = RandomWeights({name: shape for name, shape in shapes.items() if name not in packed})
    described = {QUANTIZATION: {"quant_method": METHOD, "weights_only": True, "group_size": GROUP}} if packed else {}
    write_config(folder, {**network.config, "_class_name": cls.__name__, **described})
    groups = RandomGroups({name: shapes[name] for name in packed}, packed)
    save_file(_Both(rest, groups), folder / f"{cls.weights_name}.safetensors")


class _Both(Mapping[str, NDArray[Any]]):
    """Two mappings without a common name, read one tensor at a time."""

    def __init__(self, first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]):
        self.first, self.second = first, second

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.first[name] if name in self.first else self.second[name]

    def __iter__(self) -> Iterator[str]:
        yield from self.first
        yield from self.second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __contains__(self, name: object) -> bool:
        return name in self.first or name in self.second


class RandomGroups(Mapping[str, NDArray[Any]]):
    """Matrices in 4 or 8 bits by group, made on demand, as in `loading.group_files`: integers and scales."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], bits: Mapping[str, int]):
        self.shapes, self.bits = shapes, bits
        self.integers = np.random.Generator(np.random.PCG64(1)).integers(0, 256, _BLOCK, np.uint8)
        self.weights = {each: name for name in shapes for each in names_in_file(name)[:2]}

    def __getitem__(self, name: str) -> NDArray[Any]:
        weight = self.weights[name]
        (outs, ins), bits = self.shapes[weight], self.bits[weight]
        if name != names_in_file(weight)[0]:
            return np.full((outs, ins // GROUP, 1), ins**-0.5 / _SPREAD[bits], np.float16)
        integers = np.roll(self.integers, -(zlib.crc32(name.encode()) % _BLOCK))
        made = np.resize(integers, (outs, ins // GROUP, GROUP * bits // 8))
        return made if bits == 4 else made.view(np.int8)

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)

    def __contains__(self, name: object) -> bool:
        return name in self.weights


class RandomWeights(Mapping[str, NDArray[np.float16]]):
    """float16 tensors by name, made on demand: norms near 1, the rest scaled to preserve the size of signals.

    No two are equal: compilers merge products of equal weights, and times would be too short.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = shapes
        self.normals = np.random.Generator(np.random.PCG64(0)).standard_normal(_BLOCK, np.float32)

    def __getitem__(self, name: str) -> NDArray[np.float16]:
        shape = self.shapes[name]
        start = zlib.crc32(name.encode()) % _BLOCK
        normals = np.roll(self.normals, -start)
        if len(shape) == 1:
            values = 0.1 * np.resize(normals, shape)
            return np.asarray(values + (1.0 if name.endswith("weight") else 0.0), np.float16)
        fan_in = int(np.prod(shape[1:]))
        return np.resize((normals / np.sqrt(fan_in)).astype(np.float16), shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)
