"""What speed-ups that live in the denoising loop see of it: its steps, and the calls that they may stand in for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..engines import Array, Engine, Outputs
    from ..families.components import Denoiser

    Timestep: TypeAlias = NDArray[np.float32]


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


Forward: TypeAlias = Callable[..., "Outputs"]
"""One call of the denoiser: ``forward(step, sample, timestep, **conditions)``; a feature cache stands in for it."""


class Scaling(Protocol):
    """What is needed of a scheduler."""

    def scale_model_input(self, sample: Array, timestep: float) -> Array:
        """The latents as the network gets them."""


class Run(Protocol):
    """What is needed of a run."""

    engine: Engine
    denoiser: Denoiser

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
