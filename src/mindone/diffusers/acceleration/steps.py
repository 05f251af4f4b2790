"""What speed-ups that live in the denoising loop see of it: its steps, and the calls that they may stand in for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ..engines import Array, Engine


@dataclass(frozen=True)
class Step:
    """Where in a run a prediction is asked for: number ``index`` of ``count``, at ``timestep``."""

    index: int
    count: int
    timestep: float


class Predictor(Protocol):
    """Predicts the noise (or what the scheduler's ``prediction_type`` says) in the latents of a run."""

    def predict(self, latents: Array, step: Step) -> Array:
        """``latents`` (images, channels, height, width) as the scheduler has them; the result has one or two rows per
        image: two, first those without the prompt, where guidance is still to be applied."""


Forward: TypeAlias = Callable[..., "Array"]
"""One call of the denoiser: ``forward(step, sample, timestep, **conditions)``; a feature cache stands in for it."""


class Scaling(Protocol):
    """What is needed of a scheduler."""

    def scale_model_input(self, sample: Array, timestep: float) -> Array:
        """The latents as the network gets them."""


class Run(Protocol):
    """What is needed of a run."""

    engine: Engine

    @property
    def scheduler(self) -> Scaling:
        """The run's own."""

    def guides(self, step: Step) -> bool:
        """Whether this step is guided, and a prediction so has two rows per image."""


def last_rows(x: Array, rows: int) -> Array | None:
    """The last ``rows`` rows: all, or the prompt's half of what was made under guidance; None where there are fewer."""
    have = x.shape[0]
    return x if have == rows else x[have - rows :] if have > rows else None


def with_latest(known: list[tuple[Step, Array]], step: Step, made: Array, most: int) -> list[tuple[Step, Array]]:
    """What is ``known`` of earlier steps and what was ``made`` at this one, the last ``most`` of it.

    Second-order schedulers ask twice at one timestep, and the later answer is the better one.
    """
    return [*((at, earlier) for at, earlier in known if at.timestep != step.timestep), (step, made)][-most:]


def whole(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number from ``least`` on.

    Raises:
        ValueError: as said.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")


def between(name: str, value: float, least: float, most: float) -> None:
    """Refuse a number outside [least, most].

    Raises:
        ValueError: as said.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        upper = f" and at most {most:g}" if most != float("inf") else ""
        raise ValueError(f"{name} must be at least {least:g}{upper}, got {value!r}")


Timestep = NDArray[np.float32]
