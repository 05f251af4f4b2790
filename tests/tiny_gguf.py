"""Tiny models of Stable Diffusion 3 and 1 whose denoisers are in GGUF files, with every quantised type somewhere."""

import functools
import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np

from checkpoints import UNET, write_model
from gguf_files import Quantised, quantised, write_gguf
from mindone.diffusers import SD3Transformer2DModel, UNet2DConditionModel
from mindone.diffusers.families import convert
from mindone.diffusers.families.stable_diffusion_3.original import TRANSFORMER as LAYOUT
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.weights import Weights
from tiny_pipelines import checkpoint as tiny
from tiny_sd3 import TRANSFORMER
from tiny_sd3 import checkpoint as tiny_sd3

WIDE = {**TRANSFORMER, "attention_head_dim": 16, "num_attention_heads": 4, "caption_projection_dim": 64}
"""Rows of 64 values, and of 256 where the K types are."""
WIDE_UNET = {**UNET, "block_out_channels": [32, 64], "cross_attention_dim": 16, "norm_num_groups": 8}
_ROWS_OF_32 = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
_ROWS_OF_256 = ("Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K")
_WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
_folder = tempfile.TemporaryDirectory(prefix="tiny-gguf-")


def _quantised(tensors) -> dict[str, StoredTensor | Quantised]:
    """Matrices in one of the types that their rows allow, in turn."""
    turns = {256: itertools.cycle(_ROWS_OF_256), 32: itertools.cycle(_ROWS_OF_32)}
    made = dict(tensors)
    for name in sorted(tensors):
        values = tensors[name]
        size = next((size for size in turns if len(values.shape) == 2 and values.shape[1] % size == 0), None)
        if size is not None:
            made[name] = quantised(next(turns[size]), values.numpy(np.float32))
    return made


def _plain(tensors) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor.from_numpy(each.values.astype(np.float32)) if isinstance(each, Quantised) else each
        for name, each in tensors.items()
    }


@functools.cache
def folder() -> Path:
    """A checkpoint of Stable Diffusion 3.5 whose transformer is wide enough for blocks."""
    copy = Path(shutil.copytree(tiny_sd3(), Path(_folder.name) / "sd3"))
    write_model(SD3Transformer2DModel, WIDE, copy / "transformer")
    return copy


@functools.cache
def transformer_tensors() -> dict[str, StoredTensor | Quantised]:
    """Of its transformer, in the original layout."""
    return _quantised(LAYOUT.original(Weights.from_file(folder() / _WEIGHTS)))


@functools.cache
def transformer_file() -> Path:
    """The transformer alone, as ComfyUI's converter writes it: without a prefix."""
    return write_gguf(Path(_folder.name) / "sd3.gguf", transformer_tensors())


@functools.cache
def repository() -> Path:
    """A folder with that file under a published name."""
    copy = Path(_folder.name) / "repository"
    copy.mkdir()
    shutil.copy(transformer_file(), copy / "sd3.5_medium-Q8_0.gguf")
    return copy


@functools.cache
def widened_folder() -> Path:
    """The checkpoint with what the file's weights stand for, in float32."""
    copy = Path(shutil.copytree(folder(), Path(_folder.name) / "sd3-widened"))
    save_file(LAYOUT.ours(_plain(transformer_tensors())), copy / _WEIGHTS)
    return copy


@functools.cache
def sd1_files() -> tuple[Path, Path, Path]:
    """All of Stable Diffusion 1, as stable-diffusion.cpp writes it, the same widened in a safetensors file, and the
    folder with the configs of both."""
    copy = Path(shutil.copytree(tiny("sd1"), Path(_folder.name) / "sd1"))
    write_model(UNet2DConditionModel, WIDE_UNET, copy / "unet")
    whole = Path(_folder.name) / "sd1-whole.safetensors"
    convert.folder_to_file(copy, whole)
    file = SafetensorsFile(whole)
    names = {name: name.replace(".text_projection", ".text_model.text_projection") for name in file}
    tensors = _quantised({names[name]: tensor for name, tensor in file.items()})
    widened = Path(_folder.name) / "sd1-widened.safetensors"
    save_file(_plain(tensors), widened, file.metadata)
    return write_gguf(Path(_folder.name) / "sd1.gguf", tensors, "sd1"), widened, copy
