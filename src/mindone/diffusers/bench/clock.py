"""One run, split into stages."""

import time
from collections.abc import Callable
from dataclasses import dataclass

STAGES = ("text_encoder", "denoising", "decode")


@dataclass
class Calls:
    """How often a run calls its denoising network."""

    full: int = 0
    shallow: int = 0
    """Calls in which a feature cache skips the deep part."""
    single: int = 0
    """Of all calls, those with one row per image, that is without guidance."""

    def add(self, *, shallow: bool = False, single: bool) -> None:
        """Count a call."""
        self.full += not shallow
        self.shallow += shallow
        self.single += single


class StageClock:
    """Seconds of a run and of its stages, and the calls of its denoising network.

    A stage lasts from the first call of its network to the next stage's first. Work before the first network (tokens)
    counts as the first stage, work after the last one (conversion to images) as the last, so that the stages add up to
    the run.
    """

    def __init__(self, on_step: Callable[[], None]):
        self.on_step, self.stage, self.stages = on_step, STAGES[0], dict.fromkeys(STAGES, 0.0)
        self.began = self.entered = 0.0
        self.calls = Calls()

    def start(self) -> None:
        """Begin a run."""
        self.stage, self.stages = STAGES[0], dict.fromkeys(STAGES, 0.0)
        self.calls = Calls()
        self.began = self.entered = time.perf_counter()

    def enter(self, stage: str) -> None:
        """Note that a stage's network is about to be called."""
        if stage != self.stage:
            self._leave()
            self.stage = stage
        if stage == "denoising":
            self.on_step()

    def stop(self) -> tuple[float, dict[str, float]]:
        """End the run: its seconds, and those of each stage."""
        self._leave()
        return self.entered - self.began, dict(self.stages)

    def _leave(self) -> None:
        now = time.perf_counter()
        self.stages[self.stage] += now - self.entered
        self.entered = now
