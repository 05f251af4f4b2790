"""Converts between pictures and the arrays of networks: PIL images and arrays in, PIL images and arrays out."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ..engines import Array
from ..loading.config import Config
from ..loading.configurable import Configurable
from ..utils.images import to_pil
from .regions import Box, fill_whole, fit_inside, masked_region, paste_drawn

Images: TypeAlias = list[Image.Image] | Array
"""A pipeline's result: PIL images, a float32 array (images, height, width, 3) in [0, 1], or latents."""

ImageInput: TypeAlias = Image.Image | Sequence[Image.Image] | Array
"""A pipeline's picture input: a PIL image or several of one size; float arrays in [0, 1], NumPy (…, height, width,
channels) or ``ms.Tensor`` (…, channels, height, width), or a list of them; or latents (images, channels, height,
width)."""

_RESAMPLING = {"nearest": 0, "lanczos": 1, "bilinear": 2, "linear": 2, "bicubic": 3}
_OUTPUT_TYPES = ("pil", "np", "pt", "latent")


class VaeImageProcessor(Configurable):
    """Prepares pictures for an autoencoder or a ControlNet, and converts results back.

    Args:
        do_resize: resize pictures to the requested size, a multiple of ``vae_scale_factor``.
        vae_scale_factor: pixels per latent, along each side.
        vae_latent_channels: the number of channels that identifies latents.
        resample: how to resize PIL images: "lanczos", "bilinear", "bicubic" or "nearest". Arrays always use "nearest".
        reducing_gap: as in ``PIL.Image.Image.resize``.
        do_normalize: map [0, 1] to [-1, 1].
        do_binarize: map values below 0.5 to 0 and others to 1, for masks.
        do_convert_rgb, do_convert_grayscale: convert PIL images first.
    """

    def __init__(
        self,
        do_resize: bool = True,
        vae_scale_factor: int = 8,
        vae_latent_channels: int = 4,
        resample: str = "lanczos",
        reducing_gap: float | None = None,
        do_normalize: bool = True,
        do_binarize: bool = False,
        do_convert_rgb: bool = False,
        do_convert_grayscale: bool = False,
    ):
        if do_convert_rgb and do_convert_grayscale:
            raise ValueError("do_convert_rgb and do_convert_grayscale exclude each other; set one of them")
        if resample not in _RESAMPLING:
            raise ValueError(f"resample must be one of {', '.join(_RESAMPLING)}, got {resample!r}")
        self.config = Config(
            do_resize=do_resize,
            vae_scale_factor=vae_scale_factor,
            vae_latent_channels=vae_latent_channels,
            resample=resample,
            reducing_gap=reducing_gap,
            do_normalize=do_normalize,
            do_binarize=do_binarize,
            do_convert_rgb=do_convert_rgb,
            do_convert_grayscale=do_convert_grayscale,
        )

    # ---- in ----------------------------------------------------------------------------------------------------------

    def preprocess(
        self,
        image: ImageInput,
        height: int | None = None,
        width: int | None = None,
        resize_mode: str = "default",
        crops_coords: Box | None = None,
    ) -> NDArray[np.float32]:
        """Pictures as float32 (images, channels, height, width), in [-1, 1] unless ``do_normalize`` is off.

        Args:
            image: see `ImageInput`. Latents come back unchanged.
            height, width: the target size, by default their own, rounded down to multiples of ``vae_scale_factor``.
            resize_mode: "default" may distort, "fill" extends the edges, "crop" cuts them off (the last two only for
                PIL images).
            crops_coords: the rectangle to cut out of PIL images first.

        Raises:
            ValueError: no picture, pictures of different sizes, or values outside [0, 1]. Without normalizing and
                binarizing, as for ControlNets, arrays may go down to -1, which marks masked pixels.
        """
        pictures = list(image) if isinstance(image, (list, tuple)) else [image]
        drawn = [each for each in pictures if isinstance(each, Image.Image)]
        if drawn and len(drawn) == len(pictures):
            pixels = self._pixels_of(drawn, height, width, resize_mode, crops_coords)
        else:
            pixels = _stacked(pictures)
            if self.is_latents(pixels):
                return pixels
            pixels = self._resized_array(pixels, height, width)
        least = 0 if self.config.do_normalize or self.config.do_binarize else -1  # marks masked pixels for ControlNets
        if not (pixels.min() >= least and pixels.max() <= 1):
            raise ValueError(
                f"image must hold values from {least} to 1 (PIL images are converted), got {pixels.min():g} to "
                f"{pixels.max():g}"
            )
        if self.config.do_normalize:
            pixels = self.normalize(pixels)
        return (pixels >= 0.5).astype(np.float32) if self.config.do_binarize else pixels

    def is_latents(self, pixels: NDArray[np.float32]) -> bool:
        """Whether an array (images, channels, height, width) holds latents rather than pictures, by its channels."""
        return not self.config.do_convert_grayscale and pixels.shape[1] == self.config.vae_latent_channels

    def get_default_height_width(
        self, image: ImageInput, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        """The given size, or else the picture's own, rounded down to multiples of ``vae_scale_factor``.

        Arrays are as in `ImageInput`.
        """
        if isinstance(image, Image.Image):
            own: tuple[int, ...] = (image.height, image.width)
        elif isinstance(image, Sequence):
            return self.get_default_height_width(image[0], height, width)
        else:
            own = _channels_first(image).shape[2:4]
        return self._rounded_down(own[0] if height is None else height, own[1] if width is None else width)

    def _rounded_down(self, height: int, width: int) -> tuple[int, int]:
        factor = self.config.vae_scale_factor
        if min(height, width) < factor:
            raise ValueError(f"image must have at least {factor} pixels each way, got {height}×{width} (height×width)")
        return height - height % factor, width - width % factor

    def _pixels_of(
        self, pictures: list[Image.Image], height: int | None, width: int | None, resize_mode: str, crop: Box | None
    ) -> NDArray[np.float32]:
        left, top, right, bottom = crop or (0, 0, *pictures[0].size)
        if self.config.do_resize:
            height, width = self._rounded_down(
                bottom - top if height is None else height, right - left if width is None else width
            )
            pictures = [self._resized(picture, height, width, resize_mode, crop) for picture in pictures]
        elif crop is not None:
            pictures = [picture.crop(crop) for picture in pictures]
        if self.config.do_convert_grayscale:
            pictures = [self.convert_to_grayscale(picture) for picture in pictures]
        elif self.config.do_convert_rgb or any(picture.mode not in ("RGB", "L") for picture in pictures):
            pictures = [self.convert_to_rgb(picture) for picture in pictures]
        pixels = self.pil_to_numpy(pictures)
        return np.ascontiguousarray((pixels[..., None] if pixels.ndim == 3 else pixels).transpose(0, 3, 1, 2))

    def _resized_array(self, pixels: NDArray[np.float32], height: int | None, width: int | None) -> NDArray[np.float32]:
        if self.config.do_convert_grayscale and pixels.shape[1] not in (1,):
            raise ValueError(f"a mask must have one channel, got {pixels.shape[1]}")
        if not self.config.do_resize:
            return pixels
        return resize_nearest(pixels, *self._rounded_down(height or pixels.shape[2], width or pixels.shape[3]))

    def resize(
        self, image: Image.Image | NDArray[np.float32], height: int, width: int, resize_mode: str = "default"
    ) -> Image.Image | NDArray[np.float32]:
        """A PIL image, or a NumPy array (images, height, width, channels), resized; see `preprocess`."""
        if isinstance(image, Image.Image):
            return self._resized(image, height, width, resize_mode)
        if resize_mode != "default":
            raise ValueError(f"resize_mode {resize_mode!r} needs a PIL image, got {type(image).__name__}")
        return resize_nearest(image.transpose(0, 3, 1, 2), height, width).transpose(0, 2, 3, 1)

    def _resized(
        self, image: Image.Image, height: int, width: int, resize_mode: str, crop: Box | None = None
    ) -> Image.Image:
        if resize_mode == "fill":
            return fit_inside(image, width, height, crop)
        image = image if crop is None else image.crop(crop)
        if resize_mode == "crop":
            return fill_whole(image, width, height)
        if resize_mode != "default":
            raise ValueError(f"resize_mode must be one of default, fill, crop, got {resize_mode!r}")
        method = Image.Resampling(_RESAMPLING[self.config.resample])
        return image.resize((width, height), method, reducing_gap=self.config.reducing_gap)

    # ---- masks -------------------------------------------------------------------------------------------------------

    @staticmethod
    def blur(image: Image.Image, blur_factor: int = 4) -> Image.Image:
        """A picture, usually a mask, with soft edges ``blur_factor`` pixels wide (a Gaussian)."""
        return image.filter(ImageFilter.GaussianBlur(blur_factor))

    @staticmethod
    def get_crop_region(mask_image: Image.Image, width: int, height: int, pad: int = 0) -> Box:
        """The rectangle of a mask to which inpainting is confined; see `regions.masked_region`."""
        return masked_region(mask_image, width, height, pad)

    def apply_overlay(
        self, mask: Image.Image, init_image: Image.Image, image: Image.Image, crop_coords: Box | None = None
    ) -> Image.Image:
        """The original with the result where the mask is white; see `regions.paste_drawn`."""
        return paste_drawn(mask, init_image, image, crop_coords)

    # ---- out ---------------------------------------------------------------------------------------------------------

    def postprocess(
        self, image: Array, output_type: str = "pil", do_denormalize: Sequence[bool] | None = None
    ) -> Images:
        """Decoded images, (images, channels, height, width), in the form that the user wants.

        Args:
            image: NumPy or ``ms.Tensor``.
            output_type: "pil", "np" (images, height, width, channels), "pt" (channels first), or "latent", unchanged.
            do_denormalize: for each image whether it is in [-1, 1]; by default ``do_normalize`` for all.
        """
        if output_type not in _OUTPUT_TYPES:
            raise ValueError(f"output_type must be one of {', '.join(_OUTPUT_TYPES)}, got {output_type!r}")
        if output_type == "latent":
            return image
        pixels = np.asarray(image.asnumpy() if hasattr(image, "asnumpy") else image, np.float32)
        normal = [bool(self.config.do_normalize)] * len(pixels) if do_denormalize is None else do_denormalize
        pixels = np.stack([self.denormalize(one) if is_normal else one for one, is_normal in zip(pixels, normal)])
        if output_type == "pt":
            return pixels
        pixels = pixels.transpose(0, 2, 3, 1)
        return self.numpy_to_pil(pixels) if output_type == "pil" else pixels

    @staticmethod
    def normalize(images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map [0, 1] to [-1, 1]."""
        return 2.0 * images - 1.0

    @staticmethod
    def denormalize(images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map [-1, 1] to [0, 1] and clip values beyond."""
        return np.clip(images * 0.5 + 0.5, 0.0, 1.0)

    @staticmethod
    def convert_to_rgb(image: Image.Image) -> Image.Image:
        """A picture in RGB."""
        return image.convert("RGB")

    @staticmethod
    def convert_to_grayscale(image: Image.Image) -> Image.Image:
        """A picture in shades of grey."""
        return image.convert("L")

    @staticmethod
    def pil_to_numpy(images: list[Image.Image] | Image.Image) -> NDArray[np.float32]:
        """PIL images of one size as float32 in [0, 1], (images, height, width, channels), without channels for grey."""
        pictures = images if isinstance(images, list) else [images]
        return np.stack([np.asarray(picture, np.float32) / 255.0 for picture in pictures])

    @staticmethod
    def numpy_to_pil(images: NDArray[np.float32]) -> list[Image.Image]:
        """PIL images from float arrays in [0, 1], (images, height, width, channels) or one without the first axis."""
        batch = images[None] if images.ndim == 3 else images
        return to_pil(batch[..., 0] if batch.shape[-1] == 1 else batch)


def _stacked(pictures: Sequence[object]) -> NDArray[np.float32]:
    """Arrays as float32 (images, channels, height, width)."""
    batches = [_channels_first(picture) for picture in pictures]
    shapes = list(dict.fromkeys(batch.shape[1:] for batch in batches))
    if len(shapes) != 1:
        raise ValueError(f"images must be of one size, got {', '.join(map(str, shapes)) or 'none'}")
    return np.concatenate(batches)


def _channels_first(picture: object) -> NDArray[np.float32]:
    shape = getattr(picture, "shape", None)
    if shape is None or len(shape) not in (2, 3, 4):
        raise ValueError(
            "image must be a PIL image, a NumPy array (height, width, channels), an ms.Tensor (channels, height, "
            f"width), or a list of them, got {type(picture).__name__}"
        )
    if 0 in shape:
        raise ValueError(f"image has no pixels: an array of the shape {tuple(shape)}; give one that has")
    if hasattr(picture, "asnumpy"):
        pixels: NDArray[np.float32] = np.asarray(picture.asnumpy(), np.float32)
        return pixels.reshape((1,) * (4 - pixels.ndim) + pixels.shape)
    pixels = np.asarray(picture, np.float32)
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4)):  # without channels: a mask
        pixels = pixels[..., None]
    pixels = pixels if pixels.ndim == 4 else pixels[None]
    # NumPy latents come from an engine as (images, channels, height, width): no picture has 4 rows.
    return pixels if pixels.shape[-1] not in (1, 3) and pixels.shape[1] <= 16 else pixels.transpose(0, 3, 1, 2)


def resize_nearest(pixels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(images, channels, height, width) resized; each pixel is the nearest one before it."""
    rows = np.arange(height) * pixels.shape[2] // height
    columns = np.arange(width) * pixels.shape[3] // width
    return pixels[:, :, rows][:, :, :, columns]


def resize_bicubic(pixels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(images, channels, height, width) resized by cubic convolution (Keys 1981, a = -3/4), without smoothing.

    Edges are extended, and samples lie at pixel centres.
    """
    for axis, size in ((2, height), (3, width)):
        pixels = np.moveaxis(np.tensordot(_cubic_weights(pixels.shape[axis], size), pixels, (1, axis)), 0, axis)
    return pixels.astype(np.float32)


def _cubic_weights(length: int, size: int) -> NDArray[np.float64]:
    """The matrix (size, length) that samples a row of ``length`` at ``size`` places."""
    places = (np.arange(size) + 0.5) * length / size - 0.5
    weights = np.zeros((size, length))
    for offset in (-1, 0, 1, 2):
        index = np.floor(places).astype(int) + offset
        x = np.abs(places - index)
        near, far = (1.25 * x - 2.25) * x * x + 1, ((-0.75 * x + 3.75) * x - 6) * x + 3
        np.add.at(weights, (np.arange(size), index.clip(0, length - 1)), np.where(x <= 1, near, far))
    return weights
