"""Guidance in only a part of the steps (Kynkäänniemi et al. 2024): the others run one row per image instead of two."""

from __future__ import annotations

from dataclasses import dataclass

from .speedup import GUIDANCE, Networks, Stage, View


@dataclass(frozen=True)
class GuidanceInterval:
    """Guidance from the fraction ``start`` of the steps to ``stop``, both from 0 to 1."""

    start: float = 0.0
    stop: float = 1.0

    stage = Stage.LOOP

    @property
    def words(self) -> str:
        """See `SpeedUp`."""
        return f"guided {self.start:g}–{self.stop:g}" if (self.start, self.stop) != (0.0, 1.0) else ""

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        view.call_defaults = {**view.call_defaults, "guidance_interval": (self.start, self.stop)}


def check_interval(interval: tuple[float, float], is_guided: bool) -> None:
    """Raise ``ValueError`` for guidance in only a part of the steps of a run without guidance."""
    if tuple(interval) != (0.0, 1.0) and not is_guided:
        raise ValueError(
            f"guidance_interval says which steps have guidance, and this run has none; give {GUIDANCE}, or leave "
            "guidance_interval out"
        )
