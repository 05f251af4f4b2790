"""Guidance computed at some steps and forecast at the others, which run one row per image instead of two.

Guidance adds a multiple of the difference between the predictions with and without the prompt, and that changes slowly.
So most steps can skip the half without the prompt: Compress Guidance (Dinh et al. 2024, arXiv 2408.11194) and the
CFG-Cache of FasterCache (Lv et al. 2024, arXiv 2410.19355) reuse the last difference, LinearAG (Castillo et al. 2023,
arXiv 2312.12487) takes a weighted sum of predictions. Here it is the polynomial through the last ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..utils.combination import combination
from .forecast import newton_weights
from .speedup import GUIDANCE, Cache, RunFacts, declare, number, refuse_new_noise
from .steps import Step, with_latest

if TYPE_CHECKING:
    from ..engines import Array


@declare
@dataclass(frozen=True)
class GuidanceCacheConfig(Cache):
    """Compute guidance at some of the guided steps, and forecast it at the others.

    Unlike a guidance interval, which ends guidance, this continues it: on ``icons``, the last of 6 calibrated steps
    without guidance lowers 42.3 dB to 40.3, with forecast guidance to 41.1.

    Args:
        cache_interval: compute one of every this many guided steps.
        max_order: the forecast polynomial's degree; 0 reuses the last difference.
        disable_cache_before_step: compute all guided steps before this one.

    Raises:
        ValueError: a value out of its range.
    """

    cache_interval: int = number(2, 1, word="INTERVAL")
    max_order: int = number(1, word="ORDER")
    disable_cache_before_step: int = number(2, 1, word="FIRST")

    name = "guidance"
    kind = "guidance"
    form = ("cache_interval", "max_order", "disable_cache_before_step")
    usual = ""

    def check(self, run: RunFacts) -> None:
        """See `Cache`; an interval of 1 means no cache and suits every number of steps."""
        if self.cache_interval > 1 and run.steps <= self.disable_cache_before_step:
            raise ValueError(
                f"GuidanceCacheConfig would compute the guidance of all of the run's {run.steps} steps; use more "
                "steps, fewer computed ones at the start, or no cache"
            )
        refuse_new_noise(self, run)
        if run.differences > 1:
            raise ValueError("GuidanceCacheConfig forecasts one difference, and a run that edits a picture has two")
        if not run.is_guided:
            raise ValueError(f"GuidanceCacheConfig skips guidance, and this run has none; give {GUIDANCE}, or no cache")

    def computes_guidance(self, number: int) -> bool:
        """See `Cache`."""
        first = self.disable_cache_before_step
        return number < first or (number - first + 1) % self.cache_interval == 0

    @classmethod
    def candidates(cls) -> list[GuidanceCacheConfig]:
        """None: `tune` forecasts the last steps of guidance, whose numbers depend on the number of steps."""
        return []

    def differences(self) -> GuidanceCache:
        """See `Cache`."""
        return GuidanceCache(self)


class GuidanceCache:
    """The last differences of one run."""

    def __init__(self, config: GuidanceCacheConfig):
        self.config = config
        self._known: list[tuple[Step, Array]] = []

    def keep(self, step: Step, difference: Array) -> None:
        """Store a step's computed difference: (images, channels, height, width)."""
        self._known = with_latest(self._known, step, difference, self.config.max_order + 1)

    def forecast(self, step: Step) -> Array:
        """The expected difference at a step."""
        weights = newton_weights([at.timestep for at, _ in self._known], step.timestep)
        return combination(weights, [difference for _, difference in self._known])
