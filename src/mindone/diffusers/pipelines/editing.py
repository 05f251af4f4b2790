"""Starts for networks that see a picture next to the latents, to edit it or to keep its depths."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..adapters.ip_adapter import NetworkIPAdapters
from ..engines import Array
from ..loading.clip_image_processor import pixel_values_of
from . import checks
from .image_processor import resize_bicubic
from .image_starts import Floats, FromImage, check_divides, preprocess_image, repeat_rows, size_of
from .loop import Run
from .picture_calls import PictureArguments
from .pipeline import Pipeline
from .starts import Shape, Start, initial_latents, latents_shape


class BesidePicture(Start):
    """Noise, concatenated with the latents of a picture to edit (Brooks et al. 2023, §3.2).

    Guidance has three rows per image: without picture and prompt, with the picture, with both.
    """

    call: PictureArguments
    pixels: Floats

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        check_channels_beside(pipe, pipe.vae.config["latent_channels"])
        self.pixels = preprocess_image(pipe, self.call.image, *self.size(pipe))
        check_divides("image", len(self.pixels), images)
        height, width = size_of(pipe, self.pixels)
        checks.check_latents(self.call.latents, latents_shape(pipe, images, height, width))
        return height, width

    def size(self, pipe: Pipeline) -> tuple[int | None, int | None]:
        """The size for the picture; None for its own."""
        return None, None

    def begin(self, run: Run, shape: Shape) -> None:
        """Encode the picture to the mean, without sampling."""
        picture = run.engine.asarray(self.pixels)
        if self.pixels.shape[1] == 3:
            picture = self.encoded(run, picture)
        picture = repeat_rows(run, picture, shape[0])
        if run.do_classifier_free_guidance:
            picture = run.engine.concat([picture * 0.0, picture, picture])
        run.tensors["image_latents"] = picture
        run.extra_channels = ("image_latents",)
        run.tensors["latents"] = initial_latents(run, shape, self.call.generator, self.call.latents)

    def encoded(self, run: Run, picture: Array) -> Array:
        """The picture's latents in the form of the network's training."""
        return run.pipe.vae.encode_with(run.engine, picture)


class BesideXLPicture(BesidePicture):
    """The same for Stable Diffusion XL, at the requested size, or the one that the network was trained on."""

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """See `BesidePicture`."""
        size = checks.default_size(pipe, self.call.height, self.call.width, self.call.latents)
        checks.check_size(pipe, *size)
        return size

    def encoded(self, run: Run, picture: Array) -> Array:
        """CosXL was trained on latents of unit variance."""
        latents, is_scaled = super().encoded(run, picture), run.pipe.own_settings.is_cosxl_edit
        return latents * run.pipe.vae.config["scaling_factor"] if is_scaled else latents


class FromImageWithDepth(FromImage):
    """`FromImage` for networks that see depth (Stable Diffusion 2, *depth*).

    ``depth_map`` is (pictures, height, width) in any size and scale; without one the pipeline's estimator makes it.
    """

    depths: Floats

    def check_network(self, pipe: Pipeline) -> None:
        """One channel in addition to the latents."""
        check_channels_beside(pipe, 1)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        height, width = super().check(pipe, images)
        given = self.call.depth_map
        depths = self._estimated(pipe) if given is None else pipe.engine.numpy(given)
        depths = np.asarray(depths, np.float32)
        if depths.ndim != 3 or 0 in depths.shape:
            raise ValueError(f"depth_map must have the shape (pictures, height, width), got {depths.shape}")
        check_divides("depth_map", len(depths), images)
        factor = pipe.vae_scale_factor
        self.depths = normalized_depths(resize_bicubic(depths[:, None], height // factor, width // factor))
        return height, width

    def begin(self, run: Run, shape: Shape) -> None:
        """See `Start`."""
        super().begin(run, shape)
        run.tensors["depth_mask"] = repeat_rows(run, run.engine.asarray(self.depths), shape[0])
        run.extra_channels = ("depth_mask",)

    def _estimated(self, pipe: Pipeline) -> object:
        """The depths that the pipeline's estimator finds in the pictures."""
        parts = pipe.components
        if parts["depth_estimator"] is None or parts["feature_extractor"] is None:
            raise ValueError(
                f"{type(pipe).__name__} needs depth_map, an array (pictures, height, width): no depth estimator is "
                "included; pass it, or set pipe.depth_estimator and pipe.feature_extractor to functions of your own"
            )
        image = self.call.image
        given = image if isinstance(image, (list, tuple)) else [image]
        pictures = [each for each in given if isinstance(each, Image.Image)]
        if len(pictures) < len(given):
            raise ValueError("the depth estimator takes only PIL images; pass depth_map with other kinds of image")
        made = parts["depth_estimator"](pixel_values_of(parts["feature_extractor"], pictures))
        made = getattr(made, "predicted_depth", made)
        return made.asnumpy() if hasattr(made, "asnumpy") else made


def normalized_depths(depths: Floats) -> Floats:
    """Depths (pictures, 1, height, width), scaled to [-1, 1] for each picture.

    Raises:
        ValueError: a depth map is flat, or has values that are not finite.
    """
    least, most = (bound(depths, axis=(1, 2, 3), keepdims=True) for bound in (np.min, np.max))
    if not np.all(np.isfinite(most - least)) or np.any(most == least):
        raise ValueError("depth_map must hold finite values that differ: a flat map has no depths to keep")
    scaled: Floats = 2.0 * (depths - least) / (most - least) - 1.0
    return scaled


def check_channels_beside(pipe: Pipeline, beside: int) -> None:
    """Check that the network takes ``beside`` channels in addition to the latents, and follows no IP-Adapter."""
    channels, latent = pipe.denoiser.config["in_channels"], pipe.vae.config["latent_channels"]
    if channels != latent + beside:
        raise ValueError(
            f"{type(pipe).__name__} needs a denoiser of {latent + beside} channels, {latent} of them for the latents, "
            f"got {channels}"
        )
    if pipe.denoiser.put_on.of(NetworkIPAdapters).loaded:
        raise ValueError(f"{type(pipe).__name__} takes no IP-Adapter; call unload_ip_adapter()")
