"""GGUF files: the weights of one network or of a whole pipeline in blocks of 2 to 8 bits, as llama.cpp's tools, ComfyUI
and stable-diffusion.cpp write them.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The gguf package reads the header and trusts
it; this module checks it, as files come from strangers. Tensors are views of a memory map; quantised ones are unpacked
on demand to integers by group, into a temporary file whose pages the system can reclaim like the map's.
"""

from __future__ import annotations

import math
import mmap
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..utils.errors import one_line
from ..utils.files import check_file
from ..utils.printable import shown
from ..utils.scratch import Scratch
from .gguf_blocks import TYPES, BlockType, Unpacked, unpacked
from .groups import Floats, GroupedTensor, Integers
from .safetensors import ITEM_BYTES, AnyArray, LaterTensor, StoredTensor, refuse_other_formats

if TYPE_CHECKING:
    from gguf import GGUFReader

MAGIC = b"GGUF"
MOST_READS = 400_000
"""The most values in a header: image models have thousands, a language model's vocabulary more."""
MOST_DIMENSIONS = 4
"""The format's limit."""
_PLAIN = ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64")
"""The types without blocks, which `StoredTensor` calls the same."""
_SHAPES = "comfy.gguf.orig_shape."
"""The prefix of the keys where ComfyUI's converter stores the original shapes of tensors that it reshaped."""


class Blocks:
    """The blocks of one tensor, unpacked once."""

    def __init__(self, kind: BlockType, data: NDArray[np.uint8], scratch: Scratch):
        self.kind, self._data, self._scratch = kind, data, scratch
        self._lock = threading.Lock()

    def unpacked(self) -> Unpacked:
        """The groups of all blocks."""
        with self._lock:
            return self._kept

    @cached_property
    def _kept(self) -> Unpacked:
        packed, scale, zero_point = unpacked(self.kind, self._data)
        keep = self._scratch.keep
        return Unpacked(keep(packed), keep(scale), None if zero_point is None else keep(zero_point))

    def widened(self) -> StoredTensor:
        """All values in one row, float32, computed each time: for tensors whose rows do not hold whole groups, such as
        a vector or a small kernel."""
        packed, scale, zero_point = unpacked(self.kind, self._data)
        shape = (1, len(scale) * self.kind.group)
        zero = None if zero_point is None else zero_point[None]
        return GroupedTensor(shape, self.kind.bits, self.kind.signed, packed[None], scale[None], zero)


class BlockTensor(GroupedTensor):
    """A tensor of a quantised type whose rows hold whole groups; it is unpacked on demand.

    Args:
        blocks: those of the tensor, or of a larger one that it is a part of.
        shape: (out, in, …).
        first: the index of its first group.
    """

    def __init__(self, blocks: Blocks, shape: Sequence[int], first: int = 0):
        self._describe(shape, blocks.kind.bits, blocks.kind.signed)
        per_row = math.prod(shape[1:]) // blocks.kind.group
        self._blocks, self._first, self._groups = blocks, first, (self.shape[0], per_row)

    def _of(self, values: AnyArray) -> AnyArray:
        outs, per_row = self._groups
        return values[self._first : self._first + outs * per_row].reshape(outs, per_row, -1)

    @property
    def group_size(self) -> int:
        """The number of values that share a scale."""
        return self._blocks.kind.group

    @property
    def packed(self) -> Integers:
        """See `GroupedTensor`."""
        return self._of(self._blocks.unpacked().packed)

    @property
    def scale(self) -> Floats:
        """See `GroupedTensor`."""
        return self._of(self._blocks.unpacked().scale)

    @property
    def zero_point(self) -> Floats | None:
        """See `GroupedTensor`."""
        zero_point = self._blocks.unpacked().zero_point
        return None if zero_point is None else self._of(zero_point)

    def reshape(self, shape: tuple[int, ...]) -> StoredTensor:
        """The same tensor in another shape, still in blocks if the rows stay the same."""
        if shape[:1] != self.shape[:1] or len(shape) < 2 or math.prod(shape) != self.size:
            return super().reshape(shape)
        return BlockTensor(self._blocks, shape, self._first)

    def rows(self, begin: int, end: int) -> StoredTensor:
        """The slice ``[begin:end]`` along the first axis, still in blocks."""
        self.check_rows(begin, end)
        first = self._first + begin * self._groups[1]
        return BlockTensor(self._blocks, (end - begin, *self.shape[1:]), first)


class GGUFFile(Mapping[str, StoredTensor]):
    """The tensors of a GGUF file by name, as views of its memory map.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is truncated, inconsistent, or in another format, or a tensor has an
            unsupported type; one line names the file and the tensor.
    """

    path: Path
    architecture: str | None
    """The model's architecture according to the file: "flux", "sd3", "sdxl"; None if it names none."""
    metadata: Mapping[str, str] = {}
    """The free-form strings of a safetensors file; a GGUF file has none that we read."""
    types: Mapping[str, str]
    """Each tensor's type in the format's terms: Q4_K, F16 …"""
    nbytes: Mapping[str, int]
    """Each tensor's bytes in the file."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        check_file(self.path)
        with self.path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                refuse_other_formats(self.path)
                raise ValueError(f"{self.path} is broken or not a GGUF file; fetch it again")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        reader, begin, infos = _read_header(self.path)
        self.architecture = _text(reader, "general.architecture")
        if (parts := _number(reader, "split.count")) not in (None, 0, 1):
            raise ValueError(f"{self.path} is one of {parts} parts; merge them with `llama-gguf-split --merge`")
        buffer = np.frombuffer(self._map, np.uint8)
        entries = [_entry(self.path, reader, info, begin, buffer) for info in infos]
        self._scratch = Scratch()
        self.types = {each.name: each.type for each in entries}
        self.nbytes = {each.name: len(each.data) for each in entries}
        self._tensors = {each.name: self._tensor(each) for each in entries}

    def _tensor(self, entry: _Entry) -> StoredTensor:
        if entry.kind is None:
            return StoredTensor(entry.type, entry.shape, entry.data)
        blocks = Blocks(entry.kind, entry.data, self._scratch)
        is_even = len(entry.shape) > 1 and math.prod(entry.shape[1:]) % entry.kind.group == 0
        return BlockTensor(blocks, entry.shape) if is_even else LaterTensor("F32", entry.shape, blocks.widened)

    def __getitem__(self, name: str) -> StoredTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def release(self) -> None:
        """Return the pages of the file and of the unpacked values to the system; everything stays valid."""
        self._scratch.release()
        if hasattr(self._map, "madvise") and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def __repr__(self) -> str:
        return f"GGUFFile({str(self.path)!r}, {len(self)} tensors)"


class _Entry:
    """A tensor's entry in the header, checked."""

    def __init__(self, name: str, kind: str, shape: tuple[int, ...], data: NDArray[np.uint8]):
        self.name, self.type, self.shape, self.data = name, kind, shape, data
        self.kind = TYPES.get(kind)


def _entry(path: Path, reader: GGUFReader, info: Any, begin: int, buffer: NDArray[np.uint8]) -> _Entry:
    """A tensor's entry in the header, from the package's field."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    number, offset = int(info.parts[4][0]), int(info.parts[5][0])
    tensor = f"{path}: tensor {shown(info.name)}"
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise ValueError(f"{tensor} has the unknown type {number}; the file may be broken, or too new") from None
    if kind.name not in _PLAIN and kind.name not in TYPES:
        raise ValueError(f"{tensor} has unsupported type {kind.name}; supported: {', '.join(TYPES)}, F16, BF16, F32")
    stored = tuple(int(size) for size in reversed(info.parts[3].tolist()[: MOST_DIMENSIONS + 1]))
    weights, nbytes = GGML_QUANT_SIZES[kind]
    is_even = weights == 1 or (stored and stored[-1] % weights == 0)
    if len(stored) > MOST_DIMENSIONS or 0 in stored or not is_even:
        raise ValueError(f"{tensor} has the shape {shown(stored)}, which {kind.name} cannot have; fetch it again")
    size = math.prod(stored) // weights * nbytes
    first = begin + offset
    if first + size > len(buffer) or (kind.name in _PLAIN and first % ITEM_BYTES[kind.name]):
        raise ValueError(
            f"{tensor}, {kind.name} of shape {shown(stored)}, is not all there: the file is cut off; fetch it again"
        )
    shape = _original_shape(tensor, reader, str(info.name), stored)
    return _Entry(str(info.name), kind.name, shape, buffer[first : first + size])


def _original_shape(tensor: str, reader: GGUFReader, name: str, stored: tuple[int, ...]) -> tuple[int, ...]:
    """The shape before ComfyUI's converter turned it into rows of 256, if it did."""
    field = reader.fields.get(_SHAPES + name)
    if field is None:
        return stored
    sizes = field.contents() if len(field.data) <= 2 * MOST_DIMENSIONS else None
    if not isinstance(sizes, list) or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"{tensor} has no list of sizes as {_SHAPES}…; fetch the file again")
    if math.prod(sizes) != math.prod(stored):
        raise ValueError(f"{tensor} of shape {shown(stored)} cannot have the original shape {shown(sizes)}")
    return tuple(sizes)


def _text(reader: GGUFReader, name: str) -> str | None:
    from gguf import GGUFValueType

    field = reader.fields.get(name)
    if field is None or field.types[:1] != [GGUFValueType.STRING]:
        return None
    return bytes(field.parts[-1][:100]).decode("utf-8", "replace")


def _number(reader: GGUFReader, name: str) -> int | None:
    field = reader.fields.get(name)
    found = None if field is None or len(field.types) != 1 else field.contents()
    return found if isinstance(found, int) else None


def _read_header(path: Path) -> tuple[GGUFReader, int, list[Any]]:
    """The package's reader, the offset of the tensors' bytes, and the header's field for each tensor.

    The package trusts every number in a file: it reads beyond the end, where it finds nothing, as often as the number
    says. Here each value must exist, and their number is limited.
    """
    from gguf import GGUFReader

    class Bounded(GGUFReader):
        reads = 0
        last_text = ""
        begin = 0
        infos: tuple[Any, ...] | list[Any] = ()

        def _get(self, offset: int, dtype: Any, count: Any = 1, override_order: Any = None) -> Any:
            self.reads += 1
            if self.reads > MOST_READS:
                raise ValueError(f"its header has more than {MOST_READS:,} values")
            if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("its header goes on beyond its end")
            return super()._get(offset, dtype, count, override_order)

        def _get_str(self, offset: int) -> Any:
            length, text = super()._get_str(offset)
            said = bytes(text[:200]).decode("utf-8", "replace")
            if said and said.isprintable():
                Bounded.last_text = said
            return length, text

        def _get_tensor_info_field(self, orig_offs: int) -> Any:
            field = super()._get_tensor_info_field(orig_offs)
            if not field.name or not field.name.isprintable():
                raise ValueError("a tensor's name is empty or not printable")
            return field

        def _build_tensors(self, start_offs: int, fields: list[Any]) -> None:
            self.begin, self.infos = int(start_offs), fields

    try:
        reader = Bounded(path)
    except (ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError) as error:
        reason = one_line(str(error.args[0] if error.args else error))[:150]
        if Bounded.last_text:  # of tensors the only texts are their names
            reason += f", after {shown(Bounded.last_text)}"
        raise ValueError(f"{path} is broken or not a supported GGUF file ({reason}); fetch it again") from None
    names = Counter(info.name for info in reader.infos)
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"{path}: tensor {shown(twice[0])} occurs twice; fetch it again")
    if reader.byte_order != "I":
        raise ValueError(f"{path} has the other byte order, which is not supported; fetch it in this machine's")
    return reader, reader.begin, list(reader.infos)
