"""The starts of runs: here noise; pictures are in `image_starts`, `inpainting` and `editing`."""

from abc import ABC, abstractmethod
from typing import Protocol, TypeAlias

import numpy as np

from ..adapters.ip_adapter import NetworkIPAdapters
from ..engines import Array
from ..models.autoencoder import Floats
from ..schedulers.base import Generators, draw_noise
from . import checks
from .calls import Arguments
from .image_processor import Images
from .image_prompt import ImagePrompt
from .loop import Run
from .pipeline import Pipeline
from .spans import keep_until

Shape: TypeAlias = tuple[int, int, int, int]
"""The shape of latents: images, channels, height, width."""


class Guide(Protocol):
    """What a run follows in addition to the text: the pictures of ControlNets and IP-Adapters."""

    def check(self, run: Run, images: int, height: int, width: int) -> None:
        """Check the arguments, after the steps are laid out and before any network runs."""

    def begin(self, run: Run) -> None:
        """Add to the run's ``controls``."""


class Start(ABC):
    """The start of a run: noise, or a noisy picture. Each call makes its own."""

    def __init__(self, call: Arguments):
        self.call = call

    @abstractmethod
    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """Check the arguments before any network runs. Returns the height and width of the images in pixels."""

    def guides(self, pipe: Pipeline) -> list[Guide]:
        """What the run follows in addition to the text."""
        image, embeds = self.call.ip_adapter_image, self.call.ip_adapter_image_embeds
        follows = image is not None or embeds is not None or pipe.denoiser.put_on.of(NetworkIPAdapters).loaded
        return [ImagePrompt(image, embeds)] if follows else []

    def choose_timesteps(self, run: Run) -> None:
        """Skip steps before the start or after the end. The scheduler has laid out all of them."""
        run.settings.denoising_end = self.call.denoising_end
        if self.call.denoising_end is not None:
            keep_until(run, self.call.denoising_end)

    @abstractmethod
    def begin(self, run: Run, shape: Shape) -> None:
        """Put the first latents, of this shape, into ``run.tensors``, and anything else the run needs from pictures."""

    def fit(self, pixels: Floats) -> Floats:
        """Decoded images, (images, 3, height, width), at the requested size."""
        return pixels

    def put_back(self, images: Images) -> Images:
        """The images of a call, made from the generated ones."""
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
        """The requested height and width."""
        return checks.default_size(pipe, self.call.height, self.call.width, self.call.latents)

    def begin(self, run: Run, shape: Shape) -> None:
        """See `Start`."""
        run.tensors["latents"] = initial_latents(run, shape, self.call.generator, self.call.latents)


def initial_latents(run: Run, shape: tuple[int, ...], generator: Generators, latents: Array | None = None) -> Array:
    """Noise of ``shape`` (images, channels, height, width), or the user's own, as the scheduler's first sample."""
    noise = draw_noise(np.empty(shape, np.float32), generator) if latents is None else latents
    return run.engine.asarray(noise) * float(run.scheduler.init_noise_sigma)


def latents_shape(pipe: Pipeline, images: int, height: int, width: int) -> Shape:
    """The shape of the latents for a number of images of a size in pixels."""
    factor = pipe.vae_scale_factor
    return images, pipe.vae.config["latent_channels"], height // factor, width // factor


def check_plain_network(pipe: Pipeline) -> None:
    """Check that the network takes latents and no extra channels."""
    channels = pipe.family.latents.channels_read(pipe.denoiser.config)
    latent_channels = pipe.vae.config["latent_channels"]
    if channels != latent_channels:
        raise ValueError(
            f"the denoiser takes {channels} channels and the autoencoder has {latent_channels}, where "
            f"{type(pipe).__name__} needs equal numbers; this is {_made_for(channels, latent_channels)}"
        )


def _made_for(channels: int, latents: int) -> str:
    """What a denoiser is made for, by the number of its channels and that of the latents."""
    return {
        2 * latents + 1: "an inpainting model, whose own pipeline takes an image and a mask",
        2 * latents: "a model of InstructPix2Pix, whose own pipeline takes an image to edit",
        latents + 1: "a model of Depth2Img, whose own pipeline takes an image",
    }.get(channels, "a model for another pipeline")
