"""Guidance in only a part of the steps (Kynkäänniemi et al. 2024): the others run one row per image instead of two."""

from __future__ import annotations

from dataclasses import dataclass

from .speedup import Networks, Stage, View


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
