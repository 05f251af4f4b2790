"""The input pictures of a job: read and checked before any network runs, then resized for the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..utils.images import load_image
from .job import Job

_EDGE_SIGMA = 1.5
"""The width in pixels of the Gaussian that smooths a picture before edge detection."""


@dataclass(frozen=True)
class Pictures:
    """A job's pictures at their original size, in RGB or L."""

    image: Image.Image | None = None
    mask: Image.Image | None = None
    controls: tuple[tuple[str, Image.Image], ...] = ()
    """Kind and picture, one per ControlNet."""
    spent: bool = False
    """Whether ``image`` is no longer needed elsewhere, so that the result can go into it and not into a copy."""

    def size(self, height: int | None, width: int | None, factor: int) -> tuple[int | None, int | None]:
        """The height and width to generate: the requested ones, else the first picture's, in multiples of ``factor``.

        If one side is given, the other keeps the picture's proportions. Without pictures the pipeline decides, and None
        stays None.

        Raises:
            ValueError: the picture is smaller than ``factor``.
        """
        first = self.image or next((picture for _, picture in self.controls), None)
        if first is None or (height is not None and width is not None):
            return height, width
        if height is not None:
            return height, max(round(height * first.width / first.height / factor), 1) * factor
        if width is not None:
            return max(round(width * first.height / first.width / factor), 1) * factor, width
        if min(first.size) < factor:
            raise ValueError(
                f"the picture is {first.width}×{first.height}, smaller than {factor}×{factor}; give height or width"
            )
        return first.height // factor * factor, first.width // factor * factor

    def arguments(self, height: int | None, width: int | None, is_cut: bool = False) -> dict[str, object]:
        """The pipeline call's arguments for pictures and size, without None.

        If the pipeline crops to the mask (``is_cut``), it gets the pictures at their original size.
        """
        size: dict[str, object] = {
            name: value for name, value in (("height", height), ("width", width)) if value is not None
        }
        if self.image is None or height is None or width is None:
            followed = self._followed(height, width)
            return size if followed is None else {**size, "image": followed}
        shown_height, shown_width = (self.image.height, self.image.width) if is_cut else (height, width)
        image = self.image if is_cut else _shown(self.image, height, width)
        arguments: dict[str, object] = {"image": image}
        if self.mask is not None:
            arguments |= {"mask_image": _resized(self.mask, shown_height, shown_width), **size}
        return {**arguments, **self.control_arguments(shown_height, shown_width)}

    def control_arguments(self, height: int, width: int) -> Mapping[str, object]:
        """The argument for pictures to follow, for pipelines that start from another picture; may be empty."""
        followed = self._followed(height, width)
        return {} if followed is None else {"control_image": followed}

    def _followed(self, height: int | None, width: int | None) -> Image.Image | list[Image.Image] | None:
        """The pictures to follow: one, or a list with one per ControlNet."""
        if not self.controls or height is None or width is None:
            return None
        followed = [_controlling(kind, _shown(picture, height, width)) for kind, picture in self.controls]
        return followed[0] if len(followed) == 1 else followed


def read_pictures(job: Job) -> Pictures:
    """Read the job's picture files, or download from their addresses.

    Raises:
        FileNotFoundError, ConnectionError: a picture is missing.
        ValueError: a file is no picture, or the mask is all black.
    """
    paths = [each.partition("=") for each in job.control]
    controls = tuple((kind, load_image(path)) for kind, _, path in paths)
    if job.image is None:
        return Pictures(controls=controls)
    image = load_image(job.image)
    if job.mask is None:
        return Pictures(image, controls=controls)
    mask = stretched(load_image(job.mask), image.size)
    check_mask(image, mask, f"image {job.image}", f"mask {job.mask}")
    return Pictures(image, mask, controls)


def stretched(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A mask resized to a picture of this width and height; averaging adds no ring around white parts."""
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BOX)


def check_mask(image: Image.Image, mask: Image.Image, image_name: str = "image", mask_name: str = "mask") -> None:
    """Raise ValueError if the mask's size differs from the picture's, or if it has no white."""
    if image.size != mask.size:
        raise ValueError(
            f"{image_name} is {image.width}×{image.height} and {mask_name} {mask.width}×{mask.height}; they must be of "
            "one size"
        )
    if not has_white(mask):
        raise ValueError(f"{mask_name} is all black: there is nothing to repaint; white marks what to repaint")


def has_white(mask: Image.Image) -> bool:
    """Whether a mask marks anything to repaint."""
    grey = mask if mask.mode == "L" else mask.convert("L")
    return grey.histogram()[128:] != [0] * 128  # without a copy: masks may be large


def edges(picture: Image.Image) -> Image.Image:
    """White edges on black (Canny 1986), the input of edge ControlNets."""
    from skimage.feature import canny

    found = canny(np.asarray(picture.convert("L"), np.float32) / 255.0, sigma=_EDGE_SIGMA)
    return Image.fromarray(found.astype(np.uint8) * 255).convert("RGB")


def _controlling(kind: str, picture: Image.Image) -> Image.Image:
    return edges(picture) if kind == "canny" else picture


def _shown(picture: Image.Image, height: int, width: int) -> Image.Image:
    """Convert to RGB late, when the picture is small: until then grey ones take a quarter of the memory."""
    resized = _resized(picture, height, width)
    return resized if resized.mode == "RGB" else resized.convert("RGB")


def _resized(picture: Image.Image, height: int, width: int) -> Image.Image:
    if picture.size == (width, height):
        return picture
    return picture.resize((width, height), Image.Resampling.LANCZOS)
