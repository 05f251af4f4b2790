"""Rectangles of pictures: what a mask covers, fitting a picture into a size, and pasting what was drawn back."""

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from ..utils.images import MOST_PICTURE_PIXELS

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""


def masked_region(mask: Image.Image, width: int, height: int, pad: int = 0) -> Box:
    """The smallest rectangle around a mask's pixels above 0, ``pad`` larger on each side, of the ratio width : height.

    It is widened or heightened to that ratio, and pushed back into the picture where it would leave it.

    Raises:
        ValueError: the mask is all black.
    """
    pixels = np.asarray(mask.convert("L")) > 0
    if not pixels.any():
        raise ValueError("mask_image is all black: there is nothing to repaint; white marks what is to be drawn anew")
    columns, rows = np.flatnonzero(pixels.any(axis=0)), np.flatnonzero(pixels.any(axis=1))
    left, right = max(int(columns[0]) - pad, 0), min(int(columns[-1]) + 1 + pad, mask.width)
    top, bottom = max(int(rows[0]) - pad, 0), min(int(rows[-1]) + 1 + pad, mask.height)
    if (right - left) / (bottom - top) > width / height:
        top, bottom = _grown(top, bottom, (right - left) / (width / height), mask.height)
    else:
        left, right = _grown(left, right, (bottom - top) * (width / height), mask.width)
    return left, top, right, bottom


def _grown(start: int, end: int, length: float, limit: int) -> tuple[int, int]:
    """An interval made ``length`` long around its middle, inside [0, limit] as far as it fits."""
    more = int(length - (end - start))
    start, end = start - more // 2, end + more - more // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)


def fit_inside(image: Image.Image, width: int, height: int) -> Image.Image:
    """A picture in ``width`` × ``height`` without distortion, whole, in the middle, its edges drawn out."""
    wide = image.width / image.height > width / height
    size = (width, image.height * width // image.width) if wide else (image.width * height // image.height, height)
    size = max(size[0], 1), max(size[1], 1)
    resized = image.resize(size, Image.Resampling.LANCZOS)
    canvas = _centred(resized, width, height)
    if wide and (margin := height // 2 - size[1] // 2) > 0:
        canvas.paste(resized.resize((width, margin), box=(0, 0, width, 0)), (0, 0))
        edge = resized.resize((width, margin), box=(0, size[1], width, size[1]))
        canvas.paste(edge, (0, margin + size[1]))
    elif (margin := width // 2 - size[0] // 2) > 0:
        canvas.paste(resized.resize((margin, height), box=(0, 0, 0, height)), (0, 0))
        edge = resized.resize((margin, height), box=(size[0], 0, size[0], height))
        canvas.paste(edge, (margin + size[0], 0))
    return canvas


def fill_whole(image: Image.Image, width: int, height: int) -> Image.Image:
    """A picture that fills ``width`` × ``height`` without distortion; what stands over is cut off on both sides.

    Raises:
        ValueError: it is so narrow that the whole of it would have more than `MOST_PICTURE_PIXELS` in that size.
    """
    wide = image.width / image.height < width / height
    size = (width, image.height * width // image.width) if wide else (image.width * height // image.height, height)
    if size[0] * size[1] > MOST_PICTURE_PIXELS:
        raise ValueError(
            f"a picture of {image.width}×{image.height} is too narrow to fill {width}×{height}; cut it to a part first"
        )
    return _centred(image.resize(size, Image.Resampling.LANCZOS), width, height)


def _centred(image: Image.Image, width: int, height: int) -> Image.Image:
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image, (width // 2 - image.width // 2, height // 2 - image.height // 2))
    return canvas


_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Of `filled_from_around`: the radius in pixels of each blur, and how often it is laid over those before."""


def filled_from_around(image: Image.Image, mask: Image.Image) -> Image.Image:
    """A picture (RGB) with blurred colours of what is around the mask (L, of the same size) where that is white.

    The picture without the masked part is blurred more and more finely, and each time laid over what was there, as
    opaque as there was picture within the radius: near the edge its own colours show, far inside those of the whole.
    The radii are AUTOMATIC1111's.
    """
    around = image.convert("RGBA")
    around.putalpha(ImageOps.invert(mask))
    around = around.convert("RGBa")
    filled = Image.new("RGBA", image.size)
    for radius, times in _BLURS:
        layer = around.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            filled.alpha_composite(layer)
    return filled.convert("RGB")


def paste_drawn(mask: Image.Image, original: Image.Image, drawn: Image.Image, region: Box | None = None) -> Image.Image:
    """The original with what was drawn where the mask is white, blended where it is grey.

    With ``region`` what was drawn stands for that rectangle of the original.
    """
    kept = Image.new("RGBa", original.size)
    kept.paste(original.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    if region is not None:
        left, top, right, bottom = region
        base = Image.new("RGBA", original.size)
        base.paste(fill_whole(drawn, right - left, bottom - top), (left, top))
        drawn = base.convert("RGB")
    result = drawn.convert("RGBA")
    result.alpha_composite(kept.convert("RGBA"))
    return result.convert("RGB")
