"""The operator's profiles: the model of each, and its seconds per image on this machine."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..jobs import Job
from ..jobs.profile import Profile, load_profile

_REMEMBERED = 9
"""The number of a profile's last times for the median."""


@dataclass(frozen=True)
class Offer:
    """A profile that requests may name, and its model's name."""

    profile: Profile
    model: str


def offers(named: Mapping[str, str], models: Mapping[str, str]) -> dict[str, Offer]:
    """The profiles by name, from files or from those saved under a name for one of the models.

    Args:
        named: files or saved names of profiles, by the clients' name.
        models: paths or ids of models, by the clients' name.

    Raises:
        ValueError, OSError: there is no such profile, or the server does not offer its model.
    """
    return {name: _offer(text, models) for name, text in named.items()}


class Speeds:
    """The seconds of one image with each profile.

    At first they are the profile's own figures, scaled by how much slower this machine has been with other profiles;
    later they are the median of the last times here.
    """

    def __init__(self, profiles: Mapping[str, Profile]):
        self._profiles = profiles
        self._measured: dict[str, deque[float]] = {}

    def note(self, name: str, job: Job, seconds: float) -> None:
        """Record a job's seconds with a profile. The first one does not count: it includes compilation."""
        own = {**self._profiles[name].job_fields(), "num_images": 1, "model": job.model, "variant": job.variant}
        if job.pictures or job.upscale or any(getattr(job, field) != value for field, value in own.items()):
            return
        if name in self._measured:
            self._measured[name].append(seconds)
        else:
            self._measured[name] = deque(maxlen=_REMEMBERED)

    def seconds(self, name: str) -> float | None:
        """The seconds of an image; None if neither this machine nor the file knows them."""
        if times := self._measured.get(name):
            return statistics.median(times)
        expected = self._expected(name)
        return None if expected is None else expected * self._times_slower()

    def _expected(self, name: str) -> float | None:
        evidence = self._profiles[name].evidence
        return None if evidence is None else evidence.measured_seconds or evidence.predicted_seconds

    def _times_slower(self) -> float:
        drawn = [
            (times, expected) for name, times in self._measured.items() if times and (expected := self._expected(name))
        ]
        return statistics.median(statistics.median(times) / expected for times, expected in drawn) if drawn else 1.0


def _offer(text: str, models: Mapping[str, str]) -> Offer:
    profile = _found(text, models)
    for name, model in models.items():
        if _is_same(profile.checkpoint, model):
            return Offer(profile, name)
    raise ValueError(f"profile {text} is for {profile.checkpoint}; offer that as well: --model {profile.checkpoint}")


def _found(text: str, models: Mapping[str, str]) -> Profile:
    """The profile in a file, or the one saved under this name for the first model that has it."""
    *others, last = models.values()
    for model in others:
        try:
            return load_profile(text, model)
        except FileNotFoundError:
            continue
    return load_profile(text, last)


def _is_same(checkpoint: str, model: str) -> bool:
    """Whether two names mean one checkpoint; a folder has several spellings."""
    return checkpoint == model or Path(checkpoint).expanduser().resolve() == Path(model).expanduser().resolve()
