"""Pictures that clients send: decoded within bounds, or refused before much memory is spent on them."""

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
"""What all pictures of a request may take for each pixel of the largest: four in RGB, one for a mask, and some more."""
_SMALL = 2**24
"""They may take that many bytes in any case: a megapixel, in any format and mode."""
_TIMES_ITS_FILE = 32
"""A picture may take that many times its file in any case: a photo takes about twenty, white paper a thousand."""


@dataclass(frozen=True)
class Upload:
    """A picture as it came, upright, in RGB or L; ``name`` follows from its bytes and stands for it in a job."""

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


@dataclass
class Opening:
    """Opens the pictures of one request, within bounds for all of them together.

    Open a mask first: it takes copies of itself.

    Args:
        max_side: the most pixels of a side.
    """

    max_side: int
    _held: int = 0

    def size(self, content: bytes, field: str) -> tuple[int, int]:
        """Width and height of a picture, known from its header; raises as `picture` does, as far as that tells."""
        with _refused(field):
            return upright_size(content, field, self.max_side)

    def picture(self, content: bytes, field: str) -> Upload:
        """A picture on white.

        Raises:
            Refusal: it is none, is animated or damaged, is larger than ``max_side``, or would take too much memory; its
                header already tells.
        """
        return_freed_memory()  # of what a mask was made of
        picture = _on_white(self._decoded(content, field, "RGB"))
        return_freed_memory()  # of what it was converted from
        self._held += (1 if picture.mode == "L" else 4) * picture.width * picture.height
        return Upload(picture, f"upload-{hashlib.sha256(content).hexdigest()[:12]}")

    def mask(self, content: bytes, field: str) -> Image.Image:
        """A mask in L, RGB or RGBA, one channel of it to be kept; raises as `picture` does."""
        mask = self._decoded(content, field, "L")
        self._held += mask.width * mask.height
        return mask

    def stretched(self, mask: Image.Image, size: tuple[int, int]) -> Image.Image:
        """A mask over a whole picture of this width and height, which is yet to be opened."""
        self._held += size[0] * size[1] - mask.width * mask.height
        return stretched(mask, size)

    def check_results(self, upload: Upload, count: int, field: str) -> None:
        """Refuse more images of the picture's size than there is memory for; the last is the picture itself, in RGB."""
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
        """Bytes that all pictures may take, unless their files are large."""
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
    """A picture that cannot be taken is a refusal."""
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
    """What a mask marks, in white on black: its opaque parts; without transparency, its light parts.

    A mask that is drawn on a transparent ground says nothing by its colours.
    """
    if mask.mode != "RGBA":
        grey: Image.Image = mask if mask.mode == "L" else mask.convert("L")
        return grey
    opacity: Image.Image = mask.getchannel("A")
    if opacity.getextrema() == (255, 255):
        del opacity
        return mask.convert("L")
    del mask  # it is four times as large, and often nobody else's
    return opacity.point([255 if value > 128 else 0 for value in range(256)])
