"""How close one setting's images are to the baseline's."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PEAK = 255


@dataclass(frozen=True)
class Quality:
    """Distances between two sets of images with the same seeds."""

    psnr: float | None
    """Peak signal-to-noise ratio over all images, in decibels; None if they are identical."""
    ssim: float
    """Structural similarity (Wang et al. 2004), the mean over the images; 1 is identical."""
    max_difference: int
    """The largest difference of any channel of any pixel, from 0 to 255."""


def compare(images: NDArray[np.uint8], baseline: NDArray[np.uint8]) -> Quality:
    """Compare uint8 images (images, height, width, 3) with the baseline's, with scikit-image's metrics.

    Raises:
        ValueError: the images differ in number or size.
    """
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # over a second, mostly for statistics

    if images.shape != baseline.shape:
        raise ValueError(f"images of shape {images.shape} cannot be compared with images of shape {baseline.shape}")
    largest = int(np.abs(images.astype(np.int16) - baseline.astype(np.int16)).max())
    psnr = float(peak_signal_noise_ratio(baseline, images, data_range=PEAK)) if largest else math.inf
    # The published window is 7×7; only images smaller than that need a smaller one.
    window = min(7, *(side - 1 + side % 2 for side in images.shape[1:3]))
    ssim = np.mean(
        [
            structural_similarity(theirs, ours, win_size=window, channel_axis=2, data_range=PEAK)
            for theirs, ours in zip(baseline, images)
        ]
    )
    return Quality(psnr if math.isfinite(psnr) else None, float(ssim), largest)
