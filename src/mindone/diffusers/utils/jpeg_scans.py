"""How many passes a JPEG file (ITU-T T.81, annex B) makes over its picture, counted without decoding it.

A progressive file refines the picture scan by scan, and a scan of forty bytes can go over millions of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MOST_SCANS = 64
"""Encoders write about ten; each one costs a pass over the whole picture."""
_MOST_SEGMENTS = 10_000
"""Photos have a few dozen, with large colour profiles a few hundred."""
_START_OF_SCAN, _END, _START = 0xDA, 0xD9, 0xD8
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
"""The kinds of frames, without the tables numbered among them."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Neither a stuffed byte of a scan nor a restart inside it."""


def check_scans(content: bytes) -> None:
    """Refuse a JPEG file made to be slow; other files pass.

    Raises:
        ValueError: it has more scans or segments than any encoder writes.
    """
    scans = 0
    for marker, _ in _segments(content):
        scans += marker == _START_OF_SCAN
        if scans > _MOST_SCANS:
            raise ValueError(f"has more than {_MOST_SCANS} scans; save the picture again")


def coefficient_bytes(content: bytes) -> float:
    """Bytes per pixel of the coefficients that a decoder holds until a JPEG file's last scan.

    0 for other files, and if the first scan has the whole picture. Otherwise two bytes for each sample; a component may
    be sampled more coarsely than the picture.
    """
    is_progressive, samples, components = False, 1.0, 1
    for marker, at in _segments(content):
        if marker in _FRAMES and at + 7 < len(content):
            is_progressive, components = marker in _PROGRESSIVE, content[at + 7]
            samples = _samples_per_pixel(content[at + 9 : at + 8 + 3 * components : 3])
        elif marker == _START_OF_SCAN:
            is_whole = not is_progressive and content[at + 2 : at + 3] >= bytes([components])
            return 0.0 if is_whole else 2 * samples
    return 0.0


def _samples_per_pixel(factors: bytes) -> float:
    """For all components together; one byte of each gives its sampling across and down."""
    across, down = [factor >> 4 for factor in factors], [factor & 15 for factor in factors]
    finest = max(across, default=0) * max(down, default=0)
    return sum(x * y for x, y in zip(across, down)) / finest if finest else 1.0


def _segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Each segment of a JPEG file: its marker, and the position of its length."""
    at = 2
    for _ in range(_MOST_SEGMENTS if content.startswith(b"\xff\xd8") else 0):
        found = _MARKER.search(content, at)
        if found is None or (marker := content[found.end() - 1]) == _END:
            return
        at = found.end()
        if marker in (1, _START):  # which have no length
            continue
        yield marker, at
        at += max(int.from_bytes(content[at : at + 2], "big"), 2)
    if content.startswith(b"\xff\xd8"):
        raise ValueError(f"has more than {_MOST_SEGMENTS:,} segments; save the picture again")
