"""Applies a profile to a pipeline and removes it; warns if it does not quite fit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..models.fingerprint import fingerprint_of, source_of
from ..pipelines.checks import default_size
from ..utils.logging import get_logger
from ..utils.machine import instruction_sets
from .job import Job
from .profile import Profile, load_profile

if TYPE_CHECKING:
    from ..pipelines.published import PublishedPipeline as Pipeline

logger = get_logger(__name__)


_SWITCHES = ("caches", "call_defaults", "generation_config", "name_or_path")


class Applied:
    """A profile applied to a pipeline, with the pipeline's earlier state."""

    def __init__(self, pipe: Pipeline, profile: Profile):
        self.profile = profile
        self._warned_of: set[tuple[int, int]] = set()
        view = profile.settings.stack.on(pipe)
        self._before = {name: getattr(pipe, name) for name in (*pipe.components, *_SWITCHES)}
        for name in self._before:
            setattr(pipe, name, getattr(view, name))

    def take_off(self, pipe: Pipeline) -> None:
        """Restore the pipeline's earlier components and settings."""
        for name, value in self._before.items():
            setattr(pipe, name, value)

    def at_size(self, height: int, width: int) -> None:
        """Warn, once per size, if a call generates a size other than the measured one."""
        text = another_size(self.profile, height, width)
        if text and (height, width) not in self._warned_of:
            self._warned_of.add((height, width))
            logger.warning(text)


def apply_profile(pipe: Pipeline, profile: Profile | str | os.PathLike[str] | None) -> None:
    """Apply a profile, or the one in a file, to a pipeline replacing an earlier one; None only removes that.

    Raises:
        ValueError, OSError: the profile cannot be read, or needs something that is missing; then none is applied.
    """
    if pipe.applied is not None:
        pipe.applied.take_off(pipe)
        pipe.applied = None
    if profile is None:
        return
    if not isinstance(profile, Profile):
        profile = load_profile(profile, pipe.name_or_path or None)
    for text in (another_checkpoint(profile, pipe), another_machine(profile)):
        if text:
            logger.warning(text)
    pipe.applied = Applied(pipe, profile)


def warn(profile: Profile, pipe: Pipeline, job: Job) -> None:
    """Warn if a job with the profile's settings differs from the measured one."""
    size = default_size(pipe, job.height, job.width, None)
    found = [another_machine(profile), another_size(profile, *size)]
    if profile.settings.calibration and not job.calibration:
        found.append("the profile has calibrated steps and this job has none: expect a lower quality")
    if job.model != profile.settings.distilled:
        found.append(another_checkpoint(profile, pipe))
    for text in filter(None, found):
        logger.warning(text)


def fingerprint(pipe: Pipeline) -> str:
    """An identifier of a checkpoint's denoising network: a digest of its config and of some weights."""
    denoiser: Any = pipe.denoiser
    return fingerprint_of(denoiser, pipe.family.fingerprint)


def another_checkpoint(profile: Profile, pipe: Pipeline) -> str | None:
    """A warning if the profile was made for other weights."""
    if fingerprint(pipe) == profile.fingerprint:
        return None
    ours = pipe.name_or_path or "this pipeline"
    denoiser: Any = pipe.denoiser
    if source_of(denoiser) == profile.fingerprint:
        return (
            f"the profile was measured on {profile.checkpoint}, and {ours} is that model with rounded weights: expect "
            "other times and a slightly lower quality; tune again to measure both"
        )
    return (
        f"the profile was measured on {profile.checkpoint}, and {ours} has other weights: expect another quality, and "
        "other times unless its networks have the same shapes; tune again to measure both"
    )


def another_machine(profile: Profile) -> str | None:
    """A warning if this machine lacks an instruction set of the profile's machine."""
    missing = [each for each in profile.instruction_sets if each not in instruction_sets()]
    if not missing:
        return None
    return (
        f"the profile was measured on {profile.machine.get('cpu', 'another machine')}, and this one has no "
        f"{', '.join(missing)}: expect other times, and better settings may exist here; tune again"
    )


def another_size(profile: Profile, height: int, width: int) -> str | None:
    """A warning if the image size differs from the profile's."""
    if (height, width) == (profile.height, profile.width):
        return None
    return (
        f"the profile was measured for {profile.width}×{profile.height} pixels and this is {width}×{height}: expect "
        "another speed-up; tune again with --width and --height"
    )
