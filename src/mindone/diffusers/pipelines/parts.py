"""The pipeline as its runs, checks and callbacks see it, as a type: they lie below `pipeline`."""

from typing import Protocol

from ..acceleration.speedup import View
from ..adapters.image_prompts import IPAdapters
from ..loading.config import Config


class Parts(View, Protocol):
    """What speed-ups see of it as well, and more."""

    own_settings: Config
    offloads: bool

    @property
    def callback_tensors(self) -> tuple[str, ...]:
        """The tensors that a step callback may get and replace."""

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along each side."""

    @property
    def pixels_per_token(self) -> int:
        """Pixels per token of the denoiser, along each side."""

    @property
    def image_prompts(self) -> IPAdapters:
        """The pictures that the denoiser attends to (IP-Adapters)."""

    @property
    def runs(self) -> object:
        """The runs in progress."""
