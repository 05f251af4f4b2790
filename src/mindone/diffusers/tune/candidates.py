"""What can be combined: a candidate has one value for every knob, and its neighbours differ in one knob."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ..acceleration.guidance_cache import GuidanceCacheConfig
from ..acceleration.speedup import CACHES, Cache, RunFacts
from ..jobs.job import Precision
from ..jobs.profile import Settings

STEPS = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 25, 28, 31, 34, 37, 40)
"""With an interval of n, numbers of steps that leave 1 when divided by n are best: the last step is then whole."""
LAST_TIMESTEPS = (None, 75, 40, 25, 10)
"""The timestep of the last step; None for the scheduler's own spacing."""
GUIDED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Where guidance stops being computed."""
MOST_CALIBRATED = 15
"""Numbers of steps; more of them gain nothing visible."""

Decoder: TypeAlias = Literal["", "int8", "tiny"]
"""The checkpoint's own autoencoder, the same in int8, or a tiny one."""


class Candidate(NamedTuple):
    """One value for every knob. Only the decoder leaves the latents unchanged."""

    steps: int = 25
    scheduler: str = "dpm++"
    last_timestep: int | None = None
    calibrated: bool = False
    caches: tuple[Cache, ...] = ()
    """Caches of features and of steps: at most one of a kind, sorted by kind."""
    guided: float = 1.0
    guidance_forecast: bool = False
    """Whether guidance then continues unchanged."""
    dtype: Precision = "float16"
    int8: bool = False
    downsampling: int = 1
    distilled: bool = False
    decoder: Decoder = ""

    def is_lossier(self, other: Candidate) -> bool:
        """Whether every knob is set at least as much for speed as the other's, so that no better image is expected.

        Knobs without such an order (schedulers, timesteps, most caches) must be equal.
        """
        kinds = {cache.kind for cache in (*self.caches, *other.caches)}
        pairs = [(self.cache(kind), other.cache(kind)) for kind in kinds]
        return (
            self.steps <= other.steps
            and all(own is not None and own.is_lossier(others) for own, others in pairs)
            and self.guided <= other.guided
            and (self.guidance_forecast == other.guidance_forecast or other.guided == 1)
            and self.int8 >= other.int8
            and self.downsampling >= other.downsampling
            and (self.dtype != "float32" or other.dtype == "float32")
            and (self.scheduler, self.last_timestep, self.calibrated)
            == (other.scheduler, other.last_timestep, other.calibrated)
            and self.distilled == other.distilled
        )

    def cache(self, kind: str) -> Cache | None:
        """The cache of a kind."""
        return next((cache for cache in self.caches if cache.kind == kind), None)

    def with_cache(self, kind: str, cache: Cache | None) -> Candidate:
        """The candidate with another cache of this kind, or without one."""
        kept = [each for each in self.caches if each.kind != kind]
        caches = sorted([*kept, *([] if cache is None else [cache])], key=lambda each: each.kind)
        return self._replace(caches=tuple(caches))

    @property
    def is_sound(self) -> bool:
        """Whether it is worth trying: a few plain steps can be calibrated, and their last timestep must be given."""
        is_plain = not self.caches and self.scheduler == "dpm++"
        return not self.calibrated or (is_plain and self.last_timestep is not None and self.steps <= MOST_CALIBRATED)

    @property
    def settled(self) -> Candidate:
        """The equivalent candidate under its usual name: guidance until 0.95 of 10 steps is guidance in all of them."""
        alike = max(part for part in GUIDED if math.ceil(part * self.steps) == self.guided_steps)
        return self._replace(guided=alike, guidance_forecast=self.guidance_forecast and alike < 1)

    @property
    def guided_steps(self) -> int:
        """How many steps compute their guidance."""
        return math.ceil(self.guided * self.steps)


@dataclass(frozen=True)
class Space:
    """The values of the knobs for a pipeline on this machine."""

    branches: int
    """The places where a feature cache cuts the denoiser."""
    is_guided: bool = True
    schedulers: tuple[str, ...] = ("dpm++", "unipc")
    calibrated: tuple[bool, ...] = (False,)
    dtypes: tuple[Precision, ...] = ("float16",)
    int8: tuple[bool, ...] = (False,)
    downsampling: tuple[int, ...] = (1,)
    distilled: str | None = None
    tiny_vae: str | None = None
    decoders: tuple[Decoder, ...] = ("",)

    def settings(self, candidate: Candidate) -> Settings:
        """The candidate as a profile's settings, without the weights of calibrated steps, which images decide."""
        c = candidate
        guidance = [GuidanceCacheConfig(c.steps, 0, c.guided_steps)] if c.guidance_forecast else []
        return Settings(
            steps=c.steps,
            scheduler=c.scheduler,
            last_timestep=c.last_timestep,
            dtype=c.dtype,
            cache=tuple(cache.text for cache in (*c.caches, *guidance)),
            guidance_interval=(0.0, c.guided) if c.guided < 1 and not c.guidance_forecast else None,
            token_downsampling=c.downsampling if c.downsampling > 1 else None,
            int8=c.int8,
            distilled=self.distilled if c.distilled else None,
            tiny_vae=self.tiny_vae if c.decoder == "tiny" else None,
            int8_vae=c.decoder == "int8",
        )

    def knobs(self) -> dict[str, tuple[object, ...]]:
        """The values of each knob that changes latents, except caches, in order, so that neighbours are adjacent."""
        return {
            "steps": STEPS,
            "scheduler": self.schedulers,
            "last_timestep": LAST_TIMESTEPS,
            "calibrated": self.calibrated,
            "guided": GUIDED if self.is_guided else (1.0,),
            "guidance_forecast": (False, True) if self.is_guided else (False,),
            "dtype": self.dtypes,
            "int8": self.int8,
            "downsampling": self.downsampling,
            "distilled": (False, True) if self.distilled else (False,),
        }

    @property
    def caches(self) -> dict[str, list[Cache]]:
        """The choices for each kind of cache."""
        kinds: dict[str, list[Cache]] = {}
        for cache in CACHES.values():
            fitting = [each for each in cache.candidates() if self._fits(each)]
            if fitting:
                kinds.setdefault(cache.kind, []).extend(fitting)
        return kinds

    def _fits(self, cache: Cache, steps: int = STEPS[-1]) -> bool:
        try:
            cache.check(RunFacts(steps, self.branches))
        except ValueError:
            return False
        return True

    def _caches_near(self, kind: str, own: Cache | None) -> Iterator[Cache | None]:
        """None, the variants of ``own`` with one number changed, and the usual setting of its other caches."""
        for cache in CACHES.values():
            if cache.kind == kind and cache.usual is not None and type(own) is not cache and cache.candidates():
                yield cache.of_numbers(cache.usual)
        if own is not None:
            yield None
            yield from (each for each in own.near() if self._fits(each))

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """The sound candidates that differ in one knob: the next value either way, or any where values have no order.

        If such a change saves or costs time, it also comes with more or fewer steps.
        """
        return (each.settled for each in self._changed(candidate.settled) if each.is_sound)

    def _changed(self, candidate: Candidate) -> Iterator[Candidate]:
        for name, values in self.knobs().items():
            own = getattr(candidate, name)
            if name == "guided":  # each of them guides a different number of steps
                alike = (candidate._replace(guided=part).settled.guided for part in GUIDED)
                values = tuple(part for part in dict.fromkeys(alike) if part in values)
            at = values.index(own)
            if name == "guidance_forecast" and candidate.guided == 1:
                continue  # there is nothing to forecast
            near: list[object] = [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]
            if name in ("scheduler", "distilled", "dtype"):
                near = [value for value in values if value != own]
            for value in near:
                changed = candidate._replace(**{name: value})  # type: ignore[arg-type]
                yield from [changed] if name == "steps" else _with_steps_near(changed)
        for kind in self.caches:
            for cache in self._caches_near(kind, candidate.cache(kind)):
                yield from _with_steps_near(candidate.with_cache(kind, cache))

    def decoded_otherwise(self, candidate: Candidate) -> list[Candidate]:
        """The candidate with each of the other decoders, which keep its latents."""
        return [candidate._replace(decoder=each) for each in self.decoders if each != candidate.decoder]

    def random(self, generator: np.random.Generator) -> Candidate:
        """Any candidate, with one value for each knob."""
        chosen = {name: values[generator.integers(len(values))] for name, values in self.knobs().items()}
        chosen["calibrated"] = False
        decoder = self.decoders[generator.integers(len(self.decoders))]
        found = Candidate(**chosen, decoder=decoder)  # type: ignore[arg-type]
        for kind, caches in self.caches.items():
            found = found.with_cache(kind, [None, *caches][generator.integers(len(caches) + 1)])
        return found.settled


def _with_steps_near(candidate: Candidate) -> Iterator[Candidate]:
    """The candidate itself, and with somewhat fewer or more steps."""
    at = STEPS.index(candidate.steps)
    yield candidate
    yield from (candidate._replace(steps=STEPS[i]) for i in (at - 1, at + 1, at + 3) if 0 <= i < len(STEPS))
