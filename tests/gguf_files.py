"""GGUF files as other programs write them, from arrays and from random blocks of the quantised types."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

from mindone.diffusers.loading.safetensors import StoredTensor

SCALES = {
    "Q8_0": (0,), "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
}  # fmt: skip
"""Where a block has its numbers in float16, by type."""
_LARGEST = {"Q8_0": 127, "Q4_0": 8, "Q4_1": 8, "Q5_0": 16, "Q5_1": 16, "Q2_K": 24, "Q3_K": 128, "Q4_K": 480,
            "Q5_K": 960, "Q6_K": 2000}  # fmt: skip
"""About what a scale is multiplied with."""


class Quantised(NamedTuple):
    """A tensor of a quantised type: (…, bytes of a row)."""

    kind: str
    blocks: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """What the gguf package makes of it."""
        return gguf.quants.dequantize(self.blocks, gguf.GGMLQuantizationType[self.kind])


def random_blocks(kind: str, *shape: int, seed: int = 0, largest: float = 0.1) -> Quantised:
    """Random integers, and scales of either sign that make values of about the ``largest``."""
    rng = np.random.default_rng(seed)
    weights, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    blocks = rng.integers(0, 256, (*shape[:-1], shape[-1] // weights, nbytes), np.uint8)
    for place in SCALES[kind]:
        signs = rng.choice([-1, 1], blocks.shape[:-1]) if place == SCALES[kind][0] and kind != "Q4_K" else 1
        scales = (signs * largest / _LARGEST[kind] * (0.5 + rng.random(blocks.shape[:-1]))).astype("<f2")
        blocks[..., place : place + 2] = scales[..., None].view(np.uint8)
    return Quantised(kind, blocks.reshape(*shape[:-1], -1))


def quantised(kind: str, values: np.ndarray) -> Quantised:
    """Values in the nearest blocks of a type; of the K types, which the gguf package does not write, random ones."""
    if kind.endswith("_K"):
        return random_blocks(kind, *values.shape, largest=float(np.abs(values).max()))
    return Quantised(kind, gguf.quants.quantize(values.astype(np.float32), gguf.GGMLQuantizationType[kind]))


def write_gguf(
    path: Path,
    tensors: Mapping[str, np.ndarray | Quantised | StoredTensor],
    architecture: str = "sd3",
    shapes: Mapping[str, tuple[int, ...]] = {},
    **entries: int | str,
) -> Path:
    """Write a file; ``shapes`` are those that ComfyUI's converter notes, ``entries`` further ones of the header."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in entries.items():
        (writer.add_uint32 if isinstance(value, int) else writer.add_string)(name.replace("__", "."), value)
    for name, shape in shapes.items():
        writer.add_array(f"comfy.gguf.orig_shape.{name}", [int(size) for size in shape])
    for name, values in tensors.items():
        if isinstance(values, Quantised):
            writer.add_tensor(name, values.blocks, raw_dtype=gguf.GGMLQuantizationType[values.kind])
        elif isinstance(values, StoredTensor) and values.dtype == "BF16":
            halves = values.data.reshape(*values.shape[:-1], -1)
            writer.add_tensor(name, halves, raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor(
                name, np.ascontiguousarray(values.numpy() if isinstance(values, StoredTensor) else values)
            )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
