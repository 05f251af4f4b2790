"""Pictures that clients send: decoded within bounds, or refused before much memory is spent on them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from ..utils.images import load_image
from .refusals import Refusal

_FORMATS = ("PNG", "JPEG", "WEBP")


@dataclass(frozen=True)
class Upload:
    """A picture as it came, upright; ``name`` follows from its bytes and stands for it in a job."""

    picture: Image.Image
    name: str
    texts: Mapping[str, str]
    """The text chunks of a PNG file."""


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
    """Decode a picture.

    Raises:
        Refusal: it is none, is animated, damaged, or larger than ``max_side``, which its header already tells.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is lower
            picture = Image.open(io.BytesIO(content), formats=_FORMATS)
        if max(picture.size) > max_side:
            size = f"{picture.width}×{picture.height}"
            raise Refusal(413, f"{field} is {size}; at most {max_side}×{max_side} is taken", field)
        if getattr(picture, "n_frames", 1) != 1:
            raise Refusal(422, f"{field} is animated; give a picture that stands still", field)
        picture.load()
        upright = load_image(picture, lambda each: each)
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except UnidentifiedImageError:
        raise Refusal(422, f"{field} is no {', '.join(_FORMATS[:-1])} or {_FORMATS[-1]} picture", field) from None
    except Image.DecompressionBombError:
        raise Refusal(413, f"{field} is larger than {max_side}×{max_side}", field) from None
    except (OSError, SyntaxError, ValueError, EOFError):
        raise Refusal(422, f"{field} is a damaged picture", field) from None
    texts = {name: str(text) for name, text in getattr(picture, "text", {}).items()}
    return Upload(upright, f"upload-{hashlib.sha256(content).hexdigest()[:12]}", texts)


def marked(mask: Image.Image) -> Image.Image:
    """What a mask marks, in white on black: its opaque parts; without transparency, its light parts.

    A mask that is drawn on a transparent ground says nothing by its colours.
    """
    if mask.mode != "RGBA" or mask.getchannel("A").getextrema() == (255, 255):
        return mask.convert("L")
    opacity: Image.Image = mask.getchannel("A")
    return opacity.point([255 if value > 128 else 0 for value in range(256)])
