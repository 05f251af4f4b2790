"""The caches that a network's pipelines use. This holds only their settings; cached data belongs to each run."""

from ..models.base import Model
from .speedup import Cache


class EnabledCaches:
    """The caches of one network: ``network.put_on.of(EnabledCaches)``."""

    def __init__(self, network: Model):
        self.caches: tuple[Cache, ...] = ()
        """At most one of each kind."""

    def enable(self, config: Cache) -> None:
        """Use a cache in every later run.

        You can combine one cache of features (``DeepCacheConfig``, ``FirstBlockCacheConfig``), one of steps
        (``TaylorSeerCacheConfig``, ``SpectrumConfig``, ``EasyCacheConfig``) and one of guidance
        (``GuidanceCacheConfig``).

        Raises:
            ValueError: it is no cache, or one of its kind is enabled already.
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
        """Use no caches in later runs."""
        self.caches = ()


def enabled_on(network: object) -> tuple[Cache, ...]:
    """The caches enabled on a network; none for a user's own network."""
    return network.put_on.of(EnabledCaches).caches if isinstance(network, Model) else ()
