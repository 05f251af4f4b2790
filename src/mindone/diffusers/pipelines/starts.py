"""What runs start from: noise, or a picture with as much noise as the steps that remain take away."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..schedulers.base import Generators, draw_noise
from . import checks
from .base import Pipeline
from .image_processor import ImageInput, VaeImageProcessor
from .noise import initial_latents
from .run import Run
from .spans import check_strength, choose_span, keep_until

Floats = NDArray[np.float32]


class WithImageProcessor:
    """Mixed into pipelines that start from pictures."""

    @property
    def image_processor(self: Pipeline) -> VaeImageProcessor:  # type: ignore[misc]
        """What turns pictures into what the autoencoder takes."""
        return image_processor(self)

    def get_timesteps(  # type: ignore[misc]
        self: Pipeline,
        num_inference_steps: int,
        strength: float,
        device: object = None,
        denoising_start: float | None = None,
    ) -> tuple[np.ndarray, int]:
        """The steps that remain of those of ``scheduler.set_timesteps``, for scripts with a loop of their own.

        The scheduler begins there. ``device`` is taken for published scripts, and not needed.

        Args:
            num_inference_steps: how many steps were laid out.
            strength: the part of them that remains, above 0 to 1.
            denoising_start: the part of the way that lies behind instead, from 0 to 1.

        Returns:
            The timesteps, and how many steps they are.

        Raises:
            ValueError: none remains.
        """
        with self.begin(None) as run:
            every = run.scheduler.timesteps
            run.use_timesteps(every, num_inference_steps)
            choose_span(run, strength, denoising_start, None)
            self.scheduler.set_begin_index(len(every) - len(run.timesteps))
            return run.timesteps, run.num_inference_steps


@dataclass(frozen=True)
class FromNoise:
    """Noise, or the user's own ``latents``, for images of a size, and the part of the way, from 0 to 1, to go."""

    height: int | None
    width: int | None
    latents: Array = None
    denoising_end: float | None = None

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `drawing.Start`."""
        check_plain_network(pipe)
        height, width = checks.default_size(pipe, self.height, self.width, self.latents)
        checks.check_size(pipe, height, width)
        checks.check_latents(self.latents, latents_shape(pipe, images, height, width))
        return height, width

    def choose_timesteps(self, run: Run) -> None:
        """All of them, or those before the end."""
        run.settings.denoising_end = self.denoising_end
        if self.denoising_end is not None:
            keep_until(run, self.denoising_end)

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """See `drawing.Start`."""
        shape = latents_shape(run.pipe, images, *self.check(run.pipe, images))
        run.tensors["latents"] = initial_latents(run, shape, generator, self.latents)


@dataclass
class FromImage:
    """SDEdit (Meng et al. 2022): a picture, with noise added as far as ``strength`` says.

    ``image`` may be latents. One picture serves all images; of several, each serves every so many-th.
    """

    image: ImageInput
    strength: float
    latents: Array = None
    """Noisy latents to go on from, instead of a picture."""
    denoising_start: float | None = None
    """The part of the way, from 0 to 1, that lies behind: the picture is noisy already, and ``strength`` not heeded."""
    denoising_end: float | None = None
    height: int | None = None
    width: int | None = None
    pixels: Floats = field(init=False)

    def check_network(self, pipe: Pipeline) -> None:
        """Nothing besides the latents."""
        check_plain_network(pipe)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `drawing.Start`."""
        self.check_network(pipe)
        check_strength(self.strength)
        if self.latents is not None:
            self.pixels = pipe.engine.numpy(self.latents)
            checks.check_latents(self.latents, latents_shape(pipe, images, *size_of(pipe, self.pixels)))
        else:
            self.pixels = preprocess_image(pipe, self.image, self.height, self.width)
            check_divides("image", len(self.pixels), images)
        return size_of(pipe, self.pixels)

    def choose_timesteps(self, run: Run) -> None:
        """The last part of them, ``strength``, or those between the start and the end."""
        run.settings.denoising_start, run.settings.denoising_end = self.denoising_start, self.denoising_end
        choose_span(run, self.strength, self.denoising_start, self.denoising_end)

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """First the encoder draws, then the noise."""
        latents = repeat_rows(run, encoded(run, self.pixels, generator, images), images)
        if self.denoising_start is None and self.latents is None:
            noise = run.engine.asarray(draw_noise(np.empty(tuple(latents.shape), np.float32), generator))
            latents = run.scheduler.add_noise(latents, noise, run.timesteps[:1])
        run.tensors["latents"] = latents


def latents_shape(pipe: Pipeline, images: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The shape of the latents of so many images of a size in pixels."""
    factor = pipe.vae_scale_factor
    return images, pipe.vae.config["latent_channels"], height // factor, width // factor


def check_plain_network(pipe: Pipeline) -> None:
    """The network must take latents and nothing beside them."""
    channels, latent_channels = pipe.unet.config["in_channels"], pipe.vae.config["latent_channels"]
    if channels != latent_channels:
        raise ValueError(
            f"the UNet takes {channels} channels and the autoencoder has {latent_channels}: {type(pipe).__name__} "
            "needs equal numbers (9 is an inpainting UNet, 8 one of InstructPix2Pix, 5 one of Depth2Img)"
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
