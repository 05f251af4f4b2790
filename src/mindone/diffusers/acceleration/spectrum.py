"""Spectrum (arXiv 2603.01623): Chebyshev polynomials of time, fitted to past predictions, forecast the next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .forecast import StepForecast, newton_weights
from .speedup import declare, number
from .steps import Step


@declare
@dataclass(frozen=True)
class SpectrumConfig(StepForecast):
    """Forecast steps from a ridge regression on the last predictions, mixed with a straight line.

    The paper forecasts more and more of them (``window_growth=0.75``), at a greater loss.

    Args:
        degree: the highest Chebyshev polynomial, M of the paper.
        ridge: λ, added to the diagonal of the normal equations.
        blend: w, the weight of the regression; the rest is the line through the last two predictions.
        window: N, at first one of this many steps is computed.
        window_growth: α, the window's growth with each computed step.
        warmup_steps: how many steps at the beginning to compute.
        history: K, how many of the last predictions to fit.

    Raises:
        ValueError: a value out of its range.
    """

    degree: int = number(3)
    ridge: float = number(0.01)
    blend: float = number(0.25, 0, 1)
    window: float = number(2.0, 1, word="WINDOW")
    window_growth: float = number(0.0, word="GROWTH", tried=(0.0, 0.75))
    warmup_steps: int = number(5, 1)
    history: int = number(10, 2)

    name = "spectrum"
    form = ("window", "window_growth")
    usual = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ridge == 0 and self.history <= self.degree:
            raise ValueError(f"without ridge a fit of degree {self.degree} needs a history above {self.degree}")

    def computed_steps(self, steps: int) -> frozenset[int]:
        """See `StepForecast`: the last of ⌊N⌋ steps is computed, and N grows each time."""
        computed, skipped, window = set(range(min(self.warmup_steps, steps))), 0, self.window
        for i in range(self.warmup_steps, steps):
            if (skipped + 1) % math.floor(window) == 0:
                computed.add(i)
                skipped, window = 0, window + self.window_growth
            else:
                skipped += 1
        return frozenset(computed)

    def keeps(self, steps: int) -> int:
        """See `StepForecast`."""
        return self.history

    def weights(self, known: Sequence[Step], wanted: Step) -> list[float]:
        """See `StepForecast`. Time runs from -1 at a run's first step to 1 at its last."""
        import numpy as np
        from numpy.polynomial import chebyshev

        times = [2 * step.index / max(step.count - 1, 1) - 1 for step in known]
        time = 2 * wanted.index / max(wanted.count - 1, 1) - 1
        basis = chebyshev.chebvander(np.array(times), self.degree)
        normal = basis.T @ basis + self.ridge * np.eye(self.degree + 1)
        fitted = chebyshev.chebvander(np.array([time]), self.degree)[0] @ np.linalg.solve(normal, basis.T)
        line = np.zeros(len(times))
        line[-2:] = newton_weights(times[-2:], time)
        return [float(weight) for weight in self.blend * fitted + (1 - self.blend) * line]
