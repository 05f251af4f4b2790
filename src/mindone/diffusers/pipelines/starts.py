"""What runs start from: noise, or a picture with as much noise as the steps that remain take away."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..schedulers.base import Generators, draw_noise
from . import checks
from .calls import Arguments
from .image_processor import ImageInput, Images, VaeImageProcessor
from .image_prompt import ImagePrompt
from .noise import initial_latents
from .pipeline import Pipeline
from .run import Run
from .spans import choose_span, keep_until

Floats = NDArray[np.float32]
Shape: TypeAlias = tuple[int, int, int, int]
"""Of latents: images, channels, height, width."""


class Guide(Protocol):
    """What a run follows besides the text: the pictures of ControlNets, and those of IP-Adapters."""

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """Check the arguments before any network runs."""

    def begin(self, run: Run) -> None:
        """Add to the run's ``controls``."""


class Start(ABC):
    """What a run starts from: noise, or a picture with noise on it. One is made for each call."""

    def __init__(self, call: Arguments):
        self.call = call

    @abstractmethod
    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """Check the arguments before any network runs. Returns the height and width of the images in pixels."""

    def guides(self) -> list[Guide]:
        """What the run follows besides the text."""
        return [ImagePrompt(self.call.ip_adapter_image, self.call.ip_adapter_image_embeds)]

    def choose_timesteps(self, run: Run) -> None:
        """Leave out the steps that lie behind or beyond. The scheduler has laid all of them out."""
        run.settings.denoising_end = self.call.denoising_end
        if self.call.denoising_end is not None:
            keep_until(run, self.call.denoising_end)

    @abstractmethod
    def begin(self, run: Run, shape: Shape) -> None:
        """Put the first latents, of the shape, into ``run.tensors``, and whatever else the run needs of pictures."""

    def put_back(self, images: Images) -> Images:
        """The images of a call, of what was drawn."""
        return images


class FromNoise(Start):
    """Noise, or the user's own ``latents``."""

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        check_plain_network(pipe)
        height, width = self.size(pipe)
        checks.check_size(pipe, height, width)
        checks.check_latents(self.call.latents, latents_shape(pipe, images, height, width))
        return height, width

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """The height and width that are asked for."""
        return checks.default_size(pipe, self.call.height, self.call.width, self.call.latents)

    def begin(self, run: Run, shape: Shape) -> None:
        """See `Start`."""
        run.tensors["latents"] = initial_latents(run, shape, self.call.generator, self.call.latents)


class FromImage(Start):
    """SDEdit (Meng et al. 2022): a picture, with noise added as far as ``strength`` says.

    One picture serves all images; of several, each serves every so many-th. Where ``denoising_start`` is given the
    picture is noisy already.
    """

    pixels: Floats

    def check_network(self, pipe: Pipeline) -> None:
        """Nothing besides the latents."""
        check_plain_network(pipe)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        self.check_network(pipe)
        latents = self.call.latents
        if latents is not None:
            self.pixels = pipe.engine.numpy(latents)
            checks.check_latents(latents, latents_shape(pipe, images, *size_of(pipe, self.pixels)))
        else:
            self.pixels = preprocess_image(pipe, self.call.image, self.call.height, self.call.width)
            check_divides("image", len(self.pixels), images)
        return size_of(pipe, self.pixels)

    def choose_timesteps(self, run: Run) -> None:
        """The last part of them, ``strength``, or those between the start and the end."""
        choose_span(run, self.call)

    def begin(self, run: Run, shape: Shape) -> None:
        """First the encoder draws, then the noise."""
        call, images = self.call, shape[0]
        latents = repeat_rows(run, encoded(run, self.pixels, call.generator, images), images)
        if call.denoising_start is None and call.latents is None:
            noise = run.engine.asarray(draw_noise(np.empty(shape, np.float32), call.generator))
            latents = run.scheduler.add_noise(latents, noise, run.timesteps[:1])
        run.tensors["latents"] = latents


def latents_shape(pipe: Pipeline, images: int, height: int, width: int) -> Shape:
    """The shape of the latents of so many images of a size in pixels."""
    factor = pipe.vae_scale_factor
    return images, pipe.vae.config["latent_channels"], height // factor, width // factor


def check_plain_network(pipe: Pipeline) -> None:
    """The network must take latents and nothing beside them."""
    channels, latent_channels = pipe.denoiser.config["in_channels"], pipe.vae.config["latent_channels"]
    if channels != latent_channels:
        raise ValueError(
            f"the denoiser takes {channels} channels and the autoencoder has {latent_channels}: {type(pipe).__name__} "
            "needs equal numbers (9 is an inpainting model, 8 one of InstructPix2Pix, 5 one of Depth2Img)"
        )


def image_processor(pipe: Pipeline) -> VaeImageProcessor:
    """What turns pictures into what the pipeline's autoencoder takes."""
    channels = pipe.vae.config["latent_channels"]
    return VaeImageProcessor(vae_scale_factor=pipe.vae_scale_factor, vae_latent_channels=channels, do_convert_rgb=True)


def preprocess_image(
    pipe: Pipeline, image: ImageInput | None, height: int | None = None, width: int | None = None
) -> Floats:
    """A picture as pixels in [-1, 1] (images, 3, height, width), of its own size or another; latents as they are.

    Raises:
        ValueError: none was given, or it is no picture.
    """
    if image is None:
        raise ValueError(f"{type(pipe).__name__} needs image: a PIL image, an array, or latents")
    pixels = image_processor(pipe).preprocess(image, height, width)
    check_channels(pipe, pixels)
    return pixels


def check_channels(pipe: Pipeline, pixels: Floats) -> None:
    """Pictures have three channels, latents those of the autoencoder."""
    known = (3, pipe.vae.config["latent_channels"])
    if pixels.shape[1] not in known or 0 in pixels.shape:
        raise ValueError(
            f"image must have 3 channels (latents: {known[1]}) and at least {pipe.vae_scale_factor} pixels each way, "
            f"got the shape {pixels.shape}"
        )


def size_of(pipe: Pipeline, pixels: Floats) -> tuple[int, int]:
    """The height and width in pixels of a picture, or of what latents stand for."""
    factor = 1 if pixels.shape[1] == 3 else pipe.vae_scale_factor
    return pixels.shape[2] * factor, pixels.shape[3] * factor


def check_divides(name: str, given: int, images: int) -> None:
    """As many pictures as images, or so many that each serves equally many of them."""
    if images % given:
        raise ValueError(f"{name} holds {given} pictures, which cannot be shared out evenly among {images} images")


def encoded(run: Run, pixels: Floats, generator: Generators, rows: int) -> Array:
    """Latents of unit variance of pictures, one per generator where there is a list; latents as they are.

    ``rows`` is how many images there are: with a list of generators each gets latents drawn by its own.
    """
    engine, vae = run.engine, run.pipe.vae
    if pixels.shape[1] != 3:
        return engine.asarray(pixels)
    if generator is None:
        generator = np.random.default_rng()
    sources = list(generator)[:rows] if isinstance(generator, Sequence) else generator
    latents = vae.encode_with(engine, engine.asarray(pixels), sources)
    return (latents - (vae.config.get("shift_factor") or 0.0)) * vae.config["scaling_factor"]


def repeat_rows(run: Run, x: Array, rows: int) -> Array:
    """``x`` one time after the other until it has ``rows`` rows."""
    return x if x.shape[0] == rows else run.engine.concat([x] * (rows // x.shape[0]))
