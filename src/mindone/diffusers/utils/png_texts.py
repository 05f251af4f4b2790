"""The text chunks of a PNG file (ISO/IEC 15948, section 11.3.3), read without its pixels, and pixels without them.

The file may come from anyone: a compressed chunk of a kilobyte can hold a megabyte of text, and there can be thousands
of them. So only the requested chunks are read, each once and within a limit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import BinaryIO

LONGEST_TEXT = 2**20
"""The most bytes of a text to read; ours have a few hundred."""
_MOST_CHUNKS = 100_000
"""A file with more chunks counts as damaged: encoders write pixels in chunks of 8 kB and more."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_HEADER, _HEADER_BYTES = b"\0\0\0\rIHDR", len(_SIGNATURE) + 25
"""How the first chunk begins, and where it ends."""
_ANCILLARY_KEPT = (b"tRNS", b"acTL", b"fcTL", b"fdAT")
"""Transparency, and the mark of an animated picture; the orientation, eXIf, is moved."""
_PIECE = 2**16


class NotPng(ValueError):
    """The file does not begin as a PNG file does."""


@dataclass(frozen=True)
class PngTexts:
    """What a PNG file says about itself."""

    width: int
    height: int
    texts: dict[str, str] = field(default_factory=dict)
    """The text of each requested keyword; the first one if a keyword appears twice."""


def read_png_texts(file: BinaryIO, keywords: Collection[str]) -> PngTexts:
    """Read the size and the texts of a PNG file, and check that the file is whole.

    Args:
        file: positioned at its beginning.
        keywords: the keywords of the texts to read.

    Raises:
        NotPng: it is no PNG file.
        ValueError: it is damaged, or a requested text has more than `LONGEST_TEXT` bytes.
    """
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise NotPng("not a PNG file")
    kind, header = _next_chunk(file, LONGEST_TEXT)
    if kind != b"IHDR" or len(header) != 13:
        raise ValueError("a damaged PNG: its header is missing")
    width, height = struct.unpack(">II", header[:8])
    result = PngTexts(width, height)
    for _ in range(_MOST_CHUNKS):
        kind, content = _next_chunk(file, LONGEST_TEXT + 100)
        if kind == b"IEND":
            return result
        keyword = content.partition(b"\0")[0].decode("latin-1") if kind in _TEXT_KINDS else None
        if keyword in keywords and keyword is not None and keyword not in result.texts:
            result.texts[keyword] = _text(kind, content[len(keyword) + 1 :], keyword)
    raise ValueError(f"a damaged PNG: it has more than {_MOST_CHUNKS:,} chunks")


def for_pixels(content: bytes) -> bytes:
    """A PNG file reduced to the chunks for its pixels and orientation; other files unchanged.

    A reader would decompress the other chunks: texts and colour profiles. The orientation moves before the pixels, so
    that it can be read without them. A truncated file stays truncated.

    Raises:
        ValueError: it has too many chunks.
    """
    if not content.startswith(_SIGNATURE):
        return content
    parts: list[bytes | memoryview] = []
    start = kept = _HEADER_BYTES if content[len(_SIGNATURE) :].startswith(_HEADER) else len(_SIGNATURE)
    view = memoryview(content)
    early: list[bytes | memoryview] = [view[:start]]
    for _ in range(_MOST_CHUNKS):
        if start + 8 > len(content):
            return b"".join([*early, *parts, view[kept:]]) if parts else content
        length, kind = struct.unpack_from(">I4s", content, start)
        end = start + 12 + length
        if kind.isalpha() and kind[:1].islower() and kind not in _ANCILLARY_KEPT:
            parts.append(view[kept:start])
            kept = min(end, len(content))
            if kind == b"eXIf" and end == kept:
                early.append(view[start:kept])
        start = end
    raise ValueError(f"has more than {_MOST_CHUNKS:,} chunks; save the picture again")


def _next_chunk(file: BinaryIO, most: int) -> tuple[bytes, bytes]:
    """The kind and the content of the next chunk; for a long one only the first ``most`` bytes, or a few more."""
    head = file.read(8)
    if len(head) < 8:
        raise ValueError("a damaged PNG: it is cut off")
    length, kind = struct.unpack(">I4s", head)
    checksum, content, left = zlib.crc32(kind), bytearray(), length
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise ValueError("a damaged PNG: it is cut off")
        checksum = zlib.crc32(piece, checksum)
        if (kind in _TEXT_KINDS or kind == b"IHDR") and len(content) < most:
            content += piece
        left -= len(piece)
    if file.read(4) != struct.pack(">I", checksum):
        raise ValueError(f"a damaged PNG: the checksum of its chunk {kind.decode('latin-1')!r} is wrong")
    return kind, bytes(content)


def _text(kind: bytes, content: bytes, keyword: str) -> str:
    """The text that follows a keyword, by the chunk's kind."""
    if kind == b"tEXt":
        return _bounded(content, keyword).decode("latin-1")
    if kind == b"zTXt":
        return _inflated(content[1:], keyword).decode("latin-1")
    is_compressed, rest = content[:1] == b"\1", content[2:]
    _, _, rest = rest.partition(b"\0")  # the language
    _, _, rest = rest.partition(b"\0")  # the keyword in that language
    return (_inflated(rest, keyword) if is_compressed else _bounded(rest, keyword)).decode("utf-8", "replace")


def _inflated(content: bytes, keyword: str) -> bytes:
    try:
        return _bounded(zlib.decompressobj().decompress(content, LONGEST_TEXT + 1), keyword)
    except zlib.error:
        raise ValueError(f"a damaged PNG: its text {keyword!r} cannot be decompressed") from None


def _bounded(text: bytes, keyword: str) -> bytes:
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"its text {keyword!r} has more than {LONGEST_TEXT:,} bytes, which is no picture's parameters")
    return text
