"""First-block caching (ParaAttention, after TeaCache, Liu et al. 2024, arXiv 2411.19108): while the output of a
transformer's first block hardly changes, it reuses what all later blocks added at the last whole step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ..utils.arrays import several, single
from .speedup import Cache, RunFacts, declare, number, refuse_new_noise
from .steps import Forward, Run, Step, last_rows, magnitude, repeated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from ..engines import Array
    from ..engines.base import Taps
    from .steps import Timestep


@declare
@dataclass(frozen=True)
class FirstBlockCacheConfig(Cache):
    """Run the first block at every step, and the others only if the first one's contribution has changed.

    Let r be the first block's addition to the image's tokens now, and r' that of the last whole step: a step is whole
    if mean |r - r'| / mean |r'| exceeds the threshold. Which steps are whole depends on the image, so `tune`, which
    plans costs before it generates, does not try this cache.

    Args:
        threshold: for the relative change, as in the reference; 0 skips nothing.

    Raises:
        ValueError: a value out of its range.
    """

    threshold: float = number(0.05, word="THRESHOLD")

    name = "fbcache"
    kind = "features"
    form = ("threshold",)
    usual = "0.05"

    @classmethod
    def candidates(cls) -> list[Self]:
        """See `Cache`."""
        return []

    def check(self, run: RunFacts) -> None:
        """See `Cache`."""
        if run.blocks < 2:
            raise ValueError(
                "FirstBlockCacheConfig skips the blocks after a transformer's first one, and this denoiser is no "
                "sequence of blocks; use DeepCacheConfig for one with skip connections"
            )
        refuse_new_noise(self, run)

    def forward(self, inner: Forward, run: Run) -> Forward:
        """See `Cache`."""
        return FirstBlockCache(self.threshold, inner, run)


class FirstBlockCache:
    """The denoiser's call in two parts: the first block, then the others or their cached addition."""

    def __init__(self, threshold: float, inner: Forward, run: Run):
        from ..engines.base import Taps  # imported here, because help does without NumPy

        self.threshold, self.inner, self.engine = threshold, inner, run.engine
        first, *others = run.denoiser.blocks
        last = others[-1]
        self._head = Taps(read=(first,), results=(first,), left_out=tuple(others))
        self._rest = Taps(results=(last,), replaced=(first,), left_out=(first,))
        self._end = Taps(replaced=(last,), left_out=(first, *others))
        self._streams = 1  # that the last block leaves; the image is the first
        self._added: Array | None = None
        self._tail: Array | None = None

    def __call__(self, step: Step, sample: Array, timestep: Timestep, **conditions: Array) -> Array:
        """As ``inner``, called twice. A block's tap holds the image's tokens, then other streams."""
        call = partial(self.inner, step, sample, timestep, **conditions)
        _, *seen = several(call(taps=self._head))
        streams = seen[len(seen) // 2 :]
        image = streams[0]
        added = image - repeated(self.engine, seen[0], image.shape[0])
        tail = self._tail_for(added)
        if tail is not None:
            ended = (image + tail, *streams[1 : self._streams])
            return single(call(taps=_of_streams(self._end, ended), values=ended))
        prediction, *left = several(call(taps=_of_streams(self._rest, streams), values=tuple(streams)))
        self._added, self._tail, self._streams = added, left[0] - image, len(left)
        return prediction

    def _tail_for(self, added: Array) -> Array | None:
        """The cached addition of the later blocks; None if they must run."""
        before = None if self._added is None else last_rows(self._added, added.shape[0])
        if before is None or self._tail is None:
            return None
        change = magnitude(self.engine, added - before) / magnitude(self.engine, before)
        return last_rows(self._tail, added.shape[0]) if change <= self.threshold else None


def _of_streams(taps: Taps, streams: Sequence[Array]) -> Taps:
    """The same, giving each replaced layer all streams."""
    return replace(taps, replaced=taps.replaced * len(streams))
