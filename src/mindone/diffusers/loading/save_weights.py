"""Writes a component's weights in the published layout: one safetensors file, or shards with an index."""

import inspect
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ..utils.files import make_folder, write_json
from ..utils.printable import shown
from .deferred import Deferred
from .safetensors import StoredTensor, save_file
from .upload import upload_folder
from .weights import weight_names

_UNITS = {"": 1, "B": 1} | {f"{letter}B": 1000**i for i, letter in enumerate("KMGT", 1)}
_UNITS |= {f"{letter}IB": 1024**i for i, letter in enumerate("KMGT", 1)}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) *([KMGT]?I?B|)")
_VARIANT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,50}")
LARGEST_SHARD = "10GB"


def save_weights(
    tensors: Mapping[str, StoredTensor],
    folder: str | os.PathLike[str],
    basename: str,
    variant: str | None = None,
    max_shard_size: int | str | None = None,
) -> None:
    """Write weights into a folder and remove an earlier call's files of these names.

    Args:
        tensors: by name; each is read twice, so they may be made on demand.
        folder: created if needed.
        basename: "diffusion_pytorch_model" (UNets, autoencoders) or "model" (CLIP).
        variant: such as "fp16", for ``basename.fp16.safetensors``.
        max_shard_size: the size limit of one file: bytes, or a text such as "10GB" (the default) or "500MiB". A larger
            tensor gets its own file.

    Raises:
        ValueError: ``variant`` or ``max_shard_size`` is invalid.
    """
    if variant is not None and not (isinstance(variant, str) and _VARIANT.fullmatch(variant)):
        raise ValueError(f'variant must be letters and digits such as "fp16", got {shown(variant)}')
    limit, folder = _bytes(LARGEST_SHARD if max_shard_size is None else max_shard_size), Path(folder)
    single, index = weight_names(basename, variant)
    shards: list[list[str]] = [[]]
    total = filled = 0
    for name in tensors:
        size = tensors[name].nbytes
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled, total = filled + size, total + size
    stem = single.removesuffix(".safetensors")
    files = [single]
    if len(shards) > 1:
        files = [f"{stem}-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    make_folder(folder)
    for file, names in zip(files, shards):
        save_file(Deferred({name: partial(tensors.__getitem__, name) for name in names}), folder / file)
    if len(shards) > 1:
        weight_map = {name: file for file, names in zip(files, shards) for name in names}
        write_json(folder / index, {"metadata": {"total_size": total}, "weight_map": weight_map})
    _remove_others(folder, stem, {*files, index} if len(shards) > 1 else set(files), index)


def saving_options(save: Callable[..., None], **options: object) -> dict[str, object]:
    """The options that a component's ``save_pretrained`` takes: a tokenizer has no variants."""
    taken = inspect.signature(save).parameters
    return {name: value for name, value in options.items() if name in taken}


def require_safe(safe_serialization: bool) -> None:
    """Raise ``ValueError`` if you ask for pickle files."""
    if not safe_serialization:
        raise ValueError("safe_serialization must be True: pickle files are not written, safetensors files are")


def check_upload(upload: Mapping[str, object]) -> None:
    """Raise ``ValueError`` for a keyword that uploads do not take, even without an upload."""
    known = ["repo_id", *(name for name in inspect.signature(upload_folder).parameters if name != "folder")]
    if strange := next((name for name in upload if name not in known), None):
        raise ValueError(f"save_pretrained has no argument {strange!r}; for push_to_hub it takes {', '.join(known)}")


def _remove_others(folder: Path, stem: str, written: set[str], index: str) -> None:
    """Remove the file, shards and index of an earlier call: a reader prefers one file to shards."""
    earlier = re.compile(rf"{re.escape(stem)}(?:-\d{{5}}-of-\d{{5}})?\.safetensors")
    for path in folder.iterdir():
        if path.name not in written and (path.name == index or earlier.fullmatch(path.name)):
            path.unlink()


def _bytes(size: int | str) -> int:
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    match = _SIZE.fullmatch(size.strip().upper()) if isinstance(size, str) else None
    number = 0 if match is None else int(float(match[1]) * _UNITS.get(match[2], 0))
    if number < 1:
        raise ValueError(f'max_shard_size must be bytes or a text such as "10GB", got {shown(size)}')
    return number
