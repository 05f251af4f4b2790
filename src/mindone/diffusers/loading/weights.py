"""The weights of one component: one safetensors file or several shards as one mapping, under today's names."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from ..utils.printable import shown
from .config import read_config
from .fields import listed, read_fields
from .key_maps import normalize_keys, normalize_tensor
from .safetensors import FLOATING, SafetensorsFile, StoredTensor, other_format

FILE_SUFFIXES = (".safetensors", ".gguf")
"""The supported single files."""
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_LONGEST_NAME = 255
"""Of files, in bytes, on all usual file systems."""


def names_file(name: str) -> bool:
    """Whether a name is that of a file of weights, also in a format that is not read, and no folder's or hub id."""
    return name.endswith(FILE_SUFFIXES) or other_format(name) is not None


def _shard_name(name: str) -> str:
    if Path(name).name != name or name in ("", ".", ".."):
        raise ValueError(f"a shard must be a file name in the index's folder, got {shown(name)}")
    if len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise ValueError(f"a shard's file name has at most {_LONGEST_NAME} bytes, got {shown(name)}")
    if (what := other_format(name)) is not None:
        raise ValueError(f"the shard {shown(name)} is {what}")
    return name


@dataclass(frozen=True)
class ShardIndex:
    """The fields of ``….safetensors.index.json``."""

    weight_map: dict[str, Annotated[str, AfterValidator(_shard_name)]]
    """The shard of every tensor."""


class TensorFile(Protocol):
    """A memory-mapped file."""

    def release(self) -> None:
        """Return its pages to the system; they page back in when read."""


class Weights(Mapping[str, StoredTensor]):
    """Tensors by name. Those from files are views of memory maps, read only on demand."""

    path: Path | None
    """The file, or the folder of the shards, for messages; None for weights made in memory."""

    def __init__(
        self,
        tensors: Mapping[str, StoredTensor],
        *,
        path: Path | None = None,
        files: Iterable[TensorFile] = (),
    ):
        self._tensors = dict(tensors)
        self._files = tuple(files)
        self.path = path

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> "Weights":
        """Weights made in memory."""
        return cls({name: StoredTensor.from_numpy(array) for name, array in arrays.items()})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Weights":
        """The weights of a single safetensors file."""
        file = SafetensorsFile(path)
        return cls(file, path=file.path, files=[file])

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        return f"Weights({len(self)} tensors from {self.source})"

    @property
    def source(self) -> str:
        """The origin of the weights, in words."""
        return str(self.path) if self.path is not None else "memory"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored."""
        return sum(tensor.nbytes for tensor in self.values())

    def release(self) -> None:
        """Return the pages of all files to the system; tensors stay valid and page back in when read."""
        for file in self._files:
            file.release()

    def renamed(self, rename: Callable[[str], str | None]) -> "Weights":
        """The same tensors under other names, without those for which `rename` returns None.

        Raises:
            ValueError: two tensors would get one name.
        """
        tensors: dict[str, StoredTensor] = {}
        for name, tensor in self.items():
            new_name = rename(name)
            if new_name in tensors:
                raise ValueError(
                    f"{self.source}: {shown(name)} and another tensor would both be called {shown(new_name)}"
                )
            if new_name is not None:
                tensors[new_name] = tensor
        return Weights(tensors, path=self.path, files=self._files)

    def normalized(self, model_class: str) -> "Weights":
        """The same tensors under the names and in the shapes that `model_class` has today (see `key_maps`)."""
        try:
            names = normalize_keys(self, model_class)
        except ValueError as error:
            raise ValueError(f"{self.source}: {error}") from None
        tensors = {name: normalize_tensor(name, self[stored], model_class) for name, stored in names.items()}
        return Weights(tensors, path=self.path, files=self._files)

    def check(self, expected: Mapping[str, tuple[int, ...]], owner: str) -> None:
        """Compare names and shapes with those of a network.

        Args:
            expected: the shape of every parameter by name.
            owner: the network's class, for the message.

        Raises:
            ValueError: some differ, or are whole numbers; the one line names missing, unexpected and wrong tensors.
        """
        missing = sorted(expected.keys() - self.keys())
        unexpected = sorted(self.keys() - expected.keys())
        wrong = [
            f"{name} is {_shape(self[name].shape)} instead of {_shape(shape)}"
            for name, shape in sorted(expected.items())
            if name in self and self[name].shape != tuple(shape)
        ]
        whole = [
            f"{name} is {self[name].dtype}"
            for name in sorted(expected.keys() & self.keys())
            if self[name].dtype not in (*FLOATING, "I8")  # int8 weights have scales, read separately
        ]
        kinds = {
            "missing": missing,
            "unexpected": unexpected,
            "of the wrong shape": wrong,
            "not of a floating-point type": whole,
        }
        problems = [f"{len(found)} {kind}: {listed(found)}" for kind, found in kinds.items() if found]
        if problems:
            raise ValueError(f"{self.source} does not fit the config of this {owner}: {'; '.join(problems)}")


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "a scalar"


def weight_names(basename: str, variant: str | None) -> tuple[str, str]:
    """The published names of a component's single file and of its shard index: `model.fp16.safetensors`, …"""
    dotted = f".{variant}" if variant else ""
    return f"{basename}{dotted}.safetensors", f"{basename}.safetensors.index{dotted}.json"


def find_weights(folder: Path, basename: str, variant: str | None) -> Path | None:
    """The single file or the shard index in a component's folder; None if it has neither in this variant."""
    single, index = weight_names(basename, variant)
    # Both orders of variant and "index" are in the wild.
    names = dict.fromkeys((single, index, f"{single}.index.json"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def open_weights(folder: str | os.PathLike[str], basename: str, variant: str | None = None) -> Weights:
    """Open a component's weights: `basename.safetensors`, or the shards in its index.

    Args:
        folder: the component's folder.
        basename: "diffusion_pytorch_model" (UNets, autoencoders) or "model" (CLIP).
        variant: such as "fp16", for `basename.fp16.safetensors`; None for the file without one.

    Raises:
        FileNotFoundError: no weights, not in this variant, or a shard is missing; the message lists what exists.
        ValueError: a file or the index is broken, or there are only pickle files.
    """
    folder = Path(folder)
    found = find_weights(folder, basename, variant)
    if found is not None:
        return _open_shards(folder, found) if found.suffix == ".json" else Weights.from_file(found)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    there = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    raise missing_weights(str(folder), there, [basename], variant)


def _open_shards(folder: Path, index_path: Path) -> Weights:
    weight_map = read_fields(ShardIndex, read_config(folder, index_path.name), str(index_path)).weight_map
    shards = sorted(set(weight_map.values()))
    absent = [shard for shard in shards if not (folder / shard).is_file()]
    if absent:
        raise FileNotFoundError(f"{index_path} names {listed(absent)}, but {folder} lacks it; fetch the missing shards")
    files = {shard: SafetensorsFile(folder / shard) for shard in shards}
    held = {name: shard for shard, file in files.items() for name in file}
    lacking = [f"{name} (in {shard})" for name, shard in weight_map.items() if name not in files[shard]]
    if lacking:
        raise ValueError(
            f"{index_path}: weight_map places tensors in shards that lack them: {listed(lacking)}; fetch them again"
        )
    unnamed = [f"{name} (in {shard})" for name, shard in held.items() if weight_map.get(name) != shard]
    if unnamed:
        raise ValueError(
            f"{index_path}: weight_map does not place tensors that its shards hold: {listed(unnamed)}; fetch it again"
        )
    return Weights({name: files[shard][name] for name, shard in weight_map.items()}, path=folder, files=files.values())


def missing_weights(where: str, there: Sequence[str], basenames: Sequence[str], variant: str | None) -> Exception:
    """The error for a component without weights, based on the names of its files."""
    wanted = " or ".join(weight_names(basename, variant)[0] for basename in basenames)
    variants = sorted({found for name in there for base in basenames if (found := _variant_of(name, base)) is not None})
    if variants and (variant or "") not in variants:
        known = ", ".join(f'variant="{found}"' if found else "variant=None" for found in variants[:10])
        return FileNotFoundError(f"no {wanted} in {where}: variant={variant!r} is not there; there is {known}")
    others = [name for name in there if other_format(name) is not None]
    if others:
        return ValueError(
            f"{where} has no safetensors weights, only {listed(others)}: other formats are not read (pickle files "
            "can run code); take a revision of the model that has safetensors, or convert the file to safetensors"
        )
    return FileNotFoundError(f"no {wanted} in {where}; it has {listed(there) or 'no files'}")


def _variant_of(name: str, basename: str) -> str | None:
    """The variant of a weights file: "" for none, None if the file holds no weights of this component."""
    if name.startswith(f"{basename}.safetensors.index"):
        middle = name.removeprefix(f"{basename}.safetensors.index").removesuffix(".json")
    elif name.startswith(basename) and name.endswith(".safetensors"):
        middle = _SHARD.sub("", name.removeprefix(basename).removesuffix(".safetensors"))
    else:
        return None
    if not middle:
        return ""
    return middle[1:] if middle.startswith(".") else None
