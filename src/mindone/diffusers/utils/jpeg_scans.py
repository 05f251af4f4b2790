"""How often a JPEG file (ITU-T T.81, annex B) goes over its picture, counted without decoding it.

A progressive file refines the picture scan by scan, and a scan of forty bytes can go over millions of pixels.
"""

from __future__ import annotations

import re

_MOST_SCANS = 64
"""Encoders write about ten; each one costs a pass over the whole picture."""
_MOST_SEGMENTS = 10_000
"""Photos have a few dozen, with large colour profiles a few hundred."""
_START_OF_SCAN, _END, _START = 0xDA, 0xD9, 0xD8
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Neither a stuffed byte of a scan nor a restart inside it."""


def check_scans(content: bytes) -> None:
    """Refuse a JPEG file that is made to be slow; other files pass.

    Raises:
        ValueError: it has more scans or segments than any encoder writes.
    """
    if not content.startswith(b"\xff\xd8"):
        return
    at, scans = 2, 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(content, at)
        if found is None or (marker := content[found.end() - 1]) == _END:
            return
        at = found.end()
        if marker in (1, _START):  # which have no length
            continue
        scans += marker == _START_OF_SCAN
        if scans > _MOST_SCANS:
            raise ValueError(f"has more than {_MOST_SCANS} scans; save the picture again")
        at += max(int.from_bytes(content[at : at + 2], "big"), 2)
    raise ValueError(f"has more than {_MOST_SEGMENTS:,} segments; save the picture again")
