"""Caches as short texts, for command lines and jobs: ``deepcache:3``, ``taylorseer:2:2``, ``spectrum``."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from .deep_cache import DeepCacheConfig
from .easycache import EasyCacheConfig
from .guidance_cache import GuidanceCacheConfig
from .spectrum import SpectrumConfig
from .taylorseer import TaylorSeerCacheConfig

StepCacheConfig: TypeAlias = TaylorSeerCacheConfig | SpectrumConfig | EasyCacheConfig
CacheConfig: TypeAlias = DeepCacheConfig | StepCacheConfig | GuidanceCacheConfig

_FORMS: dict[str, tuple[type[CacheConfig], tuple[str, ...]]] = {
    "deepcache": (DeepCacheConfig, ("cache_interval", "cache_branch_id", "max_order")),
    "taylorseer": (TaylorSeerCacheConfig, ("cache_interval", "max_order", "disable_cache_before_step")),
    "spectrum": (SpectrumConfig, ("window", "window_growth")),
    "easycache": (EasyCacheConfig, ("threshold",)),
    "guidance": (GuidanceCacheConfig, ("cache_interval", "max_order", "disable_cache_before_step")),
}
"""The config that a name stands for, and its fields that the numbers behind the name fill, in this order."""

FORMS = ", ".join(":".join([name, *(f"[{field}]" for field in fields)]) for name, (_, fields) in _FORMS.items())


def parse_cache(text: str) -> CacheConfig:
    """The cache that a text asks for; numbers that are left out keep their defaults.

    Raises:
        ValueError: an unknown name, too many numbers, or one that the cache refuses.
    """
    name, *numbers = text.split(":")
    fields = _FORMS[name][1] if name in _FORMS else ()
    if name not in _FORMS or len(numbers) > len(fields):
        raise ValueError(f"unknown cache {text!r}; known are {FORMS}")
    make: Callable[..., CacheConfig] = _FORMS[name][0]
    try:
        return make(**{field: _number(number) for field, number in zip(fields, numbers)})
    except ValueError as error:
        raise ValueError(f"cache {text!r}: {error}") from None


def parse_caches(texts: Sequence[str]) -> tuple[CacheConfig, ...]:
    """All of them: at most one of features, one of steps and one of guidance.

    Raises:
        ValueError: as `parse_cache`, or two of a kind.
    """
    caches = tuple(parse_cache(text) for text in texts)
    for i, cache in enumerate(caches):
        for text, other in zip(texts[:i], caches[:i]):
            if other.kind == cache.kind:
                raise ValueError(f"{texts[i]!r} and {text!r} both cache {cache.kind}; choose one of them")
    return caches


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
