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

Floats = NDArray[np.float32]


class WithImageProcessor:
    """Mixed into pipelines that start from pictures."""

    @property
    def image_processor(self: Pipeline) -> VaeImageProcessor:  # type: ignore[misc]
        """What turns pictures into what the autoencoder takes."""
        return image_processor(self)


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
    pixels: Floats = field(init=False)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `drawing.Start`."""
        check_plain_network(pipe)
        check_strength(self.strength)
        self.pixels = preprocess_image(pipe, self.image)
        check_divides("image", len(self.pixels), images)
        return size_of(pipe, self.pixels)

    def choose_timesteps(self, run: Run) -> None:
        """The last part of them, ``strength``."""
        keep_last(run, self.strength)

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """First the encoder draws, then the noise."""
        latents = encoded(run, self.pixels, generator, images)
        latents = repeat_rows(run, latents, images)
        noise = run.engine.asarray(draw_noise(np.empty(tuple(latents.shape), np.float32), generator))
        run.tensors["latents"] = run.scheduler.add_noise(latents, noise, run.timesteps[:1])


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
            "needs equal numbers (9 is an inpainting UNet)"
        )


def image_processor(pipe: Pipeline) -> VaeImageProcessor:
    """What turns pictures into what the pipeline's autoencoder takes."""
    channels = pipe.vae.config["latent_channels"]
    return VaeImageProcessor(vae_scale_factor=pipe.vae_scale_factor, vae_latent_channels=channels, do_convert_rgb=True)


def preprocess_image(pipe: Pipeline, image: ImageInput | None) -> Floats:
    """A picture as pixels in [-1, 1] (images, 3, height, width), or latents as they are.

    Raises:
        ValueError: none was given, or it is no picture.
    """
    if image is None:
        raise ValueError(f"{type(pipe).__name__} needs image: a PIL image, an array, or latents")
    pixels = image_processor(pipe).preprocess(image)
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


def check_strength(strength: float) -> None:
    """How much of a picture is drawn anew: above 0, at most 1."""
    if isinstance(strength, bool) or not isinstance(strength, (int, float)) or not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 (the picture as it is) and at most 1 (all anew), got {strength!r}")


def check_divides(name: str, given: int, images: int) -> None:
    """As many pictures as images, or so many that each serves equally many of them."""
    if images % given:
        raise ValueError(f"{name} holds {given} pictures, which cannot be shared out evenly among {images} images")


def keep_last(run: Run, strength: float) -> None:
    """Begin in the middle of the run: go through the last part ``strength`` of its steps.

    Raises:
        ValueError: no step remains.
    """
    steps, order = run.num_inference_steps, run.scheduler.order
    kept = min(int(steps * strength), steps)
    if kept < 1:
        raise ValueError(
            f"strength {strength:g} of {steps} steps leaves none; take at least {int(np.ceil(1 / strength))} steps"
        )
    begin = (steps - kept) * order
    run.scheduler.set_begin_index(begin)
    run.use_timesteps(run.scheduler.timesteps[begin:], kept)


def keep_until(run: Run, denoising_end: float) -> None:
    """Go through the timesteps of the first part ``denoising_end`` of the way from noise to image.

    Raises:
        ValueError: it is no part, or no timestep lies in it.
    """
    if not 0 < denoising_end <= 1:
        raise ValueError(f"denoising_end must be above 0 and at most 1, got {denoising_end!r}")
    last = round(run.scheduler.config["num_train_timesteps"] * (1 - denoising_end))
    chosen = run.timesteps[run.timesteps >= last]
    if not len(chosen):
        raise ValueError(f"denoising_end={denoising_end} leaves no timestep of {len(run.timesteps)}; take more steps")
    run.use_timesteps(chosen, len(chosen))


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
