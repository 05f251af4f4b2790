"""What a pipeline's runs, checks and callbacks see of it, as a type: they lie below `pipeline`."""

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
    """A pipeline: components, an engine, and what kind of model they make."""

    vae: Autoencoder
    scheduler: Scheduler
    own_settings: Config
    caches: Sequence[Cache] | None
    offloads: bool

    @property
    def family(self) -> Family:
        """What kind of model it is."""

    @property
    def callback_tensors(self) -> tuple[str, ...]:
        """What a step callback may ask for and replace."""

    @property
    def components(self) -> Mapping[str, Any]:
        """The components by name: users may put anything in their places that behaves like one."""

    @property
    def denoiser(self) -> Denoiser:
        """The network that predicts."""

    @property
    def engine(self) -> Engine:
        """Who runs the networks."""

    @property
    def dtype(self) -> str:
        """What the denoiser computes in."""

    @property
    def vae_scale_factor(self) -> int:
        """How many pixels one latent stands for, along each side."""

    @property
    def pixels_per_token(self) -> int:
        """How many pixels one token of the denoiser stands for, along each side."""

    @property
    def image_prompts(self) -> IPAdapters:
        """The pictures that the denoiser attends to beside the text."""

    @property
    def runs(self) -> object:
        """The runs that are in progress."""
