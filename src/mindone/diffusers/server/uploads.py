"""Pictures that clients send: decoded within bounds, or refused before much memory is spent on them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from PIL import Image

from ..utils.images import PictureTooLarge, decode_picture
from .refusals import Refusal


@dataclass(frozen=True)
class Upload:
    """A picture as it came, upright, in L, RGB or RGBA; ``name`` follows from its bytes and stands for it in a job."""

    picture: Image.Image
    name: str


def from_base64(text: str, field: str) -> bytes:
    """The bytes of a base64 text, with or without ``data:image/png;base64,`` before it.

    Raises:
        Refusal: it is no base64; also for an address, which is not fetched.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, f"{field} must be a picture in base64; addresses and paths are not read", field) from None


def open_upload(content: bytes, field: str, max_side: int) -> Upload:
    """Decode a picture without a second copy of it on the way.

    Raises:
        Refusal: it is none, is animated, damaged, or larger than ``max_side``, which its header already tells.
    """
    try:
        picture = decode_picture(content, field, max_side)
    except ValueError as error:
        raise Refusal(413 if isinstance(error, PictureTooLarge) else 422, str(error), field) from None
    mode = "RGBA" if picture.has_transparency_data else "L" if picture.mode in ("1", "L") else "RGB"
    upright: Image.Image = picture if picture.mode == mode else picture.convert(mode)
    return Upload(upright, f"upload-{hashlib.sha256(content).hexdigest()[:12]}")


def marked(mask: Image.Image) -> Image.Image:
    """What a mask marks, in white on black: its opaque parts; without transparency, its light parts.

    A mask that is drawn on a transparent ground says nothing by its colours.
    """
    if mask.mode != "RGBA" or mask.getchannel("A").getextrema() == (255, 255):
        return mask.convert("L")
    opacity: Image.Image = mask.getchannel("A")
    return opacity.point([255 if value > 128 else 0 for value in range(256)])
