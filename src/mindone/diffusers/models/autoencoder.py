"""The shared parts of autoencoders: running image by image (slicing) or tile by tile, to limit memory."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine, single
from ..utils import logging
from .base import Model
from .cells import Cell
from .outputs import DecoderOutput

logger = logging.get_logger(__name__)

Floats: TypeAlias = NDArray[np.float32]
Source: TypeAlias = np.random.Generator | Sequence[np.random.Generator] | None
"""The source of an encoder's noise."""


class Tile(NamedTuple):
    """The layout of tiles along one side, for input and output."""

    size: int
    """The length of an input tile."""
    step: int
    """The distance from one input tile to the next."""
    kept: int
    """The part of an output tile to keep, up to the next."""
    blended: int
    """The length over which an output tile fades into the previous one."""


class Autoencoder(Model):
    """A `Model` with ``decode_latents``, ``scale`` (pixels per latent) and ``tile_overlap`` (a fraction)."""

    scale: int
    tile_overlap: float
    encodes_at_random: bool
    """Whether encoding an image draws noise."""
    use_slicing = False
    use_tiling = False
    tile_size = 512

    @property
    def tile_pixels(self) -> tuple[int, int]:
        """Height and width of an image tile."""
        return self.tile_size, self.tile_size

    def enable_slicing(self, enabled: bool = True) -> None:
        """Encode and decode one image of a batch at a time."""
        self.use_slicing = enabled

    def disable_slicing(self) -> None:
        """Encode and decode a batch at once (the default)."""
        self.enable_slicing(False)

    def enable_tiling(self, enabled: bool = True) -> None:
        """Encode and decode images larger than ``tile_size`` pixels in overlapping tiles, blended where they meet.

        Memory no longer grows with the image. Each tile is normalised by its own statistics, so colours can differ
        slightly from a whole decode.
        """
        self.use_tiling = enabled

    def disable_tiling(self) -> None:
        """Encode and decode images whole (the default)."""
        self.enable_tiling(False)

    def decode(self, z: Array, return_dict: bool = True, generator: object = None) -> DecoderOutput | tuple[Array]:
        """Decode the network's own latents (batch, channels, h, w), in slices and tiles if enabled.

        Args:
            z: the latents, ``ms.Tensor`` or NumPy; the images are of the same kind.
            return_dict: false for a plain tuple.
            generator: accepted for published scripts and ignored; decoding is deterministic.
        """
        images = self.decode_with(self._engine_for(z), z)
        return DecoderOutput(images) if return_dict else (images,)

    def tiled_decode(self, z: Array, return_dict: bool = True) -> DecoderOutput | tuple[Array]:
        """`decode` in tiles, whether or not `enable_tiling` was called."""
        before, self.use_tiling = self.use_tiling, True
        try:
            return self.decode(z, return_dict)
        finally:
            self.use_tiling = before

    def decode_with(self, engine: Engine, latents: Array) -> Array:
        """Decode latents (batch, channels, h, w), already divided by ``scaling_factor``, with an engine.

        Returns:
            Images (batch, 3, scale·h, scale·w), in [-1, 1] or slightly beyond.
        """
        return self._sliced(engine, latents, "decode_latents", self._tiles(encodes=False))

    def compile_decoder_ahead(self, engine: Engine, shape: Sequence[int]) -> None:
        """Start compiling what `decode_with` needs for latents of a shape (batch, channels, h, w).

        Graphs for slices and tiles, which limit memory, are compiled at first use.
        """
        if not (self.use_slicing or self.use_tiling):
            engine.compile_ahead(self, np.zeros(shape, np.float32), method="decode_latents")

    def _encode(self, engine: Engine, image: Array, method: str) -> Array:
        return self._sliced(engine, image, method, self._tiles(encodes=True))

    def _tiles(self, encodes: bool) -> tuple[Tile, Tile]:
        """The layout of tiles along height and width, for images to encode or latents to decode."""
        size, result = self.tile_size, self.tile_size // self.scale
        if not encodes:
            size, result = result, size
        blended = int(result * self.tile_overlap)
        tile = Tile(size, int(size * (1 - self.tile_overlap)), result - blended, blended)
        return tile, tile

    def _sliced(self, engine: Engine, x: Array, method: str, tiles: tuple[Tile, Tile]) -> Array:
        tiled = self.use_tiling and any(extent > tile.size for extent, tile in zip(x.shape[2:], tiles))
        if not tiled and not (self.use_slicing and x.shape[0] > 1):
            return single(engine.run(self, x, method=method))
        rows = np.split(engine.numpy(x), x.shape[0]) if self.use_slicing else [engine.numpy(x)]
        done = [
            self._tiled(engine, row, method, *tiles) if tiled else self._run_on(engine, row, method) for row in rows
        ]
        return engine.asarray(np.concatenate(done))

    def _run_on(self, engine: Engine, x: Floats, method: str) -> Floats:
        return engine.numpy(single(engine.run(self, engine.asarray(x), method=method)))

    def _tiled(self, engine: Engine, x: Floats, method: str, down: Tile, across: Tile) -> Floats:
        """Run on overlapping tiles; each fades into its upper and left neighbours."""
        bands = []
        above: list[Floats] = []
        for top in range(0, x.shape[2], down.step):
            tiles = [
                np.array(self._run_on(engine, tile, method))
                for left in range(0, x.shape[3], across.step)
                for tile in [x[:, :, top : top + down.size, left : left + across.size]]
            ]
            for i, tile in enumerate(tiles):
                if above:
                    _fade(above[i], tile, down.blended, axis=2)
                if i:
                    _fade(tiles[i - 1], tile, across.blended, axis=3)
            bands.append(np.concatenate([tile[:, :, : down.kept, : across.kept] for tile in tiles], axis=3))
            above = tiles
        return np.concatenate(bands, axis=2)


class PlainAutoencoder(Autoencoder):
    """An autoencoder with only ``encoder`` and ``decoder`` between images and latents; it is deterministic."""

    encodes_at_random = False
    encoder: Cell
    decoder: Cell

    def encode_latents(self, image: Array) -> Array:
        """Encode an image to latents."""
        return self.encoder(image)

    def decode_latents(self, latents: Array) -> Array:
        """Decode latents to an image."""
        return self.decoder(latents)

    def construct(self, latents: Array) -> Array:
        """The same as `decode_latents`."""
        return self.decode_latents(latents)


def decode_images(
    engine: Engine, vae: Any, latents: Array, fit: Callable[[Floats], Floats] = lambda pixels: pixels
) -> NDArray[np.float32]:
    """Run an autoencoder's decoder on latents (batch, channels, height, width) of unit variance.

    ``fit`` resizes its output, (batch, 3, image height, image width), in [-1, 1] or slightly beyond.

    Returns:
        float32 in [0, 1], (batch, image height, image width, 3).
    """
    latents = latents / vae.config["scaling_factor"] + (vae.config.get("shift_factor") or 0.0)
    image = engine.numpy(vae.decode_with(engine, latents))
    if not np.isfinite(image).all():
        logger.warning(
            f"The autoencoder's output has values that are not finite, which become black: {vae.dtype} may be too "
            "narrow for this checkpoint; load it with mindspore_dtype float32 or bfloat16"
        )
        image = np.nan_to_num(image, nan=-1.0)
    image = fit(image) * 0.5  # the last new memory
    image += 0.5
    return np.clip(image, 0.0, 1.0, out=image).transpose(0, 2, 3, 1)


def _fade(before: Floats, after: Floats, extent: int, axis: int) -> None:
    """Blend the end of ``before`` linearly into the start of ``after``, in place."""
    extent = min(extent, before.shape[axis], after.shape[axis])
    if extent == 0:
        return
    end = np.take(before, range(before.shape[axis] - extent, before.shape[axis]), axis)
    start = (slice(None),) * axis + (slice(extent),)
    weight = (np.arange(extent, dtype=after.dtype) / extent).reshape([-1] + [1] * (after.ndim - axis - 1))
    after[start] = end * (1 - weight) + after[start] * weight
