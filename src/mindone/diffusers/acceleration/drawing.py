"""A pipeline as seen by code that fits or observes something while generating."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .speedup import View

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..engines import Array


class Drawn(Protocol):
    """The result of a call."""

    @property
    def images(self) -> Array:
        """Latents, if the call requests them."""


class Drawing(View, Protocol):
    """A callable pipeline."""

    def set_progress_bar_config(self, **options: object) -> None:
        """Options of a call's progress bar."""

    def view(self) -> Self:
        """Another pipeline with the same components."""

    def __call__(self, *arguments: object, **options: object) -> Drawn:
        """Generate images."""
