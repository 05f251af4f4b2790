"""Images in and images side by side."""

import io
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

_TIMEOUT_SECONDS = 30


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
        ValueError: what was given is no image.
    """
    opened = image if isinstance(image, Image.Image) else _open(os.fspath(image))
    try:
        upright = ImageOps.exif_transpose(opened)
    except Exception as error:  # what Pillow raises for broken EXIF data is not to be listed: struct.error, TypeError…
        raise ValueError(f"the EXIF data of the image are broken: {error}") from None
    return convert_method(upright) if convert_method is not None else upright.convert("RGB")


def _open(source: str) -> Image.Image:
    if source.startswith(("http://", "https://")):
        data = _download(source)
    elif Path(source).is_file():
        data = Path(source).read_bytes()
    else:
        raise FileNotFoundError(
            f"no image {source!r}: it is no file, and no address that starts with http:// or https://"
        )
    try:
        opened = Image.open(io.BytesIO(data))
        opened.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        what = "truncated or broken" if not isinstance(error, UnidentifiedImageError) else "no image in a known format"
        raise ValueError(f"{source} is {what}; give a PNG, JPEG or WebP file") from None
    return opened


def _download(address: str) -> bytes:
    request = urllib.request.Request(address, headers={"User-Agent": "mindone-diffusers"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        raise ConnectionError(f"cannot fetch {address}: the server answers {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(f"cannot fetch {address}: {reason}; check the address and the network") from None
