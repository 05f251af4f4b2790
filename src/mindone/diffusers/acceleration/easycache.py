"""EasyCache (Zhou et al. 2025, arXiv 2507.02860): skips steps while the noise is expected to stay the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .speedup import Cache, RunFacts, declare, number, refuse_new_noise
from .steps import Predictor, Run, Step, last_rows, magnitude, repeated

if TYPE_CHECKING:
    from ..engines import Array


@declare
@dataclass(frozen=True)
class EasyCacheConfig(Cache):
    """Reuse the network's prediction until the expected change adds up to a threshold.

    A skipped step's prediction is x + Δ with Δ = v - x from the last computed step (§3.2), where x are the network's
    input latents. The last two computed steps show how much the prediction changes with them.

    Args:
        threshold: τ, the relative change at which the network runs again; 0 skips nothing.
        start, stop: the span of the run, from 0 to 1, in which steps may be skipped.

    Raises:
        ValueError: a value out of its range.
    """

    threshold: float = number(0.2, word="THRESHOLD")
    start: float = number(0.15, 0, 1)
    stop: float = number(0.95, 0, 1)

    name = "easycache"
    kind = "steps"
    form = ("threshold",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start >= self.stop:
            raise ValueError(f"start must be below stop, got {self.start:g} and {self.stop:g}")

    def check(self, run: RunFacts) -> None:
        """See `Cache`; too short a run does not show how fast the noise changes."""
        refuse_new_noise(self, run)
        if not any(self.may_skip(Step(i, run.steps, 0.0)) for i in range(2, run.steps)):
            raise ValueError(
                f"EasyCacheConfig would skip none of the run's {run.steps} steps; use more steps, or no cache"
            )

    def may_skip(self, step: Step) -> bool:
        """Whether the step may be skipped."""
        return self.start * step.count <= step.index < self.stop * step.count

    def predictor(self, inner: Predictor, run: Run) -> Predictor:
        """See `Cache`."""
        return EasyCache(self, inner, run)


class EasyCache:
    """A predictor that calls ``inner`` only when necessary."""

    def __init__(self, config: EasyCacheConfig, inner: Predictor, run: Run):
        self.config, self.inner, self.run = config, inner, run
        self._noise: Array | None = None
        self._sample_there: Array | None = None
        self._sample_before: Array | None = None
        self._rate: float | None = None
        self._expected = 0.0

    def predict(self, latents: Array, step: Step) -> Array:
        """See `Predictor`."""
        engine = self.run.engine
        sample = self.run.scheduler.scale_model_input(latents, step.timestep)
        rows = latents.shape[0] * (1 + self.run.guides(step))
        noise = None if self._noise is None else last_rows(self._noise, rows)
        if noise is not None and self._rate is not None and self.config.may_skip(step):
            self._expected += self._rate * magnitude(engine, sample - self._sample_before) / magnitude(engine, noise)
            if self._expected < self.config.threshold:
                self._sample_before = sample
                return noise + repeated(engine, sample - self._sample_there, rows)
        computed = self.inner.predict(latents, step)
        if noise is not None:
            moved = magnitude(engine, sample - self._sample_there)
            self._rate = magnitude(engine, computed - noise) / moved if moved else None
        self._noise, self._sample_there, self._sample_before, self._expected = computed, sample, sample, 0.0
        return computed
