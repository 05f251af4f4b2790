"""An image as a PNG, JPEG or WebP file that records its job."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from ..utils.exif_texts import exif_bytes
from .job import Job
from .png import KEYWORD, infotext, png_bytes

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""The format of a file by its suffix."""
_OPTIONS: Mapping[str, dict[str, int]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"quality": 95}}
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
"""The longest side in pixels that each format's header can hold."""


def picture_file(path: Path, image: Image.Image, job: Job | None, about: Mapping[str, object]) -> tuple[Path, bytes]:
    """The bytes of an image's file, and its name; that ends in ``.png`` if the wanted format cannot hold the image.

    Args:
        path: the wanted name.
        image: one of the job's images, or several of them in one.
        job: the image's job; None to record nothing.
        about: further facts to record, see `save_png`.
    """
    kind = SUFFIXES[path.suffix.lower()]
    if kind != "PNG" and max(image.size) <= _MOST_SIDE[kind]:
        try:
            exif = b"" if job is None else exif_bytes(KEYWORD, _json(job, about), infotext(image, job, about))
        except ValueError:  # a prompt of tens of thousands of letters
            return path.with_suffix(".png"), png_bytes(image, job, about)
        file = io.BytesIO()
        image.convert("RGB").save(file, format=kind, exif=exif, **_OPTIONS[kind])
        return path, file.getvalue()
    return path.with_suffix(".png") if kind != "PNG" else path, png_bytes(image, job, about)


def _json(job: Job, about: Mapping[str, object]) -> str:
    return json.dumps({"job": job.to_dict(), **about})
