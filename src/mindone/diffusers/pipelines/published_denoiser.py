"""The published methods for a denoiser's speed-ups and adapters, added to its class from outside.

``from .published_denoiser import FluxTransformer2DModel`` imports a denoiser's class with them.
"""

from collections.abc import Iterable
from typing import Any

from ..acceleration.enabled_caches import EnabledCaches
from ..acceleration.speedup import Cache
from ..acceleration.token_downsampling import TokenDownsampling
from ..adapters import network_loras
from ..families.family import Family
from ..families.registry import families, load
from ..models.base import Model


class _Methods(Model):
    """A collection of methods for a denoiser's class; it is never instantiated."""

    @property
    def caches(self) -> tuple[Cache, ...]:
        """The enabled caches: at most one of each kind."""
        return self.put_on.of(EnabledCaches).caches

    @property
    def is_cache_enabled(self) -> bool:
        """Whether a cache is enabled."""
        return bool(self.caches)

    def enable_cache(self, config: Cache) -> None:
        """See `EnabledCaches.enable`."""
        self.put_on.of(EnabledCaches).enable(config)

    def disable_cache(self) -> None:
        """Use no caches in later runs."""
        self.put_on.of(EnabledCaches).disable()

    def enable_token_downsampling(self, factor: int = 2, levels: Iterable[int] | None = None) -> None:
        """See `TokenDownsampling.enable`."""
        self.put_on.of(TokenDownsampling).enable(factor, levels)

    def disable_token_downsampling(self) -> None:
        """Let pixels attend to all other pixels again."""
        self.put_on.of(TokenDownsampling).disable()


def publish(network: type[Model], family: Family) -> None:
    """Give a denoiser's class these methods and, if its family takes LoRAs, those of `adapters.network_loras`.

    A class keeps methods that it already has under these names.
    """
    methods = {name: method for name, method in vars(_Methods).items() if not name.startswith("_")}
    if family.lora is not None:
        methods |= network_loras.methods(load(family.lora))
    for name, method in methods.items():
        if not hasattr(network, name):
            setattr(network, name, method)


def __getattr__(name: str) -> Any:
    """A denoiser's class, by its name in the families, with these methods from its first import on."""
    family = next((each for each in families() if name in each.classes), None)
    if family is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    network = load(f"{family.classes[name][0]}:{name}")
    publish(network, family)
    return network
