"""Rectangles of pictures: finds what a mask covers, fits a picture into a size, and pastes results back.

Pictures can be a thousand times as large as the generated part. So no function copies a large one: each crops and
resizes first, converts the small result, and works in strips of rows.
"""

from collections.abc import Callable, Iterator

from PIL import Image, ImageFilter, ImageOps

from ..utils.images import MOST_PICTURE_PIXELS

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels."""

_FEW_PIXELS = 2**21
"""Pictures of up to this many pixels are copied whole. Pillow then resizes rows and columns in the faster order, which
rounds differently."""
_STRIP_PIXELS = 2**18
"""The approximate pixels of a strip; each takes four bytes in every picture made from it."""
_BLURRED_PIXELS = 2**20
"""The same of a mask's strip to blur: each takes a byte, and its surroundings are blurred as well."""


def masked_region(mask: Image.Image, width: int, height: int, pad: int = 0) -> Box:
    """The smallest rectangle around a mask's pixels above 0, ``pad`` larger on each side, in the ratio width : height.

    It is extended to that ratio, and shifted back where it would leave the picture.

    Raises:
        ValueError: the mask is all black.
    """
    covered = in_mode(mask, "L").getbbox()
    if covered is None:
        raise ValueError("mask_image is all black: there is nothing to repaint; white marks what to repaint")
    left, right = max(covered[0] - pad, 0), min(covered[2] + pad, mask.width)
    top, bottom = max(covered[1] - pad, 0), min(covered[3] + pad, mask.height)
    if (right - left) / (bottom - top) > width / height:
        top, bottom = _grown(top, bottom, (right - left) / (width / height), mask.height)
    else:
        left, right = _grown(left, right, (bottom - top) * (width / height), mask.width)
    return left, top, right, bottom


def blurred(mask: Image.Image, radii: tuple[int, int]) -> Image.Image:
    """A mask (L) with soft edges: a Gaussian of this horizontal and vertical σ in pixels, as Pillow's over all of it.

    Strips of one shade with surroundings of the same shade stay as they are, which most of a large mask does.
    """
    gaussian = ImageFilter.GaussianBlur(radii)
    if mask.width * mask.height <= _FEW_PIXELS:
        return mask.filter(gaussian)
    result, reach = mask.copy(), 3 * (radii[1] + 2)  # three boxes, each at most σ + 2 pixels to a side
    for first, end in _strips(*mask.size, max(_BLURRED_PIXELS, 4 * reach * mask.width)):
        top, bottom = max(first - reach, 0), min(end + reach, mask.height)
        around = mask.crop((0, top, mask.width, bottom))
        darkest, lightest = around.getextrema()
        if darkest != lightest:
            result.paste(around.filter(gaussian).crop((0, first - top, mask.width, end - top)), (0, first))
    return result


def _grown(start: int, end: int, length: float, limit: int) -> tuple[int, int]:
    """An interval made ``length`` long around its middle, inside [0, limit] as far as it fits."""
    more = int(length - (end - start))
    start, end = start - more // 2, end + more - more // 2
    if end >= limit:
        start, end = start - (end - limit), limit
    if start < 0:
        start, end = 0, end - start
    return start, min(end, limit)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """The picture converted, or itself if it has that mode: Pillow would copy it."""
    return image if image.mode == mode else image.convert(mode)


def resized_part(image: Image.Image, size: tuple[int, int], part: Box | None = None) -> Image.Image:
    """A part of a picture, by default all of it, resized (Lanczos).

    Pixels around the part do not influence it.
    """
    if part is None or part == (0, 0, *image.size):
        return image.resize(size, Image.Resampling.LANCZOS)
    width, height = part[2] - part[0], part[3] - part[1]
    if width * height <= _FEW_PIXELS or image.mode not in ("L", "RGB"):  # other modes are converted before resizing
        return image.crop(part).resize(size, Image.Resampling.LANCZOS)
    narrow = Image.new(image.mode, (size[0], height))
    for top, bottom in _strips(width, height, _STRIP_PIXELS):
        strip = image.crop((part[0], part[1] + top, part[2], part[1] + bottom))
        narrow.paste(strip.resize((size[0], bottom - top), Image.Resampling.LANCZOS), (0, top))
    return narrow.resize(size, Image.Resampling.LANCZOS)


def _strips(width: int, height: int, pixels: int) -> Iterator[tuple[int, int]]:
    """Strips of about ``pixels`` pixels that make up a picture: the first row of each, and the row after its last."""
    rows = max(pixels // width, 1)
    return ((top, min(top + rows, height)) for top in range(0, height, rows))


def fit_inside(image: Image.Image, width: int, height: int, part: Box | None = None) -> Image.Image:
    """A picture or a part of it fitted into ``width`` × ``height`` without distortion, centred, with extended edges."""
    left, top, right, bottom = (0, 0, *image.size) if part is None else part
    own = right - left, bottom - top
    wide = own[0] / own[1] > width / height
    size = (width, own[1] * width // own[0]) if wide else (own[0] * height // own[1], height)
    size = max(size[0], 1), max(size[1], 1)
    resized = resized_part(image, size, part)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(resized, (width // 2 - size[0] // 2, height // 2 - size[1] // 2))
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
    """A picture that fills ``width`` × ``height`` without distortion; the excess is cut off on both sides.

    Raises:
        ValueError: it is so narrow that all of it would have more than `MOST_PICTURE_PIXELS` at that size.
    """
    size = _whole_size(image, width, height)
    if size[0] * size[1] > MOST_PICTURE_PIXELS:
        raise ValueError(
            f"a picture of {image.width}×{image.height} is too narrow to fill {width}×{height}; crop it first"
        )
    return _filling(image, width, height)(0, height)


def _whole_size(image: Image.Image, width: int, height: int) -> tuple[int, int]:
    """Width and height of the whole picture once it fills ``width`` × ``height``."""
    wide = image.width / image.height < width / height
    return (width, image.height * width // image.width) if wide else (image.width * height // image.height, height)


def _filling(image: Image.Image, width: int, height: int) -> Callable[[int, int], Image.Image]:
    """A function that returns a range of rows of a picture that fills ``width`` × ``height``."""
    size = _whole_size(image, width, height)
    left, top = size[0] // 2 - width // 2, size[1] // 2 - height // 2
    across, down = image.width / size[0], image.height / size[1]

    def rows_of_few(first: int, end: int) -> Image.Image:
        return whole.crop((left, top + first, left + width, top + end)).convert("RGB")

    def rows_of_many(first: int, end: int) -> Image.Image:
        box = left * across, (top + first) * down, (left + width) * across, (top + end) * down
        within = min(box[2], image.width), min(box[3], image.height)  # despite rounding
        return image.resize((width, end - first), Image.Resampling.LANCZOS, (*box[:2], *within)).convert("RGB")

    if size[0] * size[1] > _FEW_PIXELS:
        return rows_of_many
    whole = image.resize(size, Image.Resampling.LANCZOS)
    return rows_of_few


_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""For `filled_from_around`: the radius in pixels of each blur, and how often it is composed over the previous ones."""


def filled_from_around(image: Image.Image, mask: Image.Image) -> Image.Image:
    """A picture (RGB) with blurred colours from around the mask (L, of the same size) where the mask is white.

    The picture without the masked part is blurred more and more finely and composed over the previous result each time,
    with an opacity equal to the share of picture within the radius: near the edge the nearest colours show, far inside
    those of the whole. The radii are AUTOMATIC1111's.
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


def paste_drawn(
    mask: Image.Image,
    original: Image.Image,
    drawn: Image.Image,
    region: Box | None = None,
    in_place: bool = False,
) -> Image.Image:
    """The original with the result where the mask is white, blended where it is grey.

    With ``region`` the result covers that rectangle of the original. With ``in_place`` the original itself is changed,
    if it is in RGB, and returned.
    """
    result = original if in_place and original.mode == "RGB" else original.convert("RGB")
    left, top, right, bottom = (0, 0, *original.size) if region is None else region
    rows = None if region is None else _filling(drawn, right - left, bottom - top)
    for first, end in _strips(*original.size, _STRIP_PIXELS):
        strip = 0, first, original.width, end
        opacity = mask.crop(strip).convert("L")
        if opacity.getbbox() is None and not original.has_transparency_data:
            continue
        if rows is None:
            shown = drawn.crop(strip)
        else:
            shown, begin, stop = Image.new("RGB", (original.width, end - first)), max(first, top), min(end, bottom)
            if begin < stop:
                shown.paste(rows(begin - top, stop - top), (left, begin - first))
        result.paste(_blended(opacity, original.crop(strip), shown), (0, first))
    return result


def _blended(mask: Image.Image, original: Image.Image, drawn: Image.Image) -> Image.Image:
    if mask.getextrema() == (255, 255):
        return drawn
    kept = Image.new("RGBa", original.size)
    kept.paste(_premultiplied(original), mask=ImageOps.invert(mask))
    return Image.alpha_composite(drawn.convert("RGBA"), kept.convert("RGBA")).convert("RGB")


def _premultiplied(image: Image.Image) -> Image.Image:
    return image.convert("RGBA" if image.has_transparency_data else "RGB").convert("RGBa")
