"""Whole steps without the network: the noise changes smoothly, so some steps are extrapolated from others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..utils.combination import combination
from .points import Points, curve_at
from .speedup import Cache, RunFacts, refuse_new_noise
from .steps import Predictor, Run, Step, last_rows, with_latest

if TYPE_CHECKING:
    from ..engines import Array

_COMPUTED_STEPS: Points = ((4, 26), (7, 34), (11, 42.0), (15, 58), (25, 70))
"""Decibels against every step computed: trials on ``icons``, with points in between guessed."""


@dataclass(frozen=True)
class StepForecast(Cache):
    """A cache of steps whose forecast is a weighted sum of the last predictions: when to forecast, and how."""

    kind = "steps"

    def computed_steps(self, steps: int) -> frozenset[int]:
        """The numbers of a run's steps that the network computes."""
        raise NotImplementedError

    def keeps(self, steps: int) -> int:
        """How many of the last predictions a forecast uses."""
        raise NotImplementedError

    def weights(self, known: Sequence[Step], wanted: Step) -> list[float]:
        """The weights of the ``known`` steps' predictions, the oldest first, in the prediction for ``wanted``."""
        raise NotImplementedError

    def check(self, run: RunFacts) -> None:
        """See `Cache`."""
        refuse_new_noise(self, run)
        if len(self.computed_steps(run.steps)) >= run.steps:
            raise ValueError(
                f"{type(self).__name__} would forecast none of the run's {run.steps} steps; use more steps, "
                "fewer computed ones at the start, or no cache"
            )

    def predictor(self, inner: Predictor, run: Run) -> Predictor:
        """See `Cache`."""
        return Forecast(self, inner, run)

    def expected_psnr(self, steps: int) -> float:
        """See `Cache`."""
        return curve_at(_COMPUTED_STEPS, len(self.computed_steps(steps)))


class Forecast:
    """A predictor that calls ``inner`` at only some steps and forecasts the others.

    With guidance it forecasts both halves. For a weighted sum this equals forecasting the guided noise while the
    guidance stays the same; and it still holds when that changes: at the end of a guidance interval, or if a callback
    changes the scale.
    """

    def __init__(self, rule: StepForecast, inner: Predictor, run: Run):
        self.rule, self.inner, self.run = rule, inner, run
        self._known: list[tuple[Step, Array]] = []

    def predict(self, latents: Array, step: Step) -> Array:
        """See `Predictor`."""
        rows = latents.shape[0] * (1 + self.run.guides(step))
        parts = [(at, last_rows(noise, rows)) for at, noise in self._known]
        known = [(at, noise) for at, noise in parts if noise is not None]
        if known and step.index not in self.rule.computed_steps(step.count):
            weights = self.rule.weights([at for at, _ in known], step)
            return combination(weights, [noise for _, noise in known])
        noise = self.inner.predict(latents, step)
        self._known = with_latest(known, step, noise, self.rule.keeps(step.count))
        return noise


def newton_weights(times: Sequence[float], time: float) -> list[float]:
    """The weights of values at ``times`` in the value, at ``time``, of the polynomial through all of them."""
    weights = []
    for i, own in enumerate(times):
        weight = 1.0
        for j, other in enumerate(times):
            if j != i:
                weight *= (time - other) / (own - other)
        weights.append(weight)
    return weights
