"""Networks that see a picture beside the latents: what a run starts from to edit it, or to keep its depths."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..adapters.ip_adapter import NetworkIPAdapters
from ..engines import Array
from ..loading.clip_image_processor import pixel_values_of
from ..schedulers.base import Generators
from . import checks
from .base import Pipeline
from .components import Component
from .image_processor import ImageInput, resize_bicubic
from .noise import initial_latents
from .run import Run
from .starts import (
    Floats,
    FromImage,
    FromNoise,
    check_divides,
    latents_shape,
    preprocess_image,
    repeat_rows,
    size_of,
)


@dataclass
class BesidePicture:
    """`drawing.Start`: noise, and beside it the latents of a picture to edit (Brooks et al. 2023, §3.2).

    Guidance has three rows per image: without picture and prompt, with the picture, with both.
    """

    image: ImageInput
    latents: Array = None
    height: int | None = None
    width: int | None = None
    scaled: bool = False
    """Whether the picture's latents are brought to unit variance, as CosXL was trained; others see them as encoded."""
    denoising_end: float | None = None
    pixels: Floats = field(init=False)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `drawing.Start`."""
        check_channels_beside(pipe, pipe.vae.config["latent_channels"])
        if self.height is not None and self.width is not None:
            checks.check_size(pipe, self.height, self.width)
        self.pixels = preprocess_image(pipe, self.image, self.height, self.width)
        check_divides("image", len(self.pixels), images)
        height, width = size_of(pipe, self.pixels)
        checks.check_latents(self.latents, latents_shape(pipe, images, height, width))
        return height, width

    def choose_timesteps(self, run: Run) -> None:
        """All of them, or those before the end."""
        FromNoise(None, None, None, self.denoising_end).choose_timesteps(run)

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """The picture's encoder draws nothing: it gives the mean."""
        engine, vae = run.engine, run.pipe.vae
        picture = engine.asarray(self.pixels)
        if self.pixels.shape[1] == 3:
            picture = vae.encode_with(engine, picture)
            if self.scaled:
                picture = picture * vae.config["scaling_factor"]
        picture = repeat_rows(run, picture, images)
        if run.do_classifier_free_guidance:
            picture = engine.concat([picture * 0.0, picture, picture])
        run.tensors["image_latents"] = picture
        run.extra_channels = ("image_latents",)
        height, width = size_of(run.pipe, self.pixels)
        shape = latents_shape(run.pipe, images, height, width)
        run.tensors["latents"] = initial_latents(run, shape, generator, self.latents)


@dataclass
class FromImageWithDepth(FromImage):
    """`FromImage` for networks that see how far away things are (Stable Diffusion 2, *depth*).

    ``depth_map`` is (pictures, height, width) of any size and scale; without one the pipeline's estimator makes it.
    """

    depth_map: Array = None
    depths: Floats = field(init=False)

    def check_network(self, pipe: Pipeline) -> None:
        """One channel besides the latents."""
        check_channels_beside(pipe, 1)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `drawing.Start`."""
        height, width = super().check(pipe, images)
        depths = self._estimated(pipe) if self.depth_map is None else pipe.engine.numpy(self.depth_map)
        depths = np.asarray(depths, np.float32)
        if depths.ndim != 3 or 0 in depths.shape:
            raise ValueError(f"depth_map must have the shape (pictures, height, width), got {depths.shape}")
        check_divides("depth_map", len(depths), images)
        factor = pipe.vae_scale_factor
        self.depths = normalized_depths(resize_bicubic(depths[:, None], height // factor, width // factor))
        return height, width

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """See `drawing.Start`."""
        super().begin(run, images, generator)
        run.tensors["depth_mask"] = repeat_rows(run, run.engine.asarray(self.depths), images)
        run.extra_channels = ("depth_mask",)

    def _estimated(self, pipe: Pipeline) -> Component:
        """What the pipeline's estimator says of the pictures."""
        parts = pipe.components
        if parts["depth_estimator"] is None or parts["feature_extractor"] is None:
            raise ValueError(
                f"{type(pipe).__name__} needs depth_map, an array (pictures, height, width): no depth estimator is "
                "here, unless you set pipe.depth_estimator and pipe.feature_extractor to functions of your own"
            )
        pictures: Component = self.image if isinstance(self.image, (list, tuple)) else [self.image]
        if not all(isinstance(picture, Image.Image) for picture in pictures):
            raise ValueError("depths are estimated of PIL images; pass depth_map with other kinds of image")
        made = parts["depth_estimator"](pixel_values_of(parts["feature_extractor"], list(pictures)))
        made = getattr(made, "predicted_depth", made)
        return made.asnumpy() if hasattr(made, "asnumpy") else made


def normalized_depths(depths: Floats) -> Floats:
    """Depths (pictures, 1, height, width), each picture's brought to [-1, 1].

    Raises:
        ValueError: a picture is flat, or has values that are not finite.
    """
    least, most = (bound(depths, axis=(1, 2, 3), keepdims=True) for bound in (np.min, np.max))
    if not np.all(np.isfinite(most - least)) or np.any(most == least):
        raise ValueError("depth_map must hold finite values that differ: of a flat picture nothing can be kept")
    scaled: Floats = 2.0 * (depths - least) / (most - least) - 1.0
    return scaled


def check_channels_beside(pipe: Pipeline, beside: int) -> None:
    """The network must take ``beside`` channels besides the latents, and follow no IP-Adapter."""
    channels, latent = pipe.unet.config["in_channels"], pipe.vae.config["latent_channels"]
    if channels != latent + beside:
        raise ValueError(
            f"{type(pipe).__name__} needs a UNet of {latent + beside} channels, {latent} of them for the latents, got "
            f"{channels}"
        )
    if pipe.unet.put_on.of(NetworkIPAdapters).loaded:
        raise ValueError(f"{type(pipe).__name__} takes no IP-Adapter; call unload_ip_adapter()")
