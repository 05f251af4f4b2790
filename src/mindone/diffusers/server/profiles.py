"""The profiles that the operator offers: whose they are, and how long an image takes with each on this machine."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..jobs import Job
from ..jobs.profile import Profile, load_profile

_REMEMBERED = 9
"""Times of a profile to take the median of."""


@dataclass(frozen=True)
class Offer:
    """A profile that requests may name, and the name of the model that it is for."""

    profile: Profile
    model: str


def offers(named: Mapping[str, str], models: Mapping[str, str]) -> dict[str, Offer]:
    """The profiles of files, or those that are saved under a name for one of the models.

    Args:
        named: what clients call a profile: its file or the name that it was saved under.
        models: what clients call a model: its path or id.

    Raises:
        ValueError, OSError: there is no such profile, or it is for a model that is not offered.
    """
    return {name: _offer(text, models) for name, text in named.items()}


class Speeds:
    """The seconds of one image with each profile.

    At first they are what the profile's file says, times how much slower this machine has been with those that were
    drawn already; then the median of the last times here.
    """

    def __init__(self, profiles: Mapping[str, Profile]):
        self._profiles = profiles
        self._measured: dict[str, deque[float]] = {}

    def note(self, name: str, job: Job, seconds: float) -> None:
        """A job was drawn with a profile. The first one does not count: its networks were compiled meanwhile."""
        own = {**self._profiles[name].job_fields(), "num_images": 1, "model": job.model}
        if job.pictures or job.upscale or any(getattr(job, field) != value for field, value in own.items()):
            return
        if name in self._measured:
            self._measured[name].append(seconds)
        else:
            self._measured[name] = deque(maxlen=_REMEMBERED)

    def seconds(self, name: str) -> float | None:
        """The seconds of an image; None where neither this machine nor the file tells them."""
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
    """The profile in a file, or that which is saved under the name for the first model that has one."""
    *others, last = models.values()
    for model in others:
        try:
            return load_profile(text, model)
        except FileNotFoundError:
            continue
    return load_profile(text, last)


def _is_same(checkpoint: str, model: str) -> bool:
    """Whether two names lead to one checkpoint; a folder may be written in several ways."""
    return checkpoint == model or Path(checkpoint).expanduser().resolve() == Path(model).expanduser().resolve()
