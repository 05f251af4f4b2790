"""The starts of FLUX.1's runs: those of Stable Diffusion 3, with latents that may be tokens."""

from dataclasses import replace
from typing import TypeVar

from . import checks
from .calls import Arguments
from .packing import as_in_runs
from .pipeline import Pipeline
from .stable_diffusion_3_starts import FlowInpainting, ResizedImage
from .starts import FromNoise

A = TypeVar("A", bound=Arguments)


class PackedNoise(FromNoise):
    """Noise, or the user's own ``latents``."""

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        self.call = with_pictures(pipe, self.call)
        return super().check(pipe, images)


class PackedImage(ResizedImage):
    """See `ResizedImage`."""

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        self.call = with_pictures(pipe, self.call)
        return super().check(pipe, images)


class PackedInpainting(FlowInpainting):
    """See `FlowInpainting`."""

    def check(self, pipe: Pipeline, images: int) -> tuple[int, int]:
        """See `Start`."""
        self.call = with_pictures(pipe, self.call)
        return super().check(pipe, images)


def with_pictures(pipe: Pipeline, call: A) -> A:
    """The call with its tokens, if any, turned into the latents of runs.

    Raises:
        ValueError: the number of tokens does not match the requested or the usual size.
    """
    if len(getattr(call.latents, "shape", ())) != 3 or call.latents is None:
        return call
    height, width = checks.default_size(pipe, call.height, call.width, None)
    checks.check_size(pipe, height, width)
    return replace(call, height=height, width=width, latents=as_in_runs(pipe, call.latents, height, width))
