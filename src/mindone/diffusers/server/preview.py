"""Previews of running images: the scheduler's estimate of the clean latents, as a small picture.

A tiny autoencoder decodes the estimate itself if that costs only a small share of the steps' time. Otherwise an affine
map to RGB turns each latent into one pixel; it is fitted once to the autoencoder's output for a few smooth random
latents.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..utils.images import to_pil

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipelines.published import PublishedPipeline

SHARE = 0.05
"""The share of the steps' time for previews."""
_SMALL = 10_000_000
"""The maximum parameters of an autoencoder for previews: tiny ones have 2.4 million, published full ones 84 million."""
_SAMPLES, _SIDE, _COARSE = 4, 16, 4
"""The random latents for the fit of the affine map: their number, their side, and the side before enlarging."""


@dataclass(frozen=True)
class Estimate:
    """The latents of a running job, and the pipeline that can show them."""

    pipe: PublishedPipeline
    latents: Array

    def picture(self, seconds: float = math.inf) -> Image:
        """The first of the images in its current state; decoded if that takes no more than ``seconds``."""
        first = self.latents[0:1]
        if self.pipe.vae.num_parameters() > _SMALL or _seconds_to_decode(self) > seconds:
            return to_pil(apply_affine(affine_map(self.pipe), self.pipe.engine.numpy(first)))[0]
        began = time.monotonic()
        image = to_pil(self.pipe.decode_latents(first))[0]
        _note_decoded(self, time.monotonic() - began)
        return image


def apply_affine(weights: NDArray[np.float64], latents: NDArray[np.float32]) -> NDArray[np.float32]:
    """RGB in [0, 1], (batch, height, width, 3), from latents (batch, channels, height, width).

    ``weights`` is (channels + 1, 3); its last row is the offset.
    """
    pixels = latents.transpose(0, 2, 3, 1) @ weights[:-1] + weights[-1]
    clipped: NDArray[np.float32] = np.clip(pixels, 0.0, 1.0).astype(np.float32)
    return clipped


def fit_affine(latents: NDArray[np.float32], images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The least-squares weights of `apply_affine` for images whose size is a multiple of the latents'."""
    batch, channels, rows, columns = latents.shape
    factor = images.shape[1] // rows
    pooled = images.reshape(batch, rows, factor, columns, factor, 3).mean((2, 4)).reshape(-1, 3)
    flat = latents.transpose(0, 2, 3, 1).reshape(-1, channels)
    weights: NDArray[np.float64] = np.linalg.lstsq(np.c_[flat, np.ones(len(flat))], pooled, rcond=None)[0]
    return weights


_maps: WeakKeyDictionary[object, NDArray[np.float64]] = WeakKeyDictionary()
_lock = threading.Lock()


_decoded: WeakKeyDictionary[object, dict[tuple[int, ...], float]] = WeakKeyDictionary()


def _seconds_to_decode(estimate: Estimate) -> float:
    """The last measured seconds; 0 for an untried size."""
    with _lock:
        return _decoded.get(estimate.pipe.vae, {}).get(estimate.latents.shape, 0.0)


def _note_decoded(estimate: Estimate, seconds: float) -> None:
    """Remember a time. The first one of a size does not count: it may include compilation."""
    with _lock:
        times = _decoded.setdefault(estimate.pipe.vae, {})
        times[estimate.latents.shape] = seconds if estimate.latents.shape in times else 0.0


def affine_map(pipe: PublishedPipeline) -> NDArray[np.float64]:
    """The map for a pipeline's autoencoder, fitted on first use."""
    with _lock:
        if pipe.vae not in _maps:
            from scipy.ndimage import zoom

            noise = np.random.default_rng(0).standard_normal(
                (_SAMPLES, pipe.vae.config["latent_channels"], _COARSE, _COARSE)
            )
            latents = zoom(noise, (1, 1, _SIDE / _COARSE, _SIDE / _COARSE), order=1).astype(np.float32)
            images = [pipe.decode_latents(pipe.engine.asarray(each[None])) for each in latents]
            _maps[pipe.vae] = fit_affine(latents, np.concatenate(images))
        return _maps[pipe.vae]
