"""DeepCache (Ma et al. 2024): the output of the denoiser's deep layers changes slowly, so most steps reuse it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..utils.arrays import several, single
from ..utils.combination import combination
from .forecast import newton_weights
from .points import Points, curve_at
from .speedup import Cache, RunFacts, declare, number
from .steps import Forward, Run, Step, last_rows, with_latest

if TYPE_CHECKING:
    from ..engines import Array
    from ..models.taps import Cut
    from .steps import Timestep

_WHOLE_STEPS: Points = ((2, 26), (3, 28), (5, 31.6), (9, 41.6), (13, 47.4), (25, 60))
"""Decibels against every step whole: trials on ``icons``, with points in between guessed."""
_REGAINED = 2.0
"""Decibels that a forecast of the feature regains."""


@declare
@dataclass(frozen=True)
class DeepCacheConfig(Cache):
    """Run the whole denoiser at some steps, and only the part above a branch at the others.

    Args:
        cache_interval: the first of every this many steps is whole; 1 means no cache.
        cache_branch_id: where to cut the denoiser, an index of its `cuts`: 0 runs the least at the other steps.
        skip_mode: "uniform", or "quadratic" for whole steps closer together around ``center`` (§3.3), the same number
            of them.
        pow, center: the exponent of the quadratic schedule, above 1, and the step where it is densest.
        max_order: the feature at the other steps: that of the last whole step (0, as published), or a forecast by a
            polynomial of this degree through the last whole steps, as `TaylorSeerCacheConfig` forecasts noise. On
            ``icons`` (12 prompts, 25 DPM++ steps, interval 3) degree 1 raises 41.4 dB to 50.0, degree 2 to 45.2.

    Raises:
        ValueError: a value out of its range.
    """

    cache_interval: int = number(3, 1, word="INTERVAL", tried=(2, 3, 4, 5, 6, 8))
    cache_branch_id: int = number(0, word="BRANCH", tried=(0, 1, 2))
    skip_mode: str = "uniform"
    pow: float = number(1.4, 1.02, 10)
    center: int = number(15)
    max_order: int = number(0, word="ORDER", tried=(0, 1))

    name = "deepcache"
    kind = "features"
    form = ("cache_interval", "cache_branch_id", "max_order")
    usual = "2:0:0"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.skip_mode not in ("uniform", "quadratic"):
            raise ValueError(f'skip_mode must be "uniform" or "quadratic", got {self.skip_mode!r}')

    def check(self, run: RunFacts) -> None:
        """See `Cache`."""
        if not run.branches:
            raise ValueError("DeepCacheConfig needs a denoiser with skip connections, and this one has none")
        if self.cache_branch_id >= run.branches:
            raise ValueError(
                f"cache_branch_id {self.cache_branch_id} is too large: the denoiser's lowest branch is "
                f"{run.branches - 1}"
            )
        if 1 < self.cache_interval >= run.steps:
            raise ValueError(
                f"cache_interval {self.cache_interval} needs a run of more than {self.cache_interval} steps, got "
                f"{run.steps}; use a shorter interval or no cache"
            )
        self.whole_steps(run.steps)

    def whole_steps(self, steps: int) -> list[int]:
        """The numbers of a run's whole steps, in order.

        Raises:
            ValueError: the quadratic schedule has no such number of steps around this center.
        """
        if self.skip_mode == "uniform":
            return list(range(0, steps, self.cache_interval))
        import numpy as np

        wanted, power = -(-steps // self.cache_interval), self.pow
        while power > 1:
            # Left of the center the base is negative, and its power complex; the paper uses the real part.
            first, last = (complex(end - self.center) ** (1 / power) for end in (0, steps))
            offsets = np.trunc((np.linspace(first, last, wanted + 1) ** power).real).astype(int)
            found = [0, *(int(offset) + self.center for offset in np.unique(offsets)[1:-1])]
            if len(found) == wanted and found == sorted(set(found)):
                return found
            power -= 0.02
        raise ValueError(
            f"there is no quadratic schedule of {wanted} of {steps} steps around center {self.center}; use a smaller "
            'center or skip_mode="uniform"'
        )

    def forward(self, inner: Forward, run: Run) -> Forward:
        """See `Cache`."""
        return DeepCache(self, inner, run.denoiser.cuts[self.cache_branch_id])

    def is_lossier(self, other: Cache | None) -> bool:
        """See `Cache`."""
        return other is None or (
            isinstance(other, DeepCacheConfig)
            and self.cache_interval >= other.cache_interval
            and self.cache_branch_id <= other.cache_branch_id
            and self.max_order == other.max_order
        )

    def expected_psnr(self, steps: int) -> float:
        """See `Cache`."""
        regained = 1.5 * self.cache_branch_id + (_REGAINED if self.max_order else 0.0)
        return curve_at(_WHOLE_STEPS, -(-steps // self.cache_interval)) + regained


class DeepCache:
    """The denoiser's call: whole at the scheduled steps, which read the feature; the others reuse the feature, and
    nothing below the cut runs.

    If a forecast replaces a scheduled step, the next computed step is whole instead. The same happens if the feature
    lacks rows: one from a step without guidance does not suffice for a step with guidance.
    """

    def __init__(self, config: DeepCacheConfig, inner: Forward, cut: Cut):
        self.config, self.inner, self.cut = config, inner, cut
        self._features: list[tuple[Step, Array]] = []
        self._made_at = -1

    def __call__(self, step: Step, sample: Array, timestep: Timestep, **conditions: Array) -> Array:
        """As ``inner``, called once."""
        rows = conditions["encoder_hidden_states"].shape[0]
        feature = None if self._is_due(step) else self._forecast(step, rows)
        if feature is not None:
            replaced = self.inner(step, sample, timestep, taps=self.cut.replacing, values=(feature,), **conditions)
            return single(replaced)
        noise, feature = several(self.inner(step, sample, timestep, taps=self.cut.reading, **conditions))
        self._features = with_latest(self._features, step, feature, self.config.max_order + 1)
        self._made_at = step.index
        return noise

    def _forecast(self, step: Step, rows: int) -> Array | None:
        """The feature with this many rows, from the last whole steps that provide it."""
        parts = [(at, last_rows(feature, rows)) for at, feature in self._features]
        known = [(at.timestep, feature) for at, feature in parts if feature is not None]
        if len(known) < 2:
            return known[0][1] if known else None
        return combination(newton_weights([time for time, _ in known], step.timestep), [x for _, x in known])

    def _is_due(self, step: Step) -> bool:
        return any(self._made_at < due <= step.index for due in self.config.whole_steps(step.count))
