"""Texts in the EXIF data of JPEG and WebP files (CIPA DC-008), which have no text chunks.

AUTOMATIC1111 and its relatives write their parameters into the tag UserComment and read them there. A program's own
text goes into ImageDescription, after its keyword.
"""

from __future__ import annotations

import io
import warnings
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from .png_texts import LONGEST_TEXT, PngTexts

FORMATS = ("JPEG", "WEBP")
MOST_BYTES = 65_000
"""The most bytes of EXIF data in a JPEG file, whose length field has 16 bits."""
_LARGEST_FILE = 200 * 10**6
"""The most bytes of a file: Pillow reads WebP files into memory."""
_DESCRIPTION, _EXIF, _COMMENT = 0x010E, 0x8769, 0x9286
_UNICODE, _ASCII = b"UNICODE\0", b"ASCII\0\0\0"


def exif_bytes(keyword: str, text: str, comment: str) -> bytes:
    """EXIF data with a program's text, and with the comment if there is room for it.

    Args:
        keyword: the program's keyword.
        text: ASCII only.
        comment: any text.

    Raises:
        ValueError: without the comment they still exceed `MOST_BYTES`.
    """
    exif = Image.Exif()
    exif[_DESCRIPTION] = f"{keyword}: {text}"
    if len(exif.tobytes()) > MOST_BYTES:
        raise ValueError(f"the parameters have more than {MOST_BYTES:,} bytes and do not fit into a JPEG or WebP file")
    encoded = _UNICODE + comment.encode("utf-16-be", "replace")
    if len(exif.tobytes()) + len(encoded) <= MOST_BYTES:
        exif.get_ifd(_EXIF)[_COMMENT] = encoded
    return exif.tobytes()


def read_exif_texts(file: BinaryIO, keyword: str, comment: str) -> PngTexts:
    """The size and the texts of a JPEG or WebP file; does not read pixels.

    Args:
        file: positioned at its beginning.
        keyword: the keyword of the text to read.
        comment: the comment's name in the result.

    Raises:
        UnidentifiedImageError: it is neither.
        ValueError: it is damaged, or too large to be a picture.
    """
    if file.seek(0, io.SEEK_END) > _LARGEST_FILE:
        raise ValueError(f"it has more than {_LARGEST_FILE // 10**6} MB")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes and of EXIF data: neither pixels nor other tags are read
            with Image.open(file, formats=FORMATS) as image:
                result = PngTexts(*image.size)
                exif = image.getexif()
                description, said = exif.get(_DESCRIPTION), exif.get_ifd(_EXIF).get(_COMMENT)
    except UnidentifiedImageError:
        raise
    except Exception as error:  # Pillow's errors for broken EXIF data are too many to list
        raise ValueError(f"its EXIF data are damaged ({type(error).__name__})") from None
    if isinstance(description, str) and description.startswith(f"{keyword}: "):
        result.texts[keyword] = description.removeprefix(f"{keyword}: ")[:LONGEST_TEXT]
    if isinstance(said, bytes) and (text := _decoded(said[: 2 * LONGEST_TEXT])):
        result.texts[comment] = text
    return result


def _decoded(comment: bytes) -> str:
    """A comment, decoded by the encoding that it names; some programs write UTF-16 in the other byte order."""
    kind, content = comment[:8], comment[8:]
    if kind == _UNICODE:
        is_little = content[1::2].count(0) > content[::2].count(0)
        return content.decode("utf-16-le" if is_little else "utf-16-be", "replace")
    return content.decode("utf-8", "replace") if kind == _ASCII else ""
