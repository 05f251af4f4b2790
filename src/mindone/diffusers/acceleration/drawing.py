"""A pipeline as whoever fits or observes something draws with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from .speedup import View

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..engines import Array, Engine


class Drawn(Protocol):
    """What a call returns."""

    @property
    def images(self) -> Array:
        """Latents, where the call asks for them."""


class Drawing(View, Protocol):
    """A pipeline that can be called."""

    engine: Engine

    @property
    def vae_scale_factor(self) -> int:
        """How many pixels one latent stands for, along each side."""

    def set_progress_bar_config(self, **options: object) -> None:
        """Options of the bar that a call draws."""

    def view(self) -> Self:
        """Another pipeline with the same components."""

    def __call__(self, *arguments: object, **options: object) -> Drawn:
        """What it draws."""
