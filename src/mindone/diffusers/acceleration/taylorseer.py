"""TaylorSeer (Liu et al. 2025, "From Reusing to Forecasting"): finite differences of predictions forecast the next.

It takes differences over the real timesteps, which may be unevenly spaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .forecast import StepForecast, newton_weights
from .speedup import RunFacts, declare, number
from .steps import Step


@declare
@dataclass(frozen=True)
class TaylorSeerCacheConfig(StepForecast):
    """Forecast the noise at some steps with a polynomial through the last predictions.

    Args:
        cache_interval: between two computed steps lie ``cache_interval - 1`` forecast ones.
        disable_cache_before_step: compute all steps before this one.
        disable_cache_after_step: also compute this step and all later ones; None for none.
        max_order: the polynomial's degree, 0 (the last prediction again) to 3.

    Raises:
        ValueError: a value out of its range.
    """

    cache_interval: int = number(5, 1, word="INTERVAL", tried=(2, 3, 4))
    disable_cache_before_step: int = number(3, 1, word="FIRST", tried=(2, 3, 4))
    disable_cache_after_step: int | None = number(None, 1)
    max_order: int = number(1, 0, 3, word="ORDER", tried=(1, 2, 3))

    name = "taylorseer"
    form = ("cache_interval", "max_order", "disable_cache_before_step")
    usual = "2:2:3"

    def check(self, run: RunFacts) -> None:
        """See `Cache`; an interval of 1 means no cache and suits every number of steps."""
        if self.cache_interval > 1:
            super().check(run)

    def computed_steps(self, steps: int) -> frozenset[int]:
        """See `StepForecast`. After the first steps, one is forecast before the next is computed."""
        first = self.disable_cache_before_step
        last = steps if self.disable_cache_after_step is None else self.disable_cache_after_step
        return frozenset(
            i for i in range(steps) if i < first or i >= last or (i - first - 1) % self.cache_interval == 0
        )

    def keeps(self, steps: int) -> int:
        """See `StepForecast`."""
        return self.max_order + 1

    def weights(self, known: Sequence[Step], wanted: Step) -> list[float]:
        """See `StepForecast`."""
        return newton_weights([step.timestep for step in known], wanted.timestep)

    def expected_psnr(self, steps: int) -> float:
        """See `Cache`."""
        return super().expected_psnr(steps) - (3 if self.max_order == 1 else 0)
