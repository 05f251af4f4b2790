"""Tiny models of three families whose denoisers are in GGUF files, with every quantised type somewhere."""

import functools
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tiny_flux
import tiny_sd3
from checkpoints import UNET, UNETS, random_weights, shapes_of, write_model
from gguf_files import Quantised, quantised, write_gguf
from mindone.diffusers import FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from mindone.diffusers.families import convert
from mindone.diffusers.families.flux import original as flux
from mindone.diffusers.families.stable_diffusion.original_unet import UNET as UNET_LAYOUT
from mindone.diffusers.families.stable_diffusion_3 import original as stable_diffusion_3
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.weights import Weights
from tiny_pipelines import checkpoint as tiny

_WIDER = {"attention_head_dim": 16, "num_attention_heads": 4}
WIDE = {
    "sd3": {**tiny_sd3.TRANSFORMER, **_WIDER, "caption_projection_dim": 64},
    "flux": {**tiny_flux.TRANSFORMER, **_WIDER},
}
"""Rows of 64 values, and of 256 where the K types are."""
_NETWORKS = {"sd3": SD3Transformer2DModel, "flux": FluxTransformer2DModel}
_LAYOUTS = {"sd3": stable_diffusion_3.TRANSFORMER, "flux": flux.TRANSFORMER}
_TINY = {"sd3": tiny_sd3.checkpoint, "flux": tiny_flux.checkpoint}
WIDE_UNET = {**UNET, "block_out_channels": [32, 64], "cross_attention_dim": 16, "norm_num_groups": 8}
_LINEAR = {**WIDE_UNET, "use_linear_projection": True, "attention_head_dim": [1, 1]}
WIDE_UNETS = {
    "sd1": {**WIDE_UNET, "attention_head_dim": 8},
    "sd2": {**_LINEAR, "cross_attention_dim": 1024},
    "sdxl": {
        **UNETS["sdxl"],
        **_LINEAR,
        **{name: UNETS["sdxl"][name] for name in ("down_block_types", "up_block_types")},
    },
}
"""With the heads that shapes tell."""
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


def folder(family: str = "sd3") -> Path:
    """A checkpoint of Stable Diffusion 3.5 or FLUX.1 whose transformer is wide enough for blocks."""
    return _made(family, "folder")


def transformer_file(family: str = "sd3") -> Path:
    """The transformer alone, as ComfyUI's converter writes it: in the original layout, without a prefix."""
    return _made(family, "file")


def published_file(family: str = "sd3") -> Path:
    """The same blocks under the names that diffusers has for them."""
    return _made(family, "published file")


def widened_folder(family: str = "sd3") -> Path:
    """The checkpoint with what the file's weights stand for, in float32."""
    return _made(family, "widened folder")


def repository(family: str = "sd3", name: str = "sd3.5_medium-Q8_0.gguf") -> Path:
    """A folder with the transformer's file under a published name."""
    copy = Path(_folder.name) / f"{family}-repository"
    copy.mkdir(exist_ok=True)
    shutil.copy(transformer_file(family), copy / name)
    return copy


@functools.cache
def transformer_tensors(family: str) -> dict[str, StoredTensor | Quantised]:
    """Of a transformer, in the original layout."""
    return _quantised(_LAYOUTS[family].original(Weights.from_file(folder(family) / _WEIGHTS)))


@functools.cache
def _made(family: str, what: str) -> Path:
    suffix = ".gguf" if what.endswith("file") else ""
    path, layout = Path(_folder.name) / f"{family}-{what}{suffix}".replace(" ", "-"), _LAYOUTS[family]
    if what == "folder":
        shutil.copytree(_TINY[family](), path)
        write_model(_NETWORKS[family], WIDE[family], path / "transformer")
    elif what == "widened folder":
        shutil.copytree(folder(family), path)
        save_file(layout.ours(_plain(transformer_tensors(family))), path / _WEIGHTS)
    elif what == "file":
        write_gguf(path, transformer_tensors(family), family)
    else:
        write_gguf(path, dict(_published(transformer_tensors(family), layout)), family)
    return path


def _published(tensors, layout) -> Iterator[tuple[str, StoredTensor | Quantised]]:
    """Rows of bytes are renamed, taken apart and put together as rows of numbers are."""
    for name, each in tensors.items():
        rows = StoredTensor.from_numpy(each.blocks) if isinstance(each, Quantised) else each
        for ours, part in layout.ours({name: rows}).items():
            yield ours, Quantised(each.kind, part.numpy()) if isinstance(each, Quantised) else part


def unet_file(family: str, folder: Path, by: str) -> tuple[Path, dict[str, np.ndarray]]:
    """The UNet of a Stable Diffusion alone, as ComfyUI's converter or stable-diffusion.cpp writes it, and its values by
    our names."""
    weights = Weights.from_arrays(random_weights(shapes_of(UNet2DConditionModel(**WIDE_UNETS[family]))))
    tensors = dict(UNET_LAYOUT.original(weights))
    if by == "stable-diffusion.cpp":  # for which the projections of all versions are 1×1 convolutions
        for name in [name for name in tensors if name.endswith((".proj_in.weight", ".proj_out.weight"))]:
            tensors[name] = tensors[name].reshape((*tensors[name].shape[:2], 1, 1))
    made = _quantised(tensors)
    prefix = "model.diffusion_model." if by == "stable-diffusion.cpp" else ""
    path = write_gguf(folder / f"{family}.gguf", {prefix + name: each for name, each in made.items()}, family)
    values = UNET_LAYOUT.ours(_plain(made))
    return path, {name: values[name].numpy().reshape(weights[name].shape) for name in weights}


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
