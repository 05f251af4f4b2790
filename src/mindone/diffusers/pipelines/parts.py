"""The pipeline as its runs, checks and callbacks see it, as a type: they lie below `pipeline`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..acceleration.speedup import Cache
from ..adapters.image_prompts import IPAdapters
from ..engines import Engine
from ..families.components import Autoencoder, Denoiser
from ..families.family import Family
from ..loading.config import Config
from ..schedulers.base import Scheduler


class Parts(Protocol):
    """A pipeline: components, an engine, and the family of the model."""

    vae: Autoencoder
    scheduler: Scheduler
    own_settings: Config
    caches: Sequence[Cache] | None
    offloads: bool

    @property
    def family(self) -> Family:
        """The family of the model."""

    @property
    def callback_tensors(self) -> tuple[str, ...]:
        """The tensors that a step callback may get and replace."""

    @property
    def components(self) -> Mapping[str, Any]:
        """The components by name; a user may set anything that behaves like one."""

    @property
    def denoiser(self) -> Denoiser:
        """The denoising network."""

    @property
    def engine(self) -> Engine:
        """The engine that runs the networks."""

    @property
    def dtype(self) -> str:
        """The denoiser's compute dtype."""

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
