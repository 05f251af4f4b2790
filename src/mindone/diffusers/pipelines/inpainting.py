"""Drawing a part of a picture anew: where the mask is white.

A network that was made for it has nine input channels: the latents, the mask, and the latents of the picture without
the masked part (Rombach et al. 2022, §4.5). Any other network can do it too: after each step what lies outside the mask
is put back, as noisy as the step left the rest (Blended Latent Diffusion, Avrahami et al. 2023, §4.1).
"""

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..engines import Array
from ..schedulers.base import Generators, draw_noise
from . import checks
from .base import Pipeline
from .image_processor import ImageInput, Images, VaeImageProcessor, resize_nearest
from .mask_fills import MASK_FILLS
from .noise import initial_latents
from .regions import Box, filled_from_around, fit_inside, masked_region, paste_drawn
from .run import Run
from .spans import check_strength, choose_span
from .starts import (
    Floats,
    WithImageProcessor,
    check_channels,
    check_divides,
    encoded,
    image_processor,
    latents_shape,
    repeat_rows,
)


class WithMaskProcessor(WithImageProcessor):
    """Mixed into inpainting pipelines."""

    @property
    def mask_processor(self: Pipeline) -> VaeImageProcessor:  # type: ignore[misc]
        """What turns masks into zeros and ones."""
        return mask_processor(self)


@dataclass
class Inpainting:
    """A picture and a mask (white, above 0.5, is drawn anew); ``strength`` 1 starts from noise alone.

    Both are brought to one size, so they may come in several.

    With ``padding_mask_crop`` the rectangle around the mask, larger by these pixels on each side, is drawn at the full
    size and put back. ``mask_fill`` is what a run of a strength below 1 begins with under the mask.
    """

    image: ImageInput
    mask_image: ImageInput
    height: int | None
    width: int | None
    strength: float
    padding_mask_crop: int | None = None
    latents: Array = None
    masked_image_latents: Array = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    mask_fill: str = "original"
    pixels: Floats = field(init=False)
    mask: Floats = field(init=False)
    region: Box | None = field(init=False, default=None)

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `drawing.Start`."""
        check_strength(self.strength)
        if self.mask_fill not in MASK_FILLS:
            raise ValueError(f"mask_fill must be one of {', '.join(MASK_FILLS)}, got {self.mask_fill!r}")
        _check_network(pipe)
        _check_given(self.image, self.mask_image)
        height, width = checks.default_size(pipe, self.height, self.width, self.latents)
        checks.check_size(pipe, height, width)
        checks.check_latents(self.latents, latents_shape(pipe, images, height, width))
        self.region = self._region(width, height)
        mode = "default" if self.region is None else "fill"
        if self.mask_fill == "blur":
            self.pixels = image_processor(pipe).preprocess(self._blurred(height, width))
        else:
            self.pixels = image_processor(pipe).preprocess(self.image, height, width, mode, self.region)
        self.mask = mask_processor(pipe).preprocess(self.mask_image, height, width, mode, self.region)
        check_channels(pipe, self.pixels)
        check_divides("image", len(self.pixels), images)
        check_divides("mask_image", len(self.mask), images)
        if not self.mask.any():
            raise ValueError(
                "mask_image is all black: there is nothing to repaint; white marks what is to be drawn anew"
            )
        if self.pixels.shape[1] != 3 and _extra_channels(pipe) and self.masked_image_latents is None:
            raise ValueError("latents as image cannot be masked; pass masked_image_latents with them, or a picture")
        return height, width

    def _region(self, width: int, height: int) -> Box | None:
        if self.padding_mask_crop is None:
            return None
        if not isinstance(self.image, Image.Image) or not isinstance(self.mask_image, Image.Image):
            raise ValueError("padding_mask_crop needs image and mask_image as PIL images")
        if self.mask_image.size != self.image.size:  # a region of the one is a region of the other
            self.mask_image = self.mask_image.resize(self.image.size)
        return masked_region(self.mask_image, width, height, self.padding_mask_crop)

    def _blurred(self, height: int, width: int) -> Image.Image:
        """What is drawn of the picture, with blurred colours under the mask."""
        if not isinstance(self.image, Image.Image) or not isinstance(self.mask_image, Image.Image):
            raise ValueError('mask_fill "blur" needs image and mask_image as PIL images')

        def drawn(picture: Image.Image) -> Image.Image:
            if self.region is None:
                return picture.resize((width, height), Image.Resampling.LANCZOS)
            return fit_inside(picture.crop(self.region), width, height)

        return filled_from_around(drawn(self.image.convert("RGB")), drawn(self.mask_image.convert("L")).convert("L"))

    def choose_timesteps(self, run: Run) -> None:
        """The last part of them, ``strength``, or those between the start and the end."""
        run.settings.denoising_start, run.settings.denoising_end = self.denoising_start, self.denoising_end
        choose_span(run, self.strength, self.denoising_start, self.denoising_end)

    def begin(self, run: Run, images: int, generator: Generators) -> None:
        """The picture's encoder draws first, then the noise is drawn, then the masked picture's encoder draws."""
        engine, blends = run.engine, not _extra_channels(run.pipe)
        shape = latents_shape(run.pipe, images, *self.size)
        anew = self.strength == 1 or self.latents is not None
        goes_on = self.denoising_start is not None
        original = None
        if blends or goes_on or not anew:
            original = repeat_rows(run, encoded(run, self.pixels, generator, len(self.pixels)), images)
        given = draw_noise(np.empty(shape, np.float32), generator) if self.latents is None else self.latents
        noise = engine.asarray(given)
        mask = repeat_rows(run, engine.asarray(resize_nearest(self.mask, shape[2], shape[3])), images)
        run.tensors["mask"] = mask
        if goes_on:
            run.tensors["latents"] = original
        elif anew:
            run.tensors["latents"] = initial_latents(run, shape, generator, noise)
        else:
            start = self._filled(original, mask, noise)
            run.tensors["latents"] = run.scheduler.add_noise(start, noise, run.timesteps[:1])
        if blends:
            self._spend(run, generator)
            run.after_step = PutsBack(run, original, noise)
        else:
            run.tensors["masked_image_latents"] = repeat_rows(run, self._masked(run, generator), images)
            run.extra_channels = ("mask", "masked_image_latents")

    def _filled(self, original: Array, mask: Array, noise: Array) -> Array:
        """The picture's latents, under the mask noise or nothing if these are asked for."""
        if self.mask_fill not in ("noise", "nothing"):
            return original
        outside = (1 - mask) * original
        return outside + mask * noise if self.mask_fill == "noise" else outside

    def check_output(self, output_type: str) -> None:
        """What is put back into the picture must be PIL images."""
        if self.padding_mask_crop is not None and output_type != "pil":
            raise ValueError(f'padding_mask_crop needs output_type "pil", got {output_type!r}')

    def put_back(self, images: Images) -> Images:
        """With ``padding_mask_crop`` what was drawn, put into the picture; otherwise the images as they are."""
        if self.region is None or not (
            isinstance(self.mask_image, Image.Image) and isinstance(self.image, Image.Image)
        ):
            return images
        return [paste_drawn(self.mask_image, self.image, drawn, self.region) for drawn in images]

    @property
    def size(self) -> tuple[int, int]:
        """The height and width of what is drawn, in pixels."""
        return self.mask.shape[2], self.mask.shape[3]

    def _masked(self, run: Run, generator: Generators) -> Array:
        """The latents of the picture without the masked part."""
        if self.masked_image_latents is not None:
            return run.engine.asarray(self.masked_image_latents)
        masked = self.pixels * (self.mask < 0.5)
        return encoded(run, masked, generator, len(masked))

    def _spend(self, run: Run, generator: Generators) -> None:
        """Draw what encoding the masked picture would, so that noise of later steps does not depend on the network."""
        if run.pipe.vae.encodes_at_random and self.pixels.shape[1] == 3 and self.masked_image_latents is None:
            rows = max(len(self.pixels), len(self.mask))
            sources = generator[:rows] if isinstance(generator, list) else generator
            draw_noise(np.empty(latents_shape(run.pipe, rows, *self.size), np.float32), sources)


@dataclass(frozen=True)
class PutsBack:
    """After each step: what lies outside the mask is the picture again, with the noise of the next timestep."""

    run: Run
    original: Array
    noise: Array

    def __call__(self, index: int, latents: Array) -> Array:
        """The latents of the run after step number ``index``, mended."""
        run, outside, following = self.run, self.original, self.run.timesteps[index + 1 : index + 2]
        if len(following):
            outside = run.scheduler.add_noise(outside, self.noise, following)
        mask = run.tensors["mask"]
        return (1 - mask) * outside + mask * latents


def mask_processor(pipe: Pipeline) -> VaeImageProcessor:
    """What turns masks into zeros and ones."""
    return VaeImageProcessor(
        vae_scale_factor=pipe.vae_scale_factor, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )


def _check_given(image: ImageInput, mask_image: ImageInput) -> None:
    if image is None or mask_image is None:
        missing = "image" if image is None else "mask_image"
        raise ValueError(f"inpainting needs {missing}: a PIL image or an array; white in mask_image is drawn anew")


def _extra_channels(pipe: Pipeline) -> int:
    """How many input channels the network has besides the latents."""
    extra: int = pipe.unet.config["in_channels"] - pipe.vae.config["latent_channels"]
    return extra


def _check_network(pipe: Pipeline) -> None:
    latent = pipe.vae.config["latent_channels"]
    if _extra_channels(pipe) not in (0, latent + 1):
        raise ValueError(
            f"the UNet takes {pipe.unet.config['in_channels']} channels; inpainting needs {latent} (any network), or "
            f"{2 * latent + 1} (one made for it)"
        )
