"""Starts of runs that generate images at a size that the network was trained on."""

from ..models.autoencoder import Floats
from ..utils.sizes import check_sides
from . import checks
from .binning import binned, resized_and_cropped
from .masked_calls import MaskedArguments
from .pipeline import Pipeline
from .starts import FromNoise


class BinnedNoise(FromNoise):
    """Noise of a size that the network was trained on; the image is then brought to the requested size."""

    call: MaskedArguments
    asked: tuple[int, int] | None = None

    def size(self, pipe: Pipeline) -> tuple[int, int]:
        """The trained size with the aspect ratio nearest to the request's."""
        height, width = super().size(pipe)
        given = (self.call.height, self.call.width) != (None, None)
        if not self.call.use_resolution_binning or (self.call.latents is not None and not given):
            return height, width
        check_sides({"height": height, "width": width}, 1)
        checks.check_pixels_memory(self.call.count_images(), height, width)
        self.asked = height, width
        return binned(pipe, height, width)

    def fit(self, pixels: Floats) -> Floats:
        """See `Start`."""
        return pixels if self.asked is None else resized_and_cropped(pixels, *self.asked)
