"""Combines speed-ups: puts them on a pipeline, parses their texts, and describes them for help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..utils.printable import shown

# Their files declare them: this is the list of the package's own.
from . import deep_cache, easycache, first_block_cache, guidance_cache, spectrum, taylorseer  # noqa: F401
from .speedup import CACHES, Cache, Networks, SpeedUp, Stage, V, View


class Stack(tuple[SpeedUp, ...]):
    """Speed-ups, in any order: `Stage` determines when each is put on."""

    def on(self, pipe: V, networks: Networks | None = None) -> V:
        """A view of a pipeline with these speed-ups on it; the pipeline stays unchanged.

        Args:
            pipe: the pipeline; the view shares its networks unless a speed-up replaces them.
            networks: networks of other stacks on this pipeline, to share them, too.

        Raises:
            ValueError, OSError: something a speed-up needs is missing, or it needs a second copy of a network with an
                adapter.
        """
        view, networks = pipe.view(), networks or Networks()
        for each in sorted(self, key=lambda each: each.stage):
            each.put_on(view, networks)
        return view

    @property
    def words(self) -> str:
        """The speed-ups in a few words."""
        return ", ".join(each.words for each in self if each.words)


@dataclass(frozen=True)
class Caches:
    """Exactly these caches, whatever caches the network has enabled."""

    caches: tuple[Cache, ...]

    stage = Stage.LOOP

    @property
    def words(self) -> str:
        """See `SpeedUp`."""
        return ", ".join(cache.text for cache in self.caches)

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`."""
        view.caches = self.caches


def parse_cache(text: str) -> Cache:
    """The cache described by a text; omitted numbers keep their defaults.

    Raises:
        ValueError: the name is unknown, there are too many numbers, or the cache refuses one.
    """
    name, _, numbers = text.partition(":")
    if name not in CACHES:
        raise ValueError(
            f"unknown cache {shown(text)}; choose from {', '.join(cache.words() for cache in CACHES.values())}"
        )
    try:
        return CACHES[name].of_numbers(numbers)
    except ValueError as error:
        raise ValueError(f"cache {shown(text)}: {error}") from None


def parse_caches(texts: Sequence[str]) -> tuple[Cache, ...]:
    """The caches of several texts: at most one of features, one of steps and one of guidance.

    Raises:
        ValueError: as `parse_cache`, or two of a kind.
    """
    return _parsed(tuple(texts), frozenset(CACHES.items()))


@lru_cache
def _parsed(texts: tuple[str, ...], known: Iterable[tuple[str, type[Cache]]]) -> tuple[Cache, ...]:
    """Parse a job's texts once, however often the job is validated."""
    caches = tuple(parse_cache(text) for text in texts)
    for i, cache in enumerate(caches):
        for text, other in zip(texts[:i], caches[:i]):
            if other.kind == cache.kind:
                raise ValueError(f"{shown(texts[i])} and {shown(text)} both cache {cache.kind}; choose one of them")
    return caches


def caches_in_words() -> str:
    """The choices for ``--cache``, for help: the recommended ones of each kind."""
    kinds: dict[str, list[str]] = {}
    for cache in CACHES.values():
        if cache.usual is not None:
            kinds.setdefault(cache.kind, []).append(cache.words())
    return "; ".join(f"{kind}, {' or '.join(words)}" for kind, words in kinds.items())
