"""Whole steps without the network: the noise changes smoothly, so that of some steps is extrapolated from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..schedulers.arrays import combination
from .steps import Predictor, Run, Step, last_rows, with_latest

if TYPE_CHECKING:
    from ..engines import Array


class Rule(Protocol):
    """When to forecast, and how: the forecast is a weighted sum of the last predictions."""

    def computed_steps(self, steps: int) -> frozenset[int]:
        """The numbers of the steps of a run that the network computes."""

    def keeps(self, steps: int) -> int:
        """How many of the last predictions a forecast uses."""

    def weights(self, known: Sequence[Step], wanted: Step) -> list[float]:
        """The weight of each of the ``known`` steps' predictions, the oldest first, in that of ``wanted``."""


class Forecast:
    """A predictor that asks ``inner`` at some steps only, and forecasts the others.

    Under guidance it forecasts both halves. For a weighted sum that is the same as to forecast the guided noise, as
    long as the guidance stays as it is; and it holds where it does not: at the end of a guidance interval, or when a
    callback changes the scale.
    """

    def __init__(self, rule: Rule, inner: Predictor, run: Run):
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


def refuse_idle(name: str, computed: frozenset[int], steps: int) -> None:
    """Refuse a forecast that leaves every step of the run to the network.

    Raises:
        ValueError: as said.
    """
    if len(computed) >= steps:
        raise ValueError(
            f"{name} would forecast none of the run's {steps} steps; take more steps, fewer at the start that are "
            "computed, or no cache"
        )


def newton_weights(times: Sequence[float], time: float) -> list[float]:
    """The weights of values at ``times`` in the value at ``time`` of the polynomial through all of them."""
    weights = []
    for i, own in enumerate(times):
        weight = 1.0
        for j, other in enumerate(times):
            if j != i:
                weight *= (time - other) / (own - other)
        weights.append(weight)
    return weights
