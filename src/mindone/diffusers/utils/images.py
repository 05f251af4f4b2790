"""Images in and images side by side."""

import io
import math
import os
import struct
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import explained
from .fetching import fetch
from .jpeg_scans import check_scans
from .picture_memory import decoding_bytes, orientation
from .png_texts import for_pixels

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_SIDE = 2**14
"""The longest side of a picture in pixels."""
MOST_PICTURE_PIXELS = 2**26
"""The most pixels of a whole picture; each takes several times three bytes."""
MOST_BYTES = 64 * 10**6
"""The largest picture file, in bytes."""
_ON_ITS_SIDE = (5, 6, 7, 8)
"""The EXIF orientations that swap width and height."""


def make_image_grid(images: Sequence[Image.Image], rows: int, cols: int, resize: int | None = None) -> Image.Image:
    """Paste images into one, row by row.

    Args:
        images: `rows * cols` images; each cell has the size of the first one.
        rows: images from top to bottom.
        cols: images from left to right.
        resize: width and height in pixels to bring every image to first.

    Raises:
        ValueError: the number of images is not `rows * cols`.
    """
    if rows < 1 or cols < 1:
        raise ValueError(f"rows and cols must be at least 1, got rows={rows} and cols={cols}")
    if len(images) != rows * cols:
        raise ValueError(f"a grid of {rows} rows and {cols} cols takes {rows * cols} images, got {len(images)}")
    if resize is not None:
        images = [image.resize((resize, resize)) for image in images]
    width, height = images[0].size
    grid = Image.new("RGB", (cols * width, rows * height))
    for position, image in enumerate(images):
        row, col = divmod(position, cols)
        grid.paste(image, (col * width, row * height))
    return grid


def load_image(
    image: str | os.PathLike[str] | Image.Image, convert_method: Callable[[Image.Image], Image.Image] | None = None
) -> Image.Image:
    """An image from a file, an http(s) address or a PIL image, upright (its EXIF orientation applied) and in RGB.

    Args:
        image: path, address or image.
        convert_method: applied instead of the conversion to RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ConnectionError: the address cannot be fetched.
        ValueError: the source is no image.
    """
    upright = _upright(image) if isinstance(image, Image.Image) else _open(os.fspath(image))
    return convert_method(upright) if convert_method is not None else upright.convert("RGB")


def _upright(picture: Image.Image, in_place: bool = False) -> Image.Image:
    try:
        if not in_place:
            return ImageOps.exif_transpose(picture)
        ImageOps.exif_transpose(picture, in_place=True)
        return picture
    except Exception:  # Pillow's errors for broken EXIF data are too many to list; the orientation is then unknown
        return picture


def decode_picture(
    content: bytes, name: str, most_side: int = MOST_SIDE, most_bytes: float = math.inf, into: str = "RGB"
) -> Image.Image:
    """A picture, upright, from the bytes of an untrusted file; it is decoded only if its header is within limits.

    It is decoded once, without intermediate copies, and without its texts and colour profile, which would need
    decompressing.

    Args:
        content: a PNG, JPEG or WebP file. Pillow reads others too, but some start programs (EPS starts Ghostscript) and
            some are read by rarely reviewed code.
        name: its name in error messages.
        most_side: the most pixels of a side; `MOST_PICTURE_PIXELS` limits the area as well.
        most_bytes: the most bytes of memory that decoding and then converting may take, given its format and mode.
        into: the mode to convert it to, RGB or L.

    Raises:
        PictureTooLarge: its header gives more pixels, or it would take more memory.
        ValueError: it has another format, is animated, is damaged, or is made to be slow.
    """
    with _as_value_errors(name, most_side):
        picture = _opened(content, name, most_side)
        _check_memory(picture, decoding_bytes(picture, content, into), most_bytes, name)
        picture.load()
    return _upright(picture, in_place=True)


def upright_size(content: bytes, name: str, most_side: int = MOST_SIDE) -> tuple[int, int]:
    """Width and height of the picture that `decode_picture` makes of a file, known from its header.

    Raises:
        PictureTooLarge, ValueError: as there, as far as the header shows.
    """
    with _as_value_errors(name, most_side):
        picture = _opened(content, name, most_side)
    width, height = picture.size
    return (height, width) if orientation(picture) in _ON_ITS_SIDE else (width, height)


def _opened(content: bytes, name: str, most_side: int) -> Image.Image:
    """A picture with its header read and within limits."""
    try:
        check_scans(content)
        pixels = for_pixels(content)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limits below handle it
        picture = Image.open(io.BytesIO(pixels), formats=FORMATS)
    if max(picture.size) > most_side or picture.width * picture.height > MOST_PICTURE_PIXELS:
        size = f"{picture.width}×{picture.height}"
        raise PictureTooLarge(f"{name} is {size}; at most {_most(most_side)} is accepted")
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) != 1:
        raise ValueError(f"{name} is animated; give a still picture")
    return picture


@contextmanager
def _as_value_errors(name: str, most_side: int) -> Iterator[None]:
    """Turn Pillow's errors for an unreadable file into our own messages."""
    try:
        yield
    except UnidentifiedImageError:
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise ValueError(f"{name} is no image in a known format; give a {known} file") from None
    except Image.DecompressionBombError:
        raise PictureTooLarge(f"{name} is larger than {_most(most_side)}") from None
    except (OSError, SyntaxError, EOFError, struct.error, IndexError, KeyError, TypeError, OverflowError):
        raise ValueError(f"{name} is truncated or broken; save the picture again") from None


class PictureTooLarge(ValueError):
    """A picture with too many pixels, or one that takes too much memory."""


def _check_memory(picture: Image.Image, bytes_per_pixel: float, most_bytes: float, name: str) -> None:
    """Refuse a picture before it is decoded."""
    pixels, in_rgb = picture.width * picture.height, 4
    if bytes_per_pixel * pixels <= most_bytes:
        return
    side, taken = math.isqrt(max(int(most_bytes / bytes_per_pixel), 0)), bytes_per_pixel * pixels / 1e6
    size = f"{picture.width}×{picture.height}"
    otherwise = "send it as a PNG file in RGB, or " if in_rgb * pixels <= most_bytes else ""
    raise PictureTooLarge(
        f"{name} is a {picture.format} of {size} in {picture.mode}, which takes {taken:.3g} MB to decode; "
        f"{otherwise}send at most {side}×{side}"
    )


def _most(side: int) -> str:
    bounded = min(side, math.isqrt(MOST_PICTURE_PIXELS))
    return f"{bounded}×{bounded}"


def _open(source: str) -> Image.Image:
    if source.startswith(("http://", "https://")):
        return decode_picture(fetch(source, MOST_BYTES), source)
    path = Path(source)
    with explained(f"read {source}"):
        if not path.is_file():
            raise FileNotFoundError(
                f"no image {source!r}: it is neither a file nor an address that starts with http:// or https://"
            )
        if (size := path.stat().st_size) > MOST_BYTES:
            raise PictureTooLarge(f"{source} has {size / 1e6:,.0f} MB; at most {MOST_BYTES // 10**6} are read")
        content = path.read_bytes()
    return decode_picture(content, source)


def to_pil(images: NDArray[np.float32]) -> list[Image.Image]:
    """PIL images from float arrays in [0, 1], (batch, height, width, 3)."""
    levels = images * 255
    levels = np.round(levels, out=levels).astype(np.uint8, order="C")  # Pillow reads other orders byte by byte
    return [Image.fromarray(image) for image in levels]
