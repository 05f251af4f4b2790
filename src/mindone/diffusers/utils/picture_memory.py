"""How much memory a picture takes from file to RGB or grey pixels, computed from its header alone.

A file of a kilobyte can declare millions of pixels, and the bytes for each depend on the format and the mode: Pillow
holds one byte per pixel in modes with one 8-bit channel and four in modes with several, and a decoder may hold more.
"""

from __future__ import annotations

import itertools

from PIL import ExifTags, Image

from .jpeg_scans import coefficient_bytes

_ONE_CHANNEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""Bytes per pixel of Pillow's modes; all others take four."""
_WEBP_DECODING, _WEBP_HELD = 12, 8
"""The decoder of animations uses two RGBA canvases and returns a third; two stay until the picture is freed."""


def decoding_bytes(picture: Image.Image, content: bytes, into: str) -> float:
    """The most bytes per pixel held at once while decoding a picture, turning it upright and converting it.

    Args:
        picture: opened but not yet decoded.
        content: its file.
        into: the final mode, RGB or L. A transparent picture is RGBA before that; a grey one stays L.
    """
    stored = _stored(picture.mode)
    decoder, held = (_WEBP_DECODING, _WEBP_HELD) if picture.format == "WEBP" else (coefficient_bytes(content), 0)
    plain = plain_mode(picture)
    modes = [picture.mode, plain, plain if plain == "L" else into]
    copies = [_stored(one) + _stored(other) for one, other in itertools.pairwise(modes) if one != other]
    if orientation(picture) != 1:
        copies.append(2 * stored)
    return max(stored + decoder, held + max(copies, default=stored))


def plain_mode(picture: Image.Image) -> str:
    """L, RGB or RGBA: the mode that holds all that a picture shows."""
    if picture.has_transparency_data:
        return "RGBA"
    return "L" if picture.mode in _ONE_CHANNEL and picture.mode != "P" else "RGB"


def _stored(mode: str) -> int:
    return _ONE_CHANNEL.get(mode, 4)


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation of a picture, read without decoding it; 1 is upright or unknown."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # Pillow would decode the pixels to look behind them, where `for_pixels` leaves nothing
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's errors for broken EXIF data are too many to list; the picture is then not turned
        return 1
