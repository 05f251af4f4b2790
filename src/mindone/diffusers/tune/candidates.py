"""What can be combined: a candidate is one value of every knob, and has neighbours that differ in one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from ..jobs.profile import Precision, Settings

STEPS = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 25, 28, 31, 34, 37, 40)
"""With an interval of n those are best that leave 1 when divided by n: then the last step is a whole one."""
LAST_TIMESTEPS = (None, 75, 40, 25, 10)
"""Where the last step is taken; None: where the scheduler's own spacing has it."""
INTERVALS = (1, 2, 3, 4, 5, 6, 8)
"""Of whole steps; 1 is no feature cache."""
ORDERS = (0, 1)
"""Of the forecast of the feature."""
GUIDED = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Where guidance is no longer computed."""
MOST_CALIBRATED = 15
"""Steps; with more of them nothing that shows is left to gain."""
FIXED_FORECASTS = (
    "",
    *(f"taylorseer:{interval}:{order}:{first}" for interval in (2, 3, 4) for order in (1, 2, 3) for first in (2, 3, 4)),
    "spectrum",
    "spectrum:2:0.75",
)
"""Those that compute the same steps for every image. Only images show what the others cost."""
FORECASTS = (
    *FIXED_FORECASTS,
    "easycache:0.02",
    "easycache:0.05",
    "easycache:0.1",
    "easycache:0.2",
)


Decoder: TypeAlias = Literal["", "int8", "tiny"]
"""The checkpoint's own autoencoder, the same in int8, or a tiny one."""


class Candidate(NamedTuple):
    """One value of every knob. Only the decoder does not change the latents."""

    steps: int = 25
    scheduler: str = "dpm++"
    last_timestep: int | None = None
    calibrated: bool = False
    interval: int = 1
    branch: int = 0
    order: int = 0
    forecast: str = ""
    guided: float = 1.0
    foretold: bool = False
    """Whether guidance then goes on, as it was last."""
    dtype: Precision = "float16"
    int8: bool = False
    downsampling: int = 1
    distilled: bool = False
    decoder: Decoder = ""

    def is_lossier(self, other: Candidate) -> bool:
        """Whether every knob is at least as far towards speed as the other's, so that no better image is expected.

        The knobs that have no such order (schedulers, timesteps, forecasts of features and of steps) must be the same.
        """
        return (
            self.steps <= other.steps
            and self.interval >= other.interval
            and (self.branch <= other.branch or other.interval == 1)
            and self.guided <= other.guided
            and (self.foretold == other.foretold or other.guided == 1)
            and self.int8 >= other.int8
            and self.downsampling >= other.downsampling
            and (self.dtype != "float32" or other.dtype == "float32")
            and (self.order == other.order or other.interval == 1)
            and (self.scheduler, self.last_timestep, self.calibrated)
            == (other.scheduler, other.last_timestep, other.calibrated)
            and self.forecast == other.forecast
            and self.distilled == other.distilled
        )

    @property
    def is_sound(self) -> bool:
        """Whether it is worth a try: few plain steps can be calibrated, which are to say where the last one is."""
        is_plain = self.interval == 1 and not self.forecast and self.scheduler == "dpm++"
        return not self.calibrated or (is_plain and self.last_timestep is not None and self.steps <= MOST_CALIBRATED)

    @property
    def settled(self) -> Candidate:
        """The candidate by whose name this one goes: guidance until 0.95 of 10 steps is guidance in all of them."""
        alike = max(part for part in GUIDED if math.ceil(part * self.steps) == self.guided_steps)
        return self._replace(guided=alike, foretold=self.foretold and alike < 1)

    @property
    def guided_steps(self) -> int:
        """How many steps compute their guidance."""
        return math.ceil(self.guided * self.steps)

    @property
    def is_adaptive(self) -> bool:
        """Whether which steps are computed depends on the image."""
        return self.forecast.startswith("easycache")


@dataclass(frozen=True)
class Space:
    """Which values the knobs have for a pipeline on this machine."""

    branches: int
    """Of the denoiser; where it is cut for a feature cache."""
    forecasts: tuple[str, ...] = FORECASTS
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
        """The candidate as a profile has it, but for the weights of calibrated steps, which images decide."""
        c = candidate
        order = f":{c.order}" if c.order else ""
        caches = [
            f"deepcache:{c.interval}:{c.branch}{order}" if c.interval > 1 else "",
            c.forecast,
            f"guidance:{c.steps}:0:{c.guided_steps}" if c.foretold else "",
        ]
        return Settings(
            steps=c.steps,
            scheduler=c.scheduler,
            last_timestep=c.last_timestep,
            dtype=c.dtype,
            cache=tuple(cache for cache in caches if cache),
            guidance_interval=(0.0, c.guided) if c.guided < 1 and not c.foretold else None,
            token_downsampling=c.downsampling if c.downsampling > 1 else None,
            int8=c.int8,
            distilled=self.distilled if c.distilled else None,
            tiny_vae=self.tiny_vae if c.decoder == "tiny" else None,
            int8_vae=c.decoder == "int8",
        )

    def knobs(self) -> dict[str, tuple[object, ...]]:
        """The values of each knob that changes latents, in the order in which they lie beside each other."""
        return {
            "steps": STEPS,
            "scheduler": self.schedulers,
            "last_timestep": LAST_TIMESTEPS,
            "calibrated": self.calibrated,
            "interval": INTERVALS,
            "branch": tuple(range(min(self.branches, 3))),
            "order": ORDERS,
            "forecast": self.forecasts,
            "guided": GUIDED if self.is_guided else (1.0,),
            "foretold": (False, True) if self.is_guided else (False,),
            "dtype": self.dtypes,
            "int8": self.int8,
            "downsampling": self.downsampling,
            "distilled": (False, True) if self.distilled else (False,),
        }

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        """The sound candidates that differ in one knob: the next value either way, or any where values have no order.

        Where such a change spares or costs something, it also comes with more or fewer steps.
        """
        return (each.settled for each in self._changed(candidate.settled) if each.is_sound)

    def _changed(self, candidate: Candidate) -> Iterator[Candidate]:
        for name, values in self.knobs().items():
            own = getattr(candidate, name)
            if name == "guided":  # each of them guides another number of steps
                alike = (candidate._replace(guided=part).settled.guided for part in GUIDED)
                values = tuple(part for part in dict.fromkeys(alike) if part in values)
            at = values.index(own)
            if name in ("branch", "order") and candidate.interval == 1:
                continue  # there is no cache for it
            if name == "foretold" and candidate.guided == 1:
                continue  # there is nothing to forecast
            near: list[object] = [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]
            if name in ("scheduler", "distilled", "dtype"):
                near = [value for value in values if value != own]
            if name == "forecast":
                near = [each for each in _forecasts_near(str(own)) if each in values]
            for value in near:
                changed = candidate._replace(**{name: value})  # type: ignore[arg-type]
                yield changed
                if name != "steps":
                    yield from (changed._replace(steps=steps) for steps in _steps_near(candidate.steps))

    def decoded_otherwise(self, candidate: Candidate) -> list[Candidate]:
        """The candidate with each of the other decoders, which leave its latents as they are."""
        return [candidate._replace(decoder=each) for each in self.decoders if each != candidate.decoder]

    def random(self, generator: np.random.Generator) -> Candidate:
        """Any candidate, with one value for each knob."""
        chosen = {name: values[generator.integers(len(values))] for name, values in self.knobs().items()}
        chosen["calibrated"] = False
        decoder = self.decoders[generator.integers(len(self.decoders))]
        found = Candidate(**chosen, decoder=decoder).settled  # type: ignore[arg-type]
        return found if found.interval > 1 else found._replace(branch=0, order=0)


def _steps_near(steps: int) -> list[int]:
    at = STEPS.index(steps)
    return [STEPS[i] for i in (at - 1, at + 1, at + 3) if 0 <= i < len(STEPS)]


def _forecasts_near(own: str) -> list[str]:
    """Of the same kind those that differ in one number; of every other kind one."""
    kinds = ["", "taylorseer:2:2:3", "spectrum", "easycache:0.05"]
    others = [kind for kind in kinds if kind.split(":")[0] != own.split(":")[0]]
    words = own.split(":")
    same = [each.split(":") for each in FORECASTS if each.split(":")[0] == words[0] and each != own and own]
    # Numbers that are left out are as good as different.
    near = [each for each in same if len(each) != len(words) or sum(a != b for a, b in zip(each, words)) == 1]
    return [*others, *(":".join(each) for each in near)]
