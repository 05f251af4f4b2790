"""The denoising loop as its speed-ups see it: the steps, and the calls that they may replace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..engines import Array, Engine, Outputs
    from ..families.components import Denoiser
    from ..schedulers.base import Scheduler

    Timestep: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Step:
    """The place of a prediction in a run: number ``index`` of ``count``, at ``timestep``."""

    index: int
    count: int
    timestep: float


class Predictor(Protocol):
    """Predicts the noise (or as the scheduler's ``prediction_type`` says) in the latents of a run."""

    def predict(self, latents: Array, step: Step) -> Array:
        """``latents`` (images, channels, height, width) as in the scheduler; the result has one row per image, or two
        before guidance is applied, those without the prompt first."""


Forward: TypeAlias = Callable[..., "Outputs"]
"""One call of the denoiser: ``forward(step, sample, timestep, **conditions)``; a feature cache replaces it."""


class Run(Protocol):
    """The attributes needed from a run."""

    engine: Engine
    denoiser: Denoiser

    @property
    def scheduler(self) -> Scheduler:
        """The run's own scheduler."""

    def guides(self, step: Step) -> bool:
        """Whether this step is guided, so that a prediction has two rows per image."""


def last_rows(x: Array, rows: int) -> Array | None:
    """The last ``rows`` rows: all, or the prompt's half of a guided prediction; None if there are fewer."""
    have = x.shape[0]
    return x if have == rows else x[have - rows :] if have > rows else None


def repeated(engine: Engine, x: Array, rows: int) -> Array:
    """``x`` repeated to this many rows: guidance's two halves see the same latents."""
    return x if x.shape[0] == rows else engine.concat([x] * (rows // x.shape[0]), axis=0)


def magnitude(engine: Engine, x: Array) -> float:
    """The mean absolute value."""
    return float(abs(engine.numpy(x)).mean())


def with_latest(known: list[tuple[Step, Array]], step: Step, made: Array, most: int) -> list[tuple[Step, Array]]:
    """The predictions ``known`` from earlier steps plus the one ``made`` at this step, the last ``most`` of them.

    Second-order schedulers predict twice at one timestep, and the later prediction is better.
    """
    return [*((at, earlier) for at, earlier in known if at.timestep != step.timestep), (step, made)][-most:]
