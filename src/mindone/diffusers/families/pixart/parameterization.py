"""The translation between schedulers and the transformer of PixArt-α."""

from __future__ import annotations

from ...schedulers.base import Array
from ...schedulers.parameterization import WithoutVariance


class OneStep(WithoutVariance):
    """A run of a single step ends with the scheduler's estimate, as networks distilled for that expect.

    Chen et al. 2024, "PixArt-α DMD"; schedulers other than the usual one leave noise after their only step.
    """

    def finished(self, latents: Array, estimate: Array | None) -> Array:
        """See `Parameterization`."""
        return latents if estimate is None or len(self.scheduler.timesteps) > 1 else self.clean(estimate)
