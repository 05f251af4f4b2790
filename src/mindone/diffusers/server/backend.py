"""Where tickets are drawn: what the service asks of this process's engine and of replicas on a cluster alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ..jobs import Job
from .ticket import Ticket

if TYPE_CHECKING:
    from PIL.Image import Image


class Lost(Exception):
    """The place has gone with the ticket in its hands; another place, or this one once it is back, can draw it."""


@dataclass(frozen=True)
class Drawn:
    """What became of a ticket."""

    job: Job
    """The ticket's, with what it left open."""
    images: list[Image]
    load_seconds: float
    draw_seconds: float
    models: int
    """How many are now in the place's memory."""
    warnings: tuple[str, ...] = ()
    """What the client should know: see `jobs.warnings_of`."""


class Backend(Protocol):
    """Draws as many tickets at a time as it has places; for each the service has a thread, which names its place."""

    places: int

    def warm_up(self) -> None:
        """Load the first model at every place, and draw a step with it so that its graphs are compiled.

        Raises:
            ValueError, OSError: it cannot be loaded.
        """

    def prepare(self, place: int, is_over: Callable[[], bool]) -> bool:
        """Wait until the place can draw, at once where it has not gone since the last ticket; False when ``is_over``
        turned true first."""

    def draw(self, place: int, ticket: Ticket) -> Drawn:
        """Draw, and tell the ticket of every step.

        Raises:
            Refusal: it cannot be drawn.
            Cancelled: nobody waits for it any more.
            Lost: see there.
        """

    def stop_early(self, ticket: Ticket) -> None:
        """The ticket was cancelled or interrupted while it is drawn, so drawing it ends within a step."""

    def close(self) -> None:
        """Give back what it holds."""
