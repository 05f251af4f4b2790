"""The caches that a network asks its pipelines to use. Only which; what they keep belongs to each run."""

from ..models.base import Model
from .speedup import Cache


class EnabledCaches:
    """Those of one network: ``network.put_on.of(EnabledCaches)``."""

    def __init__(self, network: Model):
        self.caches: tuple[Cache, ...] = ()
        """At most one of each kind."""

    def enable(self, config: Cache) -> None:
        """Use a cache in every run that begins from now on.

        One that keeps features (``DeepCacheConfig``, ``FirstBlockCacheConfig``), one that keeps steps
        (``TaylorSeerCacheConfig``, ``SpectrumConfig``, ``EasyCacheConfig``) and one of guidance
        (``GuidanceCacheConfig``) go together.

        Raises:
            ValueError: no cache, or there is one of its kind already.
        """
        if isinstance(config, type) or not isinstance(config, Cache):
            raise ValueError(f"enable_cache takes a configuration such as DeepCacheConfig(), got {config!r}")
        if other := next((cache for cache in self.caches if cache.kind == config.kind), None):
            raise ValueError(
                f"{type(other).__name__} is enabled and caches {config.kind} too; call disable_cache() before "
                f"enable_cache({type(config).__name__}(…))"
            )
        self.caches = (*self.caches, config)

    def disable(self) -> None:
        """Use no cache in runs that begin from now on."""
        self.caches = ()


def enabled_on(network: object) -> tuple[Cache, ...]:
    """The caches that are enabled on a network; none on one of a user's own."""
    return network.put_on.of(EnabledCaches).caches if isinstance(network, Model) else ()
