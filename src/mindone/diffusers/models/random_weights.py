"""Networks with random weights, on disk: for measuring time and memory without a trained checkpoint."""

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..loading.config import write_config
from ..loading.safetensors import save_file
from .base import Model

_BLOCK = 1 << 20
"""The random numbers per scale; larger tensors repeat them."""


def write_random_network(cls: type[Model], config: Mapping[str, object], folder: Path) -> None:
    """Write a network of that class and config, with float16 weights, in the published layout."""
    network = cls.from_config(config)
    write_config(folder, {**network.config, "_class_name": cls.__name__})
    shapes = {name: tuple(parameter.shape) for name, parameter in network.parameters_and_names()}
    save_file(RandomWeights(shapes), folder / f"{cls.weights_name}.safetensors")


class RandomWeights(Mapping[str, NDArray[np.float16]]):
    """float16 tensors by name, made on demand: norms near 1, the rest scaled so that signals keep their size.

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
