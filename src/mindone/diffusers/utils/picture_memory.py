"""How much memory a picture takes on its way from a file to pixels in RGB or grey, known from its header alone.

A file of a kilobyte can name millions of pixels, and what each of them takes depends on the format and the mode: Pillow
holds one byte per pixel in modes of one channel of 8 bits and four in modes of several, and a decoder may hold more.
"""

from __future__ import annotations

import itertools

from PIL import ExifTags, Image

from .jpeg_scans import coefficient_bytes

_ONE_CHANNEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
"""Bytes per pixel of Pillow's modes; all others take four."""
_WEBP_DECODING, _WEBP_HELD = 12, 8
"""The decoder of animations draws on two canvases of RGBA and hands out a third; two stay until the picture goes."""


def decoding_bytes(picture: Image.Image, content: bytes, into: str) -> float:
    """The most bytes per pixel that are held at once while a picture is decoded, turned upright and converted.

    Args:
        picture: opened, but not yet decoded.
        content: its file.
        into: the mode in the end, RGB or L. What is transparent is in RGBA before that; what is grey stays in L.
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
    """L, RGB or RGBA: that which holds what a picture shows."""
    if picture.has_transparency_data:
        return "RGBA"
    return "L" if picture.mode in _ONE_CHANNEL and picture.mode != "P" else "RGB"


def _stored(mode: str) -> int:
    return _ONE_CHANNEL.get(mode, 4)


def orientation(picture: Image.Image) -> int:
    """The orientation of a picture that need not be decoded, as EXIF counts them; 1 is upright, or unknown."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # Pillow would decode the pixels to look behind them, where `for_pixels` leaves none
    try:
        return int(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # what Pillow raises for broken EXIF data is not to be listed; it is not turned then
        return 1
