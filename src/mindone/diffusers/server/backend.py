"""The interface between the service and whatever generates: this process's engine, or replicas on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..jobs import Job
from .ticket import Ticket

if TYPE_CHECKING:
    from PIL.Image import Image


class Lost(Exception):
    """A place died while it was generating a ticket; another place, or this one once it is back, can retry."""


@dataclass(frozen=True)
class Drawn:
    """The result of a ticket."""

    job: Job
    """The ticket's job with its open fields filled in."""
    images: list[Image]
    load_seconds: float
    draw_seconds: float
    models: int
    """The number of models now in the place's memory."""
    warnings: tuple[str, ...] = ()
    """Warnings for the client, see `jobs.warnings_of`."""


class Backend(Protocol):
    """Generates one ticket per place at a time; the service has a thread per place, which passes its number."""

    places: int

    def warm_up(self) -> None:
        """Load the first model at every place and run one step to compile its graphs.

        Raises:
            ValueError, OSError: the model cannot be loaded.
        """

    def prepare(self, place: int, is_over: Callable[[], bool]) -> bool:
        """Wait until the place is ready: at once if it has not died since its last ticket. False if ``is_over`` turned
        true first."""

    def draw(self, place: int, ticket: Ticket) -> Drawn:
        """Generate the ticket's images and report every step to it.

        Raises:
            Refusal: the images cannot be generated.
            Cancelled: nobody waits for the ticket any more.
            Lost: the place died.
        """

    def stop_early(self, ticket: Ticket) -> None:
        """End a running ticket within a step, after a cancel or an interrupt."""

    def close(self) -> None:
        """Release all resources."""
