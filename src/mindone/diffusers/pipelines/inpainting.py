"""Inpainting: repaints a picture where the mask is white.

An inpainting network has nine input channels: the latents, the mask, and the latents of the picture without the masked
part (Rombach et al. 2022, §4.5). Any other network works too: after each step the picture outside the mask is put back,
with as much noise as the step left in the rest (Blended Latent Diffusion, Avrahami et al. 2023, §4.1).
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..engines import Array
from ..schedulers.base import draw_noise
from . import checks
from .image_processor import ImageInput, Images, VaeImageProcessor, resize_nearest
from .image_starts import Floats, check_channels, check_divides, encoded, image_processor, repeat_rows
from .loop import Run
from .parts import Parts
from .picture_calls import PictureArguments
from .pipeline import Pipeline
from .regions import Box, filled_from_around, fit_inside, masked_region, paste_drawn
from .spans import choose_span
from .starts import Shape, Start, initial_latents, latents_shape


class Inpainting(Start):
    """A picture and a mask (white, above 0.5, is repainted); ``strength`` 1 starts from pure noise.

    Both are resized to one size, so theirs may differ.

    With ``padding_mask_crop`` the rectangle around the mask, larger by this many pixels on each side, is generated at
    full size and put back. ``mask_fill`` is the content under the mask at the start of a run with a strength below 1.
    """

    call: PictureArguments
    pixels: Floats
    mask: Floats
    region: Box | None = None
    spends_image: bool = False

    def __init__(self, call: PictureArguments):
        super().__init__(call)
        self.image, self.mask_image = call.image, call.mask_image

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        call = self.call
        if call.padding_mask_crop is not None and call.output_type != "pil":
            raise ValueError(f'padding_mask_crop needs output_type "pil", got {call.output_type!r}')
        _check_network(pipe)
        self.spends_image = pipe.spends_pictures
        given(self.image, self.mask_image)
        height, width = self.size(pipe)
        checks.check_size(pipe, height, width)
        checks.check_latents(call.latents, latents_shape(pipe, images, height, width))
        self.region = self._region(width, height)
        picture, mask = given(self.image, self.mask_image)  # now of one size, if there is a region
        mode = "default" if self.region is None else "fill"
        if call.mask_fill == "blur":
            self.pixels = image_processor(pipe).preprocess(self._blurred(height, width))
        else:
            self.pixels = image_processor(pipe).preprocess(picture, height, width, mode, self.region)
        self.mask = mask_processor(pipe).preprocess(mask, height, width, mode, self.region)
        check_channels(pipe, self.pixels)
        check_divides("image", len(self.pixels), images)
        check_divides("mask_image", len(self.mask), images)
        if not self.mask.any():
            raise ValueError("mask_image is all black: there is nothing to repaint; white marks what to repaint")
        if self.pixels.shape[1] != 3 and _extra_channels(pipe) and call.masked_image_latents is None:
            raise ValueError("latents as image cannot be masked; pass masked_image_latents with them, or a picture")
        return height, width

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """The requested height and width."""
        return checks.default_size(pipe, self.call.height, self.call.width, self.call.latents)

    def _region(self, width: int, height: int) -> Box | None:
        if self.call.padding_mask_crop is None:
            return None
        if not isinstance(self.image, Image.Image) or not isinstance(self.mask_image, Image.Image):
            raise ValueError("padding_mask_crop needs image and mask_image as PIL images")
        if self.mask_image.size != self.image.size:  # a region of one is a region of the other
            self.mask_image = self.mask_image.resize(self.image.size)
        return masked_region(self.mask_image, width, height, self.call.padding_mask_crop)

    def _blurred(self, height: int, width: int) -> Image.Image:
        """The part of the picture to generate, with blurred colours under the mask."""
        if not isinstance(self.image, Image.Image) or not isinstance(self.mask_image, Image.Image):
            raise ValueError('mask_fill "blur" needs image and mask_image as PIL images')

        def drawn(picture: Image.Image, mode: str) -> Image.Image:
            picture = picture if picture.mode in ("L", "RGB") else picture.convert(mode)
            if self.region is None:
                return picture.resize((width, height), Image.Resampling.LANCZOS).convert(mode)
            return fit_inside(picture, width, height, self.region).convert(mode)

        return filled_from_around(drawn(self.image, "RGB"), drawn(self.mask_image, "L"))

    def choose_timesteps(self, run: Run) -> None:
        """The last fraction ``strength`` of them, or those between the start and the end."""
        choose_span(run, self.call)

    def begin(self, run: Run, shape: Shape) -> None:
        """The order of random draws: the picture's encoder, the noise, the masked picture's encoder."""
        call, engine, blends, images = self.call, run.engine, not _extra_channels(run.pipe), shape[0]
        anew = call.strength == 1 or call.latents is not None
        goes_on = call.denoising_start is not None
        original: Array = np.empty(0, np.float32)
        if blends or goes_on or not anew:  # otherwise nothing reads it
            original = repeat_rows(run, encoded(run, self.pixels, call.generator, len(self.pixels)), images)
        given = draw_noise(np.empty(shape, np.float32), call.generator) if call.latents is None else call.latents
        noise = engine.asarray(given)
        mask = repeat_rows(run, engine.asarray(resize_nearest(self.mask, shape[2], shape[3])), images)
        run.tensors["mask"] = mask
        if goes_on:
            run.tensors["latents"] = original
        elif anew:
            run.tensors["latents"] = initial_latents(run, shape, call.generator, noise)
        else:
            start = self._filled(original, mask, noise)
            run.tensors["latents"] = run.scheduler.add_noise(start, noise, run.timesteps[:1])
        if blends:
            self._spend(run, shape)
            run.after_step = PutsBack(run, original, noise)
        else:
            run.tensors["masked_image_latents"] = repeat_rows(run, self._masked(run), images)
            run.extra_channels = ("mask", "masked_image_latents")

    def _filled(self, original: Array, mask: Array, noise: Array) -> Array:
        """The picture's latents, with noise or zeros under the mask if requested."""
        if self.call.mask_fill not in ("noise", "nothing"):
            return original
        outside = (1 - mask) * original
        return outside + mask * noise if self.call.mask_fill == "noise" else outside

    def put_back(self, images: Images) -> Images:
        """With ``padding_mask_crop`` the result put into the picture; otherwise the images unchanged."""
        picture, mask = self.image, self.mask_image
        if self.region is None or not isinstance(images, list):
            return images
        assert isinstance(mask, Image.Image) and isinstance(picture, Image.Image)  # otherwise there is no region
        last = len(images) - 1
        return [
            paste_drawn(mask, picture, drawn, self.region, in_place=self.spends_image and i == last)
            for i, drawn in enumerate(images)
        ]

    def _masked(self, run: Run) -> Array:
        """The latents of the picture without its masked part."""
        if self.call.masked_image_latents is not None:
            return run.engine.asarray(self.call.masked_image_latents)
        masked = self.pixels * (self.mask < 0.5)
        return encoded(run, masked, self.call.generator, len(masked))

    def _spend(self, run: Run, shape: Shape) -> None:
        """Draw the noise that encoding the masked picture would, so that later noise does not depend on the network."""
        call = self.call
        if run.pipe.vae.encodes_at_random and self.pixels.shape[1] == 3 and call.masked_image_latents is None:
            rows = max(len(self.pixels), len(self.mask))
            sources = call.generator[:rows] if isinstance(call.generator, list) else call.generator
            draw_noise(np.empty((rows, *shape[1:]), np.float32), sources)


@dataclass(frozen=True)
class PutsBack:
    """After each step, restores the picture outside the mask, with the noise of the next timestep."""

    run: Run
    original: Array
    noise: Array

    def __call__(self, index: int, latents: Array) -> Array:
        """The latents of the run after step number ``index``, with the picture restored."""
        run, outside, following = self.run, self.original, self.run.timesteps[index + 1 : index + 2]
        if len(following):
            outside = run.scheduler.add_noise(outside, self.noise, following)
        mask = run.tensors["mask"]
        return (1 - mask) * outside + mask * latents


def mask_processor(pipe: Pipeline) -> VaeImageProcessor:
    """Prepares masks: zeros and ones."""
    return VaeImageProcessor(
        vae_scale_factor=pipe.vae_scale_factor, do_normalize=False, do_binarize=True, do_convert_grayscale=True
    )


def given(image: ImageInput | None, mask_image: ImageInput | None) -> tuple[ImageInput, ImageInput]:
    """Both, if both are given."""
    if image is None or mask_image is None:
        missing = "image" if image is None else "mask_image"
        raise ValueError(f"inpainting needs {missing}: a PIL image or an array; white in mask_image is repainted")
    return image, mask_image


def _extra_channels(pipe: Parts) -> int:
    """The number of input channels in addition to the latents."""
    latents: int = pipe.vae.config["latent_channels"]
    return pipe.family.latents.channels_read(pipe.denoiser.config) - latents


def _check_network(pipe: Pipeline) -> None:
    latent = pipe.vae.config["latent_channels"]
    if _extra_channels(pipe) not in (0, latent + 1):
        raise ValueError(
            f"the denoiser takes {latent + _extra_channels(pipe)} channels; inpainting needs {latent} (any network), "
            f"or {2 * latent + 1} (one made for it)"
        )
