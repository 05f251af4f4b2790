"""Spectrum (arXiv 2603.01623): Chebyshev polynomials of time, fitted to past predictions, forecast the next."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.polynomial import chebyshev

from .forecast import Forecast, newton_weights, refuse_idle
from .steps import Predictor, Run, Step, between, whole


@dataclass(frozen=True)
class SpectrumConfig:
    """Forecast steps from a ridge regression on the last predictions, mixed with a straight line.

    The paper forecasts ever more of them (``window_growth=0.75``), at a greater loss.

    Args:
        degree: the highest Chebyshev polynomial, M of the paper.
        ridge: λ, what is added to the diagonal of the normal equations.
        blend: w, the part of the regression; the rest is the line through the last two predictions.
        window: N, one of this many steps is computed, at first.
        window_growth: α, what the window grows by with each computed step.
        warmup_steps: how many steps at the beginning are all computed.
        history: K, how many of the last predictions are fitted.

    Raises:
        ValueError: a value out of its range.
    """

    degree: int = 3
    ridge: float = 0.01
    blend: float = 0.25
    window: float = 2.0
    window_growth: float = 0.0
    warmup_steps: int = 5
    history: int = 10

    kind: ClassVar[str] = "steps"

    def __post_init__(self) -> None:
        whole("degree", self.degree, 0)
        between("ridge", self.ridge, 0, math.inf)
        between("blend", self.blend, 0, 1)
        between("window", self.window, 1, math.inf)
        between("window_growth", self.window_growth, 0, math.inf)
        whole("warmup_steps", self.warmup_steps, 1)
        whole("history", self.history, 2)
        if self.ridge == 0 and self.history <= self.degree:
            raise ValueError(f"without ridge a fit of degree {self.degree} needs a history above {self.degree}")

    def check(self, steps: int, branches: int) -> None:
        """Refuse a run in which nothing would be forecast.

        Raises:
            ValueError: as said.
        """
        refuse_idle(type(self).__name__, self.computed_steps(steps), steps)

    def computed_steps(self, steps: int) -> frozenset[int]:
        """See `forecast.Rule`: of ⌊N⌋ steps the last is computed, and N grows each time."""
        computed, skipped, window = set(range(min(self.warmup_steps, steps))), 0, self.window
        for i in range(self.warmup_steps, steps):
            if (skipped + 1) % math.floor(window) == 0:
                computed.add(i)
                skipped, window = 0, window + self.window_growth
            else:
                skipped += 1
        return frozenset(computed)

    def keeps(self, steps: int) -> int:
        """See `forecast.Rule`."""
        return self.history

    def weights(self, known: Sequence[Step], wanted: Step) -> list[float]:
        """See `forecast.Rule`. Time runs from -1 at a run's first step to 1 at its last."""
        times = [2 * step.index / max(step.count - 1, 1) - 1 for step in known]
        time = 2 * wanted.index / max(wanted.count - 1, 1) - 1
        basis = chebyshev.chebvander(np.array(times), self.degree)
        normal = basis.T @ basis + self.ridge * np.eye(self.degree + 1)
        fitted = chebyshev.chebvander(np.array([time]), self.degree)[0] @ np.linalg.solve(normal, basis.T)
        line = np.zeros(len(times))
        line[-2:] = newton_weights(times[-2:], time)
        return [float(weight) for weight in self.blend * fitted + (1 - self.blend) * line]

    def predictor(self, inner: Predictor, run: Run) -> Predictor:
        """What stands in for ``inner`` during one run."""
        return Forecast(self, inner, run)
