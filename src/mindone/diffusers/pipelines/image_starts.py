"""Runs that start from a picture plus the noise that the remaining steps remove."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..schedulers.base import Generators, draw_noise
from ..utils.sizes import check_sides
from . import checks
from .image_processor import ImageInput, VaeImageProcessor
from .loop import Run
from .picture_calls import PictureArguments
from .pipeline import Pipeline
from .spans import choose_span
from .starts import Shape, Start, check_plain_network, latents_shape

Floats = NDArray[np.float32]


class FromImage(Start):
    """SDEdit (Meng et al. 2022): a picture with noise in proportion to ``strength``.

    One picture serves all images; several take turns. With ``denoising_start`` the picture is already noisy.
    """

    call: PictureArguments
    pixels: Floats

    def check_network(self, pipe: Pipeline) -> None:
        """Nothing in addition to the latents."""
        check_plain_network(pipe)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        self.check_network(pipe)
        latents = self.call.latents
        if latents is not None:
            self.pixels = pipe.engine.numpy(pipe.engine.asarray(latents))
            checks.check_latents(latents, latents_shape(pipe, images, *size_of(pipe, self.pixels)))
        else:
            self.pixels = preprocess_image(pipe, self.call.image, self.call.height, self.call.width)
            check_divides("image", len(self.pixels), images)
        return size_of(pipe, self.pixels)

    def choose_timesteps(self, run: Run) -> None:
        """The last fraction ``strength`` of them, or those between the start and the end."""
        choose_span(run, self.call)

    def begin(self, run: Run, shape: Shape) -> None:
        """The encoder draws from the generator first, then the noise."""
        call, images = self.call, shape[0]
        latents = repeat_rows(run, encoded(run, self.pixels, call.generator, images), images)
        if call.denoising_start is None and call.latents is None:
            noise = run.engine.asarray(draw_noise(np.empty(shape, np.float32), call.generator))
            latents = run.scheduler.add_noise(latents, noise, run.timesteps[:1])
        run.tensors["latents"] = latents


def image_processor(pipe: Pipeline) -> VaeImageProcessor:
    """Prepares pictures for the pipeline's autoencoder."""
    channels = pipe.vae.config["latent_channels"]
    return VaeImageProcessor(vae_scale_factor=pipe.vae_scale_factor, vae_latent_channels=channels, do_convert_rgb=True)


def preprocess_image(
    pipe: Pipeline, image: ImageInput | None, height: int | None = None, width: int | None = None
) -> Floats:
    """A picture as pixels in [-1, 1] (images, 3, height, width), in its own size or another; latents unchanged.

    Raises:
        ValueError: there is none, or it is no picture.
    """
    if image is None:
        raise ValueError(f"{type(pipe).__name__} needs image: a PIL image, an array, or latents")
    if height is not None and width is not None:
        check_sides({"height": height, "width": width}, 1)
        checks.check_pixels_memory(1, height, width)
    pixels = image_processor(pipe).preprocess(image, height, width)
    check_channels(pipe, pixels)
    return pixels


def pictures_of_size(
    pipe: Pipeline, image: ImageInput | None, images: int, height: int, width: int, advice: str = ""
) -> Floats:
    """Pictures as pixels in [-1, 1] (pictures, 3, height, width), shared by ``images``; latents unchanged.

    Raises:
        ValueError: see `preprocess_image`; also latents of another size, with ``advice`` for the caller.
    """
    pixels = preprocess_image(pipe, image, height, width)
    check_divides("image", len(pixels), images)
    size = latents_shape(pipe, images, height, width)[2:]
    if pixels.shape[1] != 3 and pixels.shape[2:] != size:
        raise ValueError(
            f"image holds latents of {pixels.shape[2:]}, and {height}×{width} pixels have {size}; pass height and "
            f"width{advice}"
        )
    return pixels


def check_channels(pipe: Pipeline, pixels: Floats) -> None:
    """Check the channels: three for pictures, the autoencoder's for latents."""
    known = (3, pipe.vae.config["latent_channels"])
    if pixels.shape[1] not in known or 0 in pixels.shape:
        raise ValueError(
            f"image must have 3 channels (latents: {known[1]}) and at least {pipe.vae_scale_factor} pixels each way, "
            f"got the shape {pixels.shape}"
        )


def size_of(pipe: Pipeline, pixels: Floats) -> tuple[int, int]:
    """The height and width in pixels of a picture or of decoded latents."""
    factor = 1 if pixels.shape[1] == 3 else pipe.vae_scale_factor
    return pixels.shape[2] * factor, pixels.shape[3] * factor


def check_divides(name: str, given: int, images: int) -> None:
    """Refuse a number of pictures that does not divide the number of images."""
    if images % given:
        raise ValueError(f"{name} holds {given} pictures, which cannot be divided evenly among {images} images")


def encoded(run: Run, pixels: Floats, generator: Generators, rows: int) -> Array:
    """Pictures as latents of unit variance, one per generator if there is a list; latents unchanged.

    ``rows`` is the number of images: with a list of generators each image gets latents from its own.
    """
    engine, vae = run.engine, run.pipe.vae
    if pixels.shape[1] != 3:
        return engine.asarray(pixels)
    if generator is None:
        generator = np.random.default_rng()
    sources = list(generator)[:rows] if isinstance(generator, Sequence) else generator
    latents = vae.encode_with(engine, engine.asarray(pixels), sources)
    shift, factor = float(vae.config.get("shift_factor") or 0.0), float(vae.config["scaling_factor"])
    return (latents - shift) * factor


def repeat_rows(run: Run, x: Array, rows: int) -> Array:
    """``x`` repeated until it has ``rows`` rows."""
    return x if x.shape[0] == rows else run.engine.concat([x] * (rows // x.shape[0]))
