"""The candidates that start a search."""

from __future__ import annotations

import itertools

from ..acceleration.speedup import CACHES
from ..jobs.job import Precision
from .candidates import Candidate, Space


def first_seeds(dtype: Precision) -> list[Candidate]:
    """One or two of each kind, for a search that generates no images."""
    plain = Candidate(dtype=dtype)
    return [
        *(plain._replace(steps=steps) for steps in (25, 15, 10, 6)),
        *(plain._replace(steps=steps, last_timestep=25) for steps in (10, 6)),
        *(
            plain.with_cache(cache.kind, cache.of_numbers(cache.usual))
            for cache in CACHES.values()
            if cache.usual is not None and cache.candidates()
        ),
    ]


def few_steps(space: Space, dtype: Precision) -> list[Candidate]:
    """Few steps that end near the image, calibrated if possible, all guided or with forecast guidance at the end."""
    ends = ((4, 75), (5, 40), (6, 40), (8, 25), (10, 10))
    guided = (1.0, 0.8, 0.6) if space.is_guided else (1.0,)
    found = (
        Candidate(
            *(steps, "dpm++", last, space.calibrated[-1]), guided=part, guidance_forecast=part < 1, dtype=dtype
        ).settled
        for (steps, last), part in itertools.product(ends, guided)
    )
    return list(dict.fromkeys(found))
