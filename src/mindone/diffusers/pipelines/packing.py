"""Converts latents for published calls whose latents are tokens, each a patch: FLUX.1's.

Runs use (images, channels, height, width) latents, as in other families; they are tokens only at a call's borders.
"""

from ..engines import Array
from ..models.packed_latents import packed, unpacked
from .parts import Parts


def as_published(pipe: Parts, x: Array) -> Array:
    """Latents, or tensors of their shape, in the form of published calls; other tensors unchanged."""
    form = pipe.family.latents
    if not form.packed or len(x.shape) != 4:
        return x
    return pipe.engine.asarray(packed(pipe.engine.numpy(x), form.patch))


def as_in_runs(pipe: Parts, x: Array, height: int, width: int) -> Array:
    """The inverse, for images of a size in pixels.

    Raises:
        ValueError: the tokens do not fit such images.
    """
    form = pipe.family.latents
    if not form.packed or len(x.shape) != 3:
        return x
    rows, columns = height // pipe.pixels_per_token, width // pipe.pixels_per_token
    return pipe.engine.asarray(unpacked(pipe.engine.numpy(pipe.engine.asarray(x)), rows, columns, form.patch))
