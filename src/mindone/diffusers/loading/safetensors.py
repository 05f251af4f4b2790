"""Safetensors files: a length, a JSON header of names, types, shapes and offsets, and one buffer of raw tensors.

The format is https://github.com/huggingface/safetensors#format. Files come from strangers: the safetensors library
checks every number of the header against the file, and each refusal becomes a one-line `ValueError` with the file's
name. Tensors are views of a read-only memory map: opening a checkpoint reads only its header, and `release` can return
the memory, which the library's own arrays do not offer.
"""

import functools
import json
import math
import mmap
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..utils.files import atomic_write, check_file
from ..utils.printable import printable, shown

AnyArray: TypeAlias = NDArray[Any]

MAX_DIMENSIONS = 32  # NumPy's limit

_NUMPY: dict[str, np.dtype[np.generic]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_FLOAT8 = ("F8_E4M3", "F8_E5M2")
ITEM_BYTES = {"BF16": 2} | dict.fromkeys(_FLOAT8, 1) | {name: dtype.itemsize for name, dtype in _NUMPY.items()}
FLOATING = ("F64", "F32", "F16", "BF16", *_FLOAT8)
"""The possible types of stored weights."""
_STORED = {dtype.newbyteorder("="): name for name, dtype in _NUMPY.items()}
_FLOATS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor as stored in a file: its type, its shape, and its bytes, usually a view of a memory map."""

    dtype: str
    """The name of the type in the safetensors format: F32, F16, BF16, I64 …"""
    shape: tuple[int, ...]
    data: NDArray[np.uint8]
    """The bytes, one-dimensional, little-endian."""

    @property
    def makes_data(self) -> bool:
        """Whether each access to ``data`` makes a new copy."""
        return False

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.data.nbytes

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def numpy(self, dtype: DTypeLike | None = None) -> AnyArray:
        """The tensor as an array in `dtype` or its own type; read-only and without a copy if that is the stored type.

        NumPy has no bfloat16: such a tensor becomes float32, which holds every bfloat16 exactly. Nor does it have
        float8: such a tensor becomes float16, which holds every float8 exactly.
        """
        if self.dtype == "BF16":
            widened = self.data.view("<u2").astype(np.uint32)
            widened <<= 16
            array: AnyArray = widened.view(np.float32).reshape(self.shape)
        elif self.dtype in _FLOAT8:
            array = _float8_values(self.dtype)[self.data].reshape(self.shape)
        else:
            array = self.data.view(_NUMPY[self.dtype]).reshape(self.shape)
            if not array.flags.aligned:
                array = array.copy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def cast(self, dtype: str) -> "StoredTensor":
        """The tensor in "float32", "float16" or "bfloat16", rounded to nearest even; itself if it already is."""
        stored = _FLOATS[dtype]
        if stored == self.dtype:
            return self
        if stored != "BF16":
            # A value beyond float16's range becomes an infinity, as the conversion intends.
            with np.errstate(over="ignore"):
                return StoredTensor.from_numpy(self.numpy(dtype))
        bits = np.ascontiguousarray(self.numpy(np.float32)).reshape(-1).view(np.uint32)
        rounded = bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))
        is_nan = (bits & 0x7FFFFFFF) > 0x7F800000
        rounded[is_nan] = bits[is_nan] | 0x00400000  # keep NaN a NaN: rounding could carry it into an infinity
        halves = (rounded >> 16).astype("<u2")
        return StoredTensor("BF16", self.shape, halves.view(np.uint8))

    def reshape(self, shape: tuple[int, ...]) -> "StoredTensor":
        """The same bytes in another shape with the same number of elements."""
        if math.prod(shape) != self.size:
            raise ValueError(f"a tensor of shape {self.shape} cannot be reshaped to {shape}")
        return StoredTensor(self.dtype, shape, self.data)

    def rows(self, begin: int, end: int) -> "StoredTensor":
        """The slice ``[begin:end]`` along the first axis, as a view of the same bytes."""
        self.check_rows(begin, end)
        row_bytes = self.nbytes // self.shape[0] if self.shape[0] else 0
        return StoredTensor(self.dtype, (end - begin, *self.shape[1:]), self.data[begin * row_bytes : end * row_bytes])

    def check_rows(self, begin: int, end: int) -> None:
        """Raise ValueError unless it has these rows."""
        if not 0 <= begin <= end <= self.shape[0]:
            raise ValueError(f"a tensor of shape {self.shape} has no rows {begin} to {end}")

    @classmethod
    def from_numpy(cls, array: AnyArray) -> "StoredTensor":
        """Wrap an array, without a copy if it is contiguous and little-endian.

        Raises:
            ValueError: the array's type has no safetensors counterpart.
        """
        array = np.asarray(array)
        if array.dtype.name == "bfloat16":  # ml_dtypes, registered by other libraries
            halves = np.ascontiguousarray(array).reshape(-1).view("<u2")
            return cls("BF16", array.shape, halves.view(np.uint8))
        name = _STORED.get(array.dtype.newbyteorder("="))
        if name is None:
            raise ValueError(
                f"arrays of type {array.dtype} cannot be stored; use one of {', '.join(map(str, _STORED))}"
            )
        flat = np.ascontiguousarray(array, dtype=_NUMPY[name]).reshape(-1)
        return cls(name, array.shape, flat.view(np.uint8))


class MadeTensor(StoredTensor):
    """A tensor with a known type and shape whose ``data`` a subclass computes at each access, so that memory holds no
    copy."""

    def __init__(self, dtype: str, shape: Sequence[int]):
        self.__dict__.update(dtype=dtype, shape=tuple(shape))  # the class is frozen

    @property
    def makes_data(self) -> bool:
        """True."""
        return True

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.size * ITEM_BYTES[self.dtype]


class Float8Tensor(MadeTensor):
    """A float8 tensor of a file that appears in a wider type: float16, or float32 if it has a scale.

    Its bytes stay in the file.
    """

    def __init__(self, stored: StoredTensor, scale: AnyArray | None = None):
        super().__init__("F16" if scale is None else "F32", stored.shape)
        self._stored, self._scale = stored, scale

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes of the wider tensor, one-dimensional, little-endian."""
        values = self._stored.numpy()
        if self._scale is not None:
            per_row = self._scale.reshape(-1, *[1] * (values.ndim - 1)) if self._scale.size > 1 else self._scale
            values = values.astype(np.float32) * per_row.astype(np.float32)
        return np.ascontiguousarray(values).reshape(-1).view(np.uint8)

    def reshape(self, shape: tuple[int, ...]) -> StoredTensor:
        """The same tensor in another shape, still in the file; with a scale per row, the rows must stay the same."""
        if self._scale is not None and self._scale.size > 1 and shape[:1] != self.shape[:1]:
            return super().reshape(shape)
        return Float8Tensor(self._stored.reshape(shape), self._scale)

    def rows(self, begin: int, end: int) -> StoredTensor:
        """The slice ``[begin:end]`` along the first axis, still in the file."""
        per_row = self._scale is not None and self._scale.size > 1
        scale = self._scale.reshape(-1)[begin:end] if self._scale is not None and per_row else self._scale
        return Float8Tensor(self._stored.rows(begin, end), scale)


class LaterTensor(MadeTensor):
    """A tensor that a function makes.

    Args:
        dtype, shape: see `StoredTensor`.
        make: returns a tensor of that type and shape.
    """

    def __init__(self, dtype: str, shape: Sequence[int], make: Callable[[], StoredTensor]):
        super().__init__(dtype, shape)
        self._make = make

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes, one-dimensional, little-endian."""
        return self._make().data


@functools.cache
def _float8_values(dtype: str) -> NDArray[np.float16]:
    """The value of each byte in a float8 type (Micikevicius et al. 2022, arXiv 2209.05433, table 1)."""
    codes = np.arange(256, dtype=np.uint16)
    if dtype == "F8_E5M2":  # the upper half of a float16
        return (codes << 8).view(np.float16)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent, mantissa = (codes >> 3) & 0xF, codes & 7
    magnitude = np.where(exponent == 0, mantissa * 2.0**-9, (1 + mantissa / 8) * 2.0 ** (exponent.astype(float) - 7))
    magnitude[codes & 0x7F == 0x7F] = np.nan  # there are no infinities
    values: NDArray[np.float16] = (sign * magnitude).astype(np.float16)
    return values


class _Entry(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


_SCALES = ("scale_weight", "weight_scale")
"""ComfyUI's names of the scale beside a float8 ``weight``: the old one, and today's."""
_BESIDE_FLOAT8 = (*_SCALES, "scale_input", "input_scale", "comfy_quant")
_QUANTIZED, _FLOAT8_FORMATS = ".comfy_quant", ("float8_e4m3fn", "float8_e5m2")
_SCALED_MARK = "scaled_fp8"
"""The tensor that marks a file, or a part of it, as having scales."""


class SafetensorsFile(Mapping[str, StoredTensor]):
    """The tensors of one safetensors file by name, as views of its memory map.

    The views stay valid as long as you hold one, even after this object is gone. Weights in float8 appear in a wider
    type (`Float8Tensor`), multiplied by the scale that ComfyUI writes beside them. Its other tensors there, which only
    products in float8 need, are skipped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, inconsistent, or in another format.
    """

    path: Path
    metadata: dict[str, str]
    """The free-form strings of the header, such as `{"format": "pt"}`."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        check_file(self.path)
        with self.path.open("rb") as file:
            start = file.read(8)
            self.metadata, self._entries = _read_header(self.path)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        buffer_begin = 8 + int.from_bytes(start, "little")
        self._buffer = np.frombuffer(self._map, dtype=np.uint8)[buffer_begin:]
        self._scales = self._take_scales()

    @functools.cached_property
    def types(self) -> Mapping[str, str]:
        """Each tensor's type in the file: F32, F8_E4M3 …"""
        return {name: entry.dtype for name, entry in self._entries.items()}

    @functools.cached_property
    def nbytes(self) -> Mapping[str, int]:
        """Each tensor's bytes in the file."""
        return {name: entry.end - entry.begin for name, entry in self._entries.items()}

    def __getitem__(self, name: str) -> StoredTensor:
        stored = self._stored(name)
        return Float8Tensor(stored, self._scales.get(name)) if stored.dtype in _FLOAT8 else stored

    def _stored(self, name: str) -> StoredTensor:
        entry = self._entries[name]
        return StoredTensor(entry.dtype, entry.shape, self._buffer[entry.begin : entry.end])

    def _take_scales(self) -> dict[str, AnyArray]:
        """The scales of float8 weights by the weights' names; this removes all entries beside such weights."""
        for name in [name for name in self._entries if name.endswith(_QUANTIZED)]:
            self._check_format(name)
        scales: dict[str, AnyArray] = {}
        for weight in [name for name, entry in self._entries.items() if entry.dtype in _FLOAT8]:
            module = weight.removesuffix("weight")
            if module == weight:
                continue
            scale = next((module + name for name in _SCALES if module + name in self._entries), None)
            if scale is not None:
                scales[weight] = self._scale(scale, self._entries[weight])
            for name in _BESIDE_FLOAT8:
                self._entries.pop(module + name, None)
        for name in [name for name in self._entries if name.rpartition(".")[2] == _SCALED_MARK]:
            del self._entries[name]
        return scales

    def _scale(self, name: str, weight: _Entry) -> AnyArray:
        scale = self._stored(name)
        rows = weight.shape[0] if weight.shape else 1
        if scale.dtype not in FLOATING or (scale.size != 1 and scale.shape not in ((rows,), (rows, 1))):
            raise ValueError(
                f"{self.path}: the scale {shown(name)} is {scale.dtype} of shape {shown(scale.shape)}; it must be "
                "one number, or one for each row of the weight"
            )
        return scale.numpy()

    def _check_format(self, name: str) -> None:
        """Refuse a weight that ComfyUI has quantised in an unsupported way."""
        try:
            parsed = json.loads(self._stored(name).data[:1000].tobytes())
            kind = parsed.get("format") if isinstance(parsed, dict) else parsed
        except (ValueError, RecursionError):
            kind = None
        weight = self._entries.get(name.removesuffix(_QUANTIZED) + ".weight")
        if kind not in _FLOAT8_FORMATS or weight is None or weight.dtype not in _FLOAT8:
            raise ValueError(
                f"{self.path}: {shown(name)} declares a weight quantised as {shown(kind)}, which is not supported; "
                f"supported: {', '.join(_FLOAT8_FORMATS)}"
            )

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def release(self) -> None:
        """Return the file's pages to the system (not on Windows). Views stay valid and page back in when read."""
        if hasattr(self._map, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def __repr__(self) -> str:
        return f"SafetensorsFile({str(self.path)!r}, {len(self)} tensors)"


def _read_header(path: Path) -> tuple[dict[str, str], dict[str, _Entry]]:
    """Metadata and entries of a file, checked by the safetensors library."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as checked:
            entries: dict[str, _Entry] = {}
            position = 0  # a checked file has no holes
            for name in checked.offset_keys():
                tensor = checked.get_slice(name)
                entry = _entry(tensor.get_dtype(), tuple(tensor.get_shape()), position, f"{path}: tensor {shown(name)}")
                entries[name], position = entry, entry.end
            return checked.metadata() or {}, entries
    except SafetensorError as error:
        refuse_other_formats(path)
        reason = " ".join(str(error).split()).removeprefix("Error while deserializing header: ")
        reason = printable(reason.encode("ascii", "backslashreplace").decode())[:120]
        raise ValueError(f"{path} is broken or not a safetensors file ({reason}); fetch or export it again") from None


def _entry(dtype: str, shape: tuple[int, ...], begin: int, tensor: str) -> _Entry:
    if dtype not in ITEM_BYTES:
        raise ValueError(f"{tensor} has the unknown dtype {dtype}; supported: {', '.join(ITEM_BYTES)}")
    # An empty tensor could carry sizes that NumPy cannot count.
    if len(shape) > MAX_DIMENSIONS or math.prod(size or 1 for size in shape) * ITEM_BYTES[dtype] >= 2**63:
        raise ValueError(f"{tensor} has the shape {shown(shape)}, which is too large")
    return _Entry(dtype, shape, begin, begin + math.prod(shape) * ITEM_BYTES[dtype])


def refuse_other_formats(path: Path) -> None:
    """Name the format of a file if its first bytes, or else its name, show that it is not a safetensors file.

    Raises:
        ValueError: the file has another known format.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if len(start) > 8 and int.from_bytes(start[:8], "little") <= min(path.stat().st_size, _LONGEST_HEADER):
        return
    for magic, what in _OTHER_FORMATS:
        if start.lower().startswith(magic):
            raise ValueError(f"{path} is {what}")
    refuse_other_name(str(path))


def refuse_other_name(name: str) -> None:
    """Raise ``ValueError`` if a file's name says that it has another known format."""
    if (what := other_format(name)) is not None:
        raise ValueError(f"{name} is {what}")


def other_format(name: str) -> str | None:
    """What a file is by its name, such as "an HDF5 file, …"; None for safetensors, GGUF and unknown names."""
    return _OTHER_SUFFIXES.get(Path(name).suffix)


_LONGEST_HEADER = 100_000_000  # the format's limit
_PICKLE = "a pickle file, which can run code and is not read; take the .safetensors file or convert it"
_HDF5 = "an HDF5 file, which is not read; take the model's .safetensors file"
_OTHER_SUFFIXES = {
    ".bin": _PICKLE,
    ".ckpt": _PICKLE,
    ".pt": _PICKLE,
    ".pth": _PICKLE,
    ".msgpack": "a Flax file, which is not read; take the model's .safetensors file",
    ".h5": _HDF5,
}
_PICTURE = "a picture, no checkpoint; take the model's .safetensors file"
_OTHER_FORMATS = (
    (b"gguf", "a GGUF file, which only from_single_file reads: of a pipeline, or of its denoiser"),
    (b"ggml", "a GGML file, which is not read; take the model's .safetensors file"),
    (b"pk\x03\x04", _PICKLE),
    (b"\x80", _PICKLE),
    (b"\x89hdf", _HDF5),
    (b"\x89png", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"riff", _PICTURE),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"rar!", "a RAR archive; unpack it"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\x08\x07\x12", "an ONNX model, which is not read; take the model's .safetensors file"),
    (b"\x08\x08\x12", "an ONNX model, which is not read; take the model's .safetensors file"),
    (b"version ", "a Git LFS pointer, not the file itself; run `git lfs pull` or fetch it again"),
    (b"<!doc", "a web page, not the file itself; fetch it again"),
    (b"<html", "a web page, not the file itself; fetch it again"),
    (b"<?xml", "a web page, not the file itself; fetch it again"),
    (b"{", "a JSON text, no weights; take the model's .safetensors file"),
)
"""The first bytes in lower case, and the description of a file that begins with them."""


def save_file(
    tensors: Mapping[str, AnyArray | StoredTensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors to a safetensors file one by one, so that memory never holds a second copy of them all.

    This reads each tensor twice (type and shape, then bytes), both times in the mapping's order, so a mapping may make
    them on demand, several at a time. The file appears complete or not at all. `metadata` defaults to
    `{"format": "pt"}`, which transformers requires.

    Raises:
        ValueError: an array's type has no safetensors counterpart, or a name is `__metadata__`.
    """
    kinds: list[tuple[str, str, tuple[int, ...], int]] = []
    for name in tensors:
        if name == "__metadata__":
            raise ValueError(f"cannot write {path}: a tensor must not be called __metadata__")
        tensor = _stored(tensors[name])
        kinds.append((name, tensor.dtype, tensor.shape, tensor.nbytes))
    # Wide types first, as in the reference: this aligns every tensor to its type.
    layout = sorted(kinds, key=lambda item: (-ITEM_BYTES[item[1]], item[0]))

    header: dict[str, object] = {"__metadata__": dict(metadata) if metadata is not None else {"format": "pt"}}
    position, begins = 0, dict.fromkeys(tensors, 0)
    for name, dtype, shape, nbytes in layout:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + nbytes]}
        begins[name], position = position, position + nbytes
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    encoded += b" " * (-len(encoded) % 8)

    with atomic_write(path) as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for name, dtype, shape, _ in kinds:
            tensor = _stored(tensors[name])
            file.seek(8 + len(encoded) + begins[name])
            if (tensor.dtype, tensor.shape) != (dtype, shape):
                raise ValueError(f"cannot write {path}: tensor {shown(name)} changed while it was being written")
            file.write(tensor.data.data)


def _stored(tensor: AnyArray | StoredTensor) -> StoredTensor:
    return tensor if isinstance(tensor, StoredTensor) else StoredTensor.from_numpy(tensor)
