"""TaylorSeer (Liu et al. 2025, "From Reusing to Forecasting"): finite differences of predictions forecast the next.

The differences are taken over the real timesteps, which are not evenly spaced everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from .forecast import Forecast, newton_weights, refuse_idle
from .steps import Predictor, Run, Step, whole

_HIGHEST_ORDER = 3


@dataclass(frozen=True)
class TaylorSeerCacheConfig:
    """Forecast the noise at some steps by a polynomial through the last predictions.

    Args:
        cache_interval: between two computed steps lie ``cache_interval - 1`` forecast ones.
        disable_cache_before_step: the steps before this one are all computed.
        disable_cache_after_step: so are this step and those after it; None for none.
        max_order: the polynomial's degree, 0 (the last prediction again) to 3.

    Raises:
        ValueError: a value out of its range.
    """

    cache_interval: int = 5
    disable_cache_before_step: int = 3
    disable_cache_after_step: int | None = None
    max_order: int = 1

    kind: ClassVar[str] = "steps"

    def __post_init__(self) -> None:
        whole("cache_interval", self.cache_interval, 1)
        whole("disable_cache_before_step", self.disable_cache_before_step, 1)
        if self.disable_cache_after_step is not None:
            whole("disable_cache_after_step", self.disable_cache_after_step, 1)
        whole("max_order", self.max_order, 0)
        if self.max_order > _HIGHEST_ORDER:
            raise ValueError(f"max_order must be at most {_HIGHEST_ORDER}, got {self.max_order}")

    def check(self, steps: int, branches: int) -> None:
        """Refuse a run in which nothing would be forecast, unless ``cache_interval`` is 1.

        Raises:
            ValueError: as said.
        """
        if self.cache_interval > 1:
            refuse_idle(type(self).__name__, self.computed_steps(steps), steps)

    def computed_steps(self, steps: int) -> frozenset[int]:
        """See `forecast.Rule`. After the first ones one step is forecast before the next is computed."""
        first = self.disable_cache_before_step
        last = steps if self.disable_cache_after_step is None else self.disable_cache_after_step
        return frozenset(
            i for i in range(steps) if i < first or i >= last or (i - first - 1) % self.cache_interval == 0
        )

    def keeps(self, steps: int) -> int:
        """See `forecast.Rule`."""
        return self.max_order + 1

    def weights(self, known: Sequence[Step], wanted: Step) -> list[float]:
        """See `forecast.Rule`."""
        return newton_weights([step.timestep for step in known], wanted.timestep)

    def predictor(self, inner: Predictor, run: Run) -> Predictor:
        """What stands in for ``inner`` during one run."""
        return Forecast(self, inner, run)
