"""Latents as a grid of patches, which transformers read as tokens, row by row."""

from .. import functional as F
from ..engines import Array


def as_tokens(y: Array) -> Array:
    """A picture (batch, channels, height, width) as tokens (batch, height · width, channels)."""
    rows, channels, height, width = y.shape
    return F.transpose(F.reshape(y, (rows, channels, height * width)), (0, 2, 1))


def patch_grid(latents: Array, side: int) -> tuple[int, int]:
    """The rows and columns of patches in latents (batch, channels, height, width).

    Raises:
        ValueError: patches of that ``side`` do not cover them.
    """
    height, width = latents.shape[2:]
    if height % side or width % side:
        raise ValueError(f"latents must have sides that patch_size {side} divides, got {height} and {width}")
    return height // side, width // side


def unpatched(tokens: Array, height: int, width: int, side: int) -> Array:
    """Tokens (batch, height · width, side² · channels) as latents (batch, channels, height · side, width · side)."""
    y = F.reshape(tokens, (tokens.shape[0], height, width, side, side, -1))
    y = F.transpose(y, (0, 5, 1, 3, 2, 4))
    return F.reshape(y, (y.shape[0], -1, height * side, width * side))


def packed(latents: Array, side: int) -> Array:
    """Latents (batch, channels, height, width) as tokens (batch, places, channels · side²), each a patch.

    Of a token's channels those of one latent channel stand side by side, row by row: as FLUX.1 has them.
    """
    return as_tokens(F.pixel_unshuffle(latents, side))


def unpacked(tokens: Array, height: int, width: int, side: int) -> Array:
    """The inverse of `packed`, for ``height`` · ``width`` tokens: (batch, channels, height · side, width · side)."""
    rows, _, channels = tokens.shape
    picture = F.reshape(F.transpose(tokens, (0, 2, 1)), (rows, channels, height, width))
    return F.pixel_shuffle(picture, side)
