"""The result of a search: the Pareto front, each row the best for its time, and the profile for given targets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..jobs.profile import Evidence, Profile, Settings
from .likeness import Pixels

MARKS = (2, 3, 4, 6, 8, 12, 16)
"""The speed-ups that people ask for."""
SLACK = 0.02
"""A speed-up counts as reached if it falls short by no more than this fraction."""


@dataclass
class Row:
    """Pareto-optimal settings: none that are as fast give better images."""

    settings: Settings
    predicted_seconds: float
    speed_up: float
    """Speed-up over 25 DPM++ steps in half precision."""
    psnr: float | None = None
    """PSNR in decibels against the reference, over all prompts; None if quality was not measured."""
    psnr_error: float | None = None
    ssim: float | None = None
    measured_seconds: float | None = None
    peak_memory: int | None = None
    """Bytes, for a process that generates only with these settings."""
    picture: Pixels | None = None
    """The first prompt's, (height, width, 3)."""

    @property
    def seconds(self) -> float:
        """Seconds of one image: measured, or else predicted."""
        return self.predicted_seconds if self.measured_seconds is None else self.measured_seconds

    @property
    def quality(self) -> str:
        """The likeness in words."""
        return "quality not measured" if self.psnr is None else f"{self.psnr:.1f} dB"

    @property
    def decibels(self) -> str:
        """The likeness with its standard error, if there is more than one prompt."""
        if self.psnr is None:
            return "–"
        return f"{self.psnr:.1f} dB" if self.psnr_error is None else f"{self.psnr:.1f} ± {self.psnr_error:.1f} dB"


@dataclass
class Dot:
    """A tried candidate; most lie below the front."""

    settings: Settings
    seconds: float
    psnr: float
    is_estimated: bool = False
    """Whether only its latents were compared."""


@dataclass
class Front:
    """Rows, the fastest first: what speed costs in quality, on one machine, with one checkpoint, at one size."""

    rows: list[Row]
    origin: Profile
    """A profile with the baseline's settings; all rows share its checkpoint, size, machine and versions."""
    baseline_seconds: float
    measured_baseline_seconds: float | None = None
    prompts: tuple[str, ...] = ()
    reference: str = ""
    reference_picture: Pixels | None = None
    dots: list[Dot] = field(default_factory=list)
    is_complete: bool = True
    """False if it was interrupted, or the budget ended before all prompts were generated."""
    was_interrupted: bool = False
    seconds: float = 0.0
    """The seconds that the search took."""
    notes: list[str] = field(default_factory=list)

    def at(
        self,
        speed_up: float | None = None,
        seconds: float | None = None,
        min_psnr: float | None = None,
        memory: float | None = None,
    ) -> Profile:
        """The profile that meets all targets and is closest to the reference; with only ``min_psnr``, the fastest.

        Args:
            speed_up: at least this many times faster than 25 DPM++ steps in half precision.
            seconds: at most, for one image.
            min_psnr: at least, in decibels against the reference.
            memory: at most, in bytes at the peak.

        Raises:
            ValueError: no row meets them; the message names the closest.
        """
        return self.profile(self.row_at(speed_up, seconds, min_psnr, memory))

    def row_at(
        self,
        speed_up: float | None = None,
        seconds: float | None = None,
        min_psnr: float | None = None,
        memory: float | None = None,
    ) -> Row:
        """The row of `at`."""
        if not self.rows:
            raise ValueError("the front is empty: the search ended before anything was measured")
        fast = [
            row
            for row in self.rows
            if (speed_up is None or row.speed_up >= speed_up * (1 - SLACK))
            and (seconds is None or row.seconds <= seconds * (1 + SLACK))
        ]
        if not fast:
            fastest = max(self.rows, key=lambda row: row.speed_up)
            wish = f"{speed_up:g}×" if speed_up is not None else f"{seconds:g} s"
            raise ValueError(
                f"{wish} is out of reach here: the fastest is {fastest.speed_up:.1f}× ({_seconds(fastest)}), "
                f"{fastest.quality}: {fastest.settings.words}"
            )
        small = [row for row in fast if memory is None or (row.peak_memory is not None and row.peak_memory <= memory)]
        if not small:
            least = min((row.peak_memory for row in fast if row.peak_memory), default=None)
            need = "was not measured" if least is None else f"is {least / 1e9:.2f} GB at least"
            raise ValueError(f"a peak of {(memory or 0) / 1e9:.2f} GB is out of reach: at this speed it {need}")
        if min_psnr is not None and all(row.psnr is None for row in small):
            raise ValueError("min_psnr cannot be met: no quality was measured")
        good = [row for row in small if min_psnr is None or (row.psnr is not None and row.psnr >= min_psnr)]
        if not good:
            best = max(small, key=_closeness)
            raise ValueError(
                f"{min_psnr:g} dB is out of reach at this speed: the best is {best.quality} at {best.speed_up:.1f}× "
                f"({_seconds(best)}): {best.settings.words}"
            )
        if speed_up is None and seconds is None and min_psnr is not None:
            return max(good, key=lambda row: row.speed_up)
        return max(good, key=_closeness)

    def profile(self, row: Row) -> Profile:
        """A row as a profile, with its evidence."""
        evidence = Evidence(
            predicted_seconds=round(row.predicted_seconds, 4),
            measured_seconds=None if row.measured_seconds is None else round(row.measured_seconds, 4),
            baseline_seconds=round(self.baseline_seconds, 4),
            speed_up=round(row.speed_up, 3),
            psnr=None if row.psnr is None else round(row.psnr, 2),
            psnr_error=None if row.psnr_error is None else round(row.psnr_error, 2),
            ssim=None if row.ssim is None else round(row.ssim, 4),
            peak_memory=row.peak_memory,
            prompts=0 if row.psnr is None else len(self.prompts),
            reference=self.reference,
        )
        return self.origin.model_copy(update={"settings": row.settings, "evidence": evidence})

    def correct(self, factor: float) -> None:
        """Multiply all times that are only predicted by ``factor``."""
        for dot in self.dots:
            dot.seconds *= factor
        for row in self.rows:
            row.predicted_seconds *= factor
        self.baseline_seconds = self.measured_baseline_seconds or self.baseline_seconds * factor
        for row in self.rows:
            row.speed_up = self.baseline_seconds / row.seconds

    def settle(self) -> None:
        """Put the rows in the order of their seconds, without those that a faster one now equals."""
        rows, self.rows = sorted(self.rows, key=lambda row: (row.seconds, -(row.psnr or 0.0))), []
        for row in rows:
            if not self.rows or row.psnr is None or _closeness(row) > _closeness(self.rows[-1]):
                self.rows.append(row)

    def marks(self, factors: Sequence[float] = MARKS) -> dict[float, Row]:
        """The best row for each of these speed-ups that the front reaches."""
        reached = [each for each in factors if any(row.speed_up >= each * (1 - SLACK) for row in self.rows)]
        return {each: self.row_at(speed_up=each) for each in reached}

    def shown(self, chosen: Collection[Settings], factors: Sequence[float] = MARKS) -> list[Row]:
        """The rows of a table, the slowest first: the best for these speed-ups, those that ran, and the chosen ones."""
        best = self.marks(factors).values()
        others = [row for row in self.rows if row.measured_seconds is not None or row.settings in chosen]
        distinct = {id(row): row for row in (*best, *others)}.values()
        return sorted(distinct, key=lambda row: row.speed_up)


def _closeness(row: Row) -> tuple[float, float]:
    """A sort key: better rows come last, or slower ones if quality was not measured."""
    return (row.psnr if row.psnr is not None else 0.0, row.seconds)


def _seconds(row: Row) -> str:
    return f"{row.seconds:.3g} s"
