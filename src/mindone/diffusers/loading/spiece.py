"""Reads SentencePiece's ``spiece.model``: pieces of text with their scores, and replacements of characters.

(Kudo & Richardson 2018, "SentencePiece".) The file is one message in Protocol Buffers' wire format
(https://protobuf.dev/programming-guides/encoding). This module reads four of its fields; the `tokenizers` library
processes texts with them.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..utils.files import check_file

FILE = "spiece.model"
MOST_BYTES = 32 * 2**20
"""The size limit of a file; multilingual ones with 250,000 pieces have 5 MB."""
UNIGRAM = 1
"""The number of the kind of model in which each piece has its own score; other kinds merge pieces or take words."""
NORMAL, UNKNOWN, CONTROL, USER_DEFINED = 1, 2, 3, 4
"""Kinds of pieces: normal text, unknown text, marks such as the end of a text, and words kept whole."""

# Field numbers of SentencePiece's sentencepiece_model.proto.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_MODEL_KIND = 3
_REPLACEMENTS = 2

Value: TypeAlias = "int | memoryview"


@dataclass(frozen=True)
class Piece:
    """An entry of the vocabulary; its id is its position in the list."""

    text: str
    score: float
    """The logarithm of its probability."""
    kind: int = NORMAL


@dataclass(frozen=True)
class Spiece:
    """The content of a ``spiece.model``."""

    pieces: tuple[Piece, ...]
    replacements: bytes
    """The replacements that normalize characters, compiled to a trie; may be empty."""

    @property
    def unknown(self) -> int:
        """The id of the unknown piece."""
        return next(number for number, piece in enumerate(self.pieces) if piece.kind == UNKNOWN)


def read_spiece(path: Path) -> Spiece:
    """Read a ``spiece.model``.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is broken, far too large, or of another kind of model.
    """
    check_file(path)
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"{path.name} has {size:,} bytes, more than the {MOST_BYTES:,} of any known; fetch it again")
    try:
        found = _content(memoryview(path.read_bytes()))
    except (ValueError, LookupError, TypeError, struct.error):
        raise ValueError(f"{path.name} is no file of SentencePiece's, or a broken one; fetch it again") from None
    kind, spiece = found
    if kind != UNIGRAM:
        raise ValueError(f"{path.name} is a SentencePiece model of kind {kind}; Unigram, {UNIGRAM}, is read here")
    if sum(piece.kind == UNKNOWN for piece in spiece.pieces) != 1:
        raise ValueError(f"{path.name} must have one piece for what is unknown; fetch it again")
    return spiece


def check_replacements(content: bytes) -> None:
    """Check that a compiled table of replacements never points outside itself.

    The library that reads it takes that for granted, and its failure ends the program.

    The table consists of a trie's size in bytes, the trie, and consecutive texts. The trie is a double array (Yata et
    al. 2007, as in Darts-clone): each unit gives the offset from its own place to its children's, the byte that leads
    to it, and whether its first child gives the start of a replacement in the texts.

    Raises:
        ValueError: it points outside.
    """
    size = int.from_bytes(content[:4], "little")
    units = np.frombuffer(content, "<u4", size // 4, 4).astype(np.int64)
    texts = np.frombuffer(content[4 + size :], np.uint8)
    children = np.arange(len(units)) ^ ((units >> 10) << ((units & 512) >> 6))
    followed = units >> 31 == 0
    followed[:1] = True  # the root: no byte leads to it
    if (children[followed] | 255).max(initial=0) >= len(units):
        raise ValueError("its replacements of characters point outside of their table")
    begins = units[children[followed & (units >> 8 & 1 == 1)]] & (2**31 - 1)
    starts = np.append(texts & 0xC0 != 0x80, True)
    if begins.max(initial=0) >= len(starts) or not starts[begins].all():
        raise ValueError("its replacements of characters begin nowhere")


def _content(message: memoryview) -> tuple[int, Spiece]:
    """The kind of model, and its content."""
    pieces: list[Piece] = []
    kind, replacements = UNIGRAM, b""
    for number, value in _fields(message):
        if number == _PIECES:
            pieces.append(_piece(_message(value)))
        elif number == _TRAINER:
            kind = next((_integer(found) for inner, found in _fields(_message(value)) if inner == _MODEL_KIND), kind)
        elif number == _NORMALIZER:
            for inner, found in _fields(_message(value)):
                replacements = bytes(_message(found)) if inner == _REPLACEMENTS else replacements
    return kind, Spiece(tuple(pieces), replacements)


def _piece(message: memoryview) -> Piece:
    values = dict(_fields(message))
    text = str(_message(values[_TEXT]), "utf-8")
    (score,) = struct.unpack("<f", _message(values[_SCORE])) if _SCORE in values else (0.0,)
    if not text or not -1e30 < score < 1e30:
        raise ValueError("a piece without text, or whose score is no number")
    return Piece(text, score, _integer(values.get(_KIND, NORMAL)))


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise TypeError("a number where bytes are due")
    return value


def _integer(value: Value) -> int:
    if not isinstance(value, int):
        raise TypeError("bytes where a number is due")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, Value]]:
    """Number and value of each field of a message: integers as such, all others as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("an unknown kind of field")
        if at + size > len(message):
            raise ValueError("a field that is longer than its message")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """An integer with seven bits per byte, the lowest first, and the position after it."""
    value = 0
    for place in range(10):
        byte = message[at + place]
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise ValueError("a number of more than 64 bits")
