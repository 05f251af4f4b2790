"""The starts of Stable Diffusion 3's runs."""

from . import checks
from .image_starts import FromImage, pictures_of_size
from .inpainting import Inpainting
from .loop import Run
from .pipeline import Pipeline
from .skip_layers import SkippedLayers
from .spans import keep_last_rounded_up
from .stable_diffusion_3_calls import SD3Arguments
from .starts import FromNoise, Guide, latents_shape


class GuidedNoise(FromNoise):
    """Noise; if layers are named, steps are guided away from the network without them."""

    call: SD3Arguments

    def guides(self, pipe: Pipeline) -> list[Guide]:
        """See `Start`."""
        call, guides = self.call, super().guides(pipe)
        if call.skip_guidance_layers is None:
            return guides
        part = call.skip_layer_guidance_scale, call.skip_layer_guidance_start, call.skip_layer_guidance_stop
        return [*guides, SkippedLayers(call.skip_guidance_layers, *part)]


class ResizedImage(FromImage):
    """A picture, resized to the requested size or the one that the network was trained on.

    Latents instead of a picture, without a size, keep their own.
    """

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        self.check_network(pipe)
        call, channels = self.call, pipe.vae.config["latent_channels"]
        shape = tuple(getattr(call.image, "shape", ()))
        given = call.image if len(shape) == 4 and shape[1] == channels else call.latents
        height, width = checks.default_size(pipe, call.height, call.width, given)  # type: ignore[arg-type]
        checks.check_size(pipe, height, width)
        if call.latents is not None:
            checks.check_latents(call.latents, latents_shape(pipe, images, height, width))
            self.pixels = pipe.engine.numpy(call.latents)
        else:
            self.pixels = pictures_of_size(pipe, call.image, images, height, width)
        return height, width

    def choose_timesteps(self, run: Run) -> None:
        """See `Start`."""
        keep_last_rounded_up(run, self.call.strength)


class FlowInpainting(Inpainting):
    """`Inpainting` with the last fraction ``strength`` of the steps rounded up."""

    def choose_timesteps(self, run: Run) -> None:
        """See `Start`."""
        keep_last_rounded_up(run, self.call.strength)
