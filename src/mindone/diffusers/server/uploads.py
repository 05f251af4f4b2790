"""Decodes clients' pictures within limits, or refuses them before they take much memory."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from ..engines.cache import return_freed_memory
from ..jobs.pictures import stretched
from ..utils.images import PictureTooLarge, decode_picture, upright_size
from ..utils.picture_memory import plain_mode
from .refusals import Refusal

_BYTES_PER_PIXEL = 5.8
"""The maximum bytes of a request's pictures per pixel of the largest: four in RGB, one for a mask, and some more."""
_SMALL = 2**24
"""The bytes that the pictures may always take: a megapixel in any format and mode."""
_TIMES_ITS_FILE = 32
"""The multiple of its file size that a picture may always take: a photo takes about 20, white paper 1,000."""


@dataclass(frozen=True)
class Upload:
    """A client's picture, upright, in RGB or L; ``name`` is derived from its bytes and represents it in a job."""

    picture: Image.Image
    name: str


def from_base64(text: str, field: str) -> bytes:
    """The bytes of a base64 text, with or without ``data:image/png;base64,`` before it.

    Raises:
        Refusal: the text is not base64, such as a URL, which the server does not fetch.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(422, f"{field} must be a picture in base64; the server reads no URLs or paths", field) from None


@dataclass
class Opening:
    """Opens the pictures of one request, within limits for all of them together.

    Open a mask first, because its processing needs copies.

    Args:
        max_side: the maximum pixels of a side.
    """

    max_side: int
    _held: int = 0

    def size(self, content: bytes, field: str) -> tuple[int, int]:
        """Width and height of a picture, from its header; raises like `picture`, as far as the header shows."""
        with _refused(field):
            return upright_size(content, field, self.max_side)

    def picture(self, content: bytes, field: str) -> Upload:
        """A picture on white.

        Raises:
            Refusal: the content is not a picture, is animated or damaged, is larger than ``max_side``, or would take
                too much memory, which its header already shows.
        """
        return_freed_memory()  # from a mask's sources
        picture = _on_white(self._decoded(content, field, "RGB"))
        return_freed_memory()  # from the conversion's source
        self._held += (1 if picture.mode == "L" else 4) * picture.width * picture.height
        return Upload(picture, f"upload-{hashlib.sha256(content).hexdigest()[:12]}")

    def mask(self, content: bytes, field: str) -> Image.Image:
        """A mask in L, RGB or RGBA; the caller keeps one channel. Raises like `picture`."""
        mask = self._decoded(content, field, "L")
        self._held += mask.width * mask.height
        return mask

    def stretched(self, mask: Image.Image, size: tuple[int, int]) -> Image.Image:
        """A mask stretched over a picture of this width and height, which is still to be opened."""
        self._held += size[0] * size[1] - mask.width * mask.height
        return stretched(mask, size)

    def check_results(self, upload: Upload, count: int, field: str) -> None:
        """Refuse more images of the picture's size than memory allows; the last one reuses an RGB picture's memory."""
        picture = upload.picture
        more = count - (picture.mode == "RGB")
        held = self._held + 4 * more * picture.width * picture.height
        if held <= self._together:
            return
        width, height = (int(side * (self._together / held) ** 0.5) for side in picture.size)
        cost = f"{count} images of {picture.width}×{picture.height} take {held / 1e6:.3g} MB with the mask"
        raise Refusal(413, f"{field}: {cost}; ask for fewer, or send at most {width}×{height}", field)

    @property
    def _together(self) -> float:
        """The bytes that all pictures may take, unless their files are large."""
        return max(_BYTES_PER_PIXEL * self.max_side**2, _SMALL)

    def _decoded(self, content: bytes, field: str, into: str) -> Image.Image:
        most = max(self._together - self._held, _TIMES_ITS_FILE * len(content))
        with _refused(field):
            picture = decode_picture(content, field, self.max_side, most, into)
        mode = plain_mode(picture)
        plain: Image.Image = picture if picture.mode == mode else picture.convert(mode)
        return plain


@contextmanager
def _refused(field: str) -> Iterator[None]:
    """Turn errors of pictures into refusals."""
    try:
        yield
    except ValueError as error:
        raise Refusal(413 if isinstance(error, PictureTooLarge) else 422, str(error), field) from None


def _on_white(picture: Image.Image) -> Image.Image:
    """A picture without transparency."""
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture)
    return white


def marked(mask: Image.Image) -> Image.Image:
    """The marked part of a mask, in white on black: its opaque parts, or without transparency its light parts.

    On a transparent background the mask's colours have no meaning.
    """
    if mask.mode != "RGBA":
        grey: Image.Image = mask if mask.mode == "L" else mask.convert("L")
        return grey
    opacity: Image.Image = mask.getchannel("A")
    if opacity.getextrema() == (255, 255):
        del opacity
        return mask.convert("L")
    del mask  # four times as large, and often not used elsewhere
    return opacity.point([255 if value > 128 else 0 for value in range(256)])
