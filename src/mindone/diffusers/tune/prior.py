"""What is known about each method before anything is measured here: how far it moves the bundled model's pictures.

Decibels of PSNR, of three kinds. Steps and guidance come from trials of a few settings on ``icons``; the points in
between are guessed. Int8 and the distilled model are measured. Half precision, token downsampling and the tiny
autoencoder are estimates, with no measurement behind them. Caches state their own.

Independent errors add up in squares. The sum decides where a search begins and, if there is no quality to measure
(random weights), which of two settings of the same cost is expected to be better.
"""

import math

from ..acceleration.points import Points, curve_at
from .candidates import Candidate, Decoder

_STEPS: Points = ((4, 32.0), (5, 34.1), (6, 35.5), (8, 37.7), (10, 39.3), (15, 41.8), (25, 44.5), (40, 47))
"""Plain DPM++ steps, against 100. Here and below: trials on ``icons``, with points in between guessed."""
_ENDING_STEPS: dict[int, Points] = {
    75: ((4, 33.9), (5, 36.7), (6, 38.5), (8, 40.2), (10, 40.8), (15, 40.6), (25, 40.6)),
    40: ((4, 33.2), (5, 36.6), (6, 39.3), (8, 43.4), (10, 45.0), (15, 45.1), (25, 45.1)),
    25: ((4, 32.5), (5, 35.9), (6, 38.9), (8, 44.5), (10, 47.7), (15, 48.4), (25, 48.5)),
    10: ((4, 30.5), (5, 34.0), (6, 37.0), (8, 43.0), (10, 47.7), (15, 51.9), (25, 53)),
}
"""The same with the last step at this timestep: measured from 5 to 15 steps."""
_CALIBRATED = 3.0
"""Decibels gained by calibrated steps."""
_GUIDED: Points = ((0.4, 28), (0.5, 32.5), (0.6, 37), (0.7, 40), (0.8, 43), (0.9, 49), (1.0, 99))
"""By the fraction of guided steps, among 5 to 12 calibrated ones."""
_GUIDANCE_FORECAST: Points = ((0.4, 29), (0.5, 33), (0.6, 37.5), (0.7, 41.5), (0.8, 47), (0.9, 54), (1.0, 99))
"""The same if guidance continues unchanged."""
_INT8, _DISTILLED = 40.0, 23.0
"""Measured."""
_HALF, _DOWNSAMPLED = 52.0, 35.0
"""Estimates."""
_DECODERS: dict[Decoder, float] = {"": 99.0, "int8": 47.0, "tiny": 25.0}
"""Int8 is measured, the tiny one is an estimate."""


def expected_psnr(candidate: Candidate) -> float:
    """Expected decibels of the candidate's images against the reference."""
    c = candidate
    losses = [curve_at(_STEPS if c.last_timestep is None else _ENDING_STEPS[c.last_timestep], c.steps)]
    losses[0] += _CALIBRATED if c.calibrated else 0.0
    losses += [cache.expected_psnr(c.steps) for cache in c.caches]
    if c.guided < 1:
        losses.append(curve_at(_GUIDANCE_FORECAST if c.guidance_forecast else _GUIDED, c.guided))
    losses += [_INT8] if c.int8 else []
    losses += [_HALF] if c.dtype != "float32" else []
    losses += [_DOWNSAMPLED - 3 * (c.downsampling - 2)] if c.downsampling > 1 else []
    losses += [_DISTILLED] if c.distilled else []
    losses += [_DECODERS[c.decoder]]
    return -10 * math.log10(sum(10 ** (-loss / 10) for loss in losses))
