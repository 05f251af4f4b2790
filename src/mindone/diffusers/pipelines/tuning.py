"""Profiles on pipelines: what ``pipe(…)`` uses unless it is told otherwise. The search itself lies above (``tune``)."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from ..lazy import look_up
from ..loading.config import Config
from ..utils.types import Value

if TYPE_CHECKING:  # for type checkers alone: at run time nothing here imports what lies above
    from mindone.diffusers.jobs.profile import Profile
    from mindone.diffusers.schedulers.calibrated import CalibratedMultistepScheduler
    from mindone.diffusers.tune.front import Front

_PACKAGE = __name__.rsplit(".", 2)[0]
_ABOVE = {"tune": f"{_PACKAGE}.tune.pipeline:tune", "apply_profile": f"{_PACKAGE}.jobs.wear:apply_profile"}
"""What pipelines offer of the packages that stand on them, imported when it is first used."""
_SUGGESTED = ("num_inference_steps",)
"""Arguments of calls that a checkpoint's ``generation_config.json`` may suggest, besides the guidance scale."""


class Worn(Protocol):
    """A profile that is on (`jobs.wear`)."""

    profile: Profile

    def at_size(self, height: int, width: int) -> None:
        """Told of each call's size."""


class Tuning:
    """Mixed into `pipeline.Pipeline`."""

    call_defaults: Mapping[str, object] = {}
    """Arguments of calls that name none of their own: those of the profile that is on."""
    generation_config: Config
    _worn: Worn | None = None

    def tune(self, prompts: list[str] | None = None, budget_seconds: float = 300.0, **options: Value) -> Front:
        """Measure this machine and this checkpoint, and find what each speed costs in likeness.

        Args:
            prompts: what to draw; some that come with the package by default.
            budget_seconds: how long to search.
            options: ``height``, ``width``, ``tiny_vae``, ``distilled``, ``seed``, ``progress``; see
                `tune.pipeline.tune`.

        Returns:
            A `Front`; ``front.at(speed_up=4)`` is a profile for `apply_profile`.

        Raises:
            ValueError: an argument that cannot be, or a budget that is too small for the reference images.
        """
        found: Front = look_up(_PACKAGE, _ABOVE, "tune")(self, prompts, budget_seconds, **options)
        return found

    def calibrated_scheduler(
        self, num_inference_steps: int, prompts: list[str] | None = None, **options: Value
    ) -> CalibratedMultistepScheduler:
        """A scheduler for so few steps of this pipeline, with weights that were fitted to a long run of it.

        Args:
            num_inference_steps: how many steps the scheduler is for, from 2.
            prompts: what to draw for it, once in many steps; two that come with the package by default.
            options: ``last_timestep``, ``reference_steps``, ``seed``, and arguments of the pipeline's calls; see
                `acceleration.calibration.calibrated_scheduler`.

        Raises:
            ValueError: fewer than two steps, or an argument that cannot be.
        """
        from ..acceleration.calibration import PROMPTS, calibrated_scheduler

        return calibrated_scheduler(self, num_inference_steps, prompts or PROMPTS, **options)

    def apply_profile(self, profile: Profile | str | os.PathLike[str] | None) -> None:
        """Use the settings of a profile from now on, in place of those of an earlier one; None goes back to none.

        Components that the profile replaces come back as they were before it. Calls may still name their own
        ``num_inference_steps`` and ``guidance_interval``. A profile that was measured for other weights, another
        machine or another size is used with a line of warning.

        Args:
            profile: what `Front.at` gives, a ``.json`` file, or the name of one that was saved for this checkpoint.

        Raises:
            ValueError, OSError: the profile cannot be read, or needs what is not there; then none is on.
        """
        worn, self._worn = self._worn, None
        self._worn = look_up(_PACKAGE, _ABOVE, "apply_profile")(self, worn, profile)

    def usual(self, argument: str) -> Value:
        """The argument of a call that does not name it: the profile's, the checkpoint's or the signature's."""
        signature = inspect.signature(type(self).__call__)  # type: ignore[operator]
        return self.usual_arguments().get(argument, signature.parameters[argument].default)

    def usual_arguments(self) -> dict[str, object]:
        """Arguments of calls that do not name them: the profile's, else what the checkpoint suggests."""
        suggested = {name: self.generation_config[name] for name in _SUGGESTED if name in self.generation_config}
        return {**suggested, **self.call_defaults}

    def check_profile(self, height: int, width: int) -> None:
        """Warn where the profile that is on was measured for another size than this."""
        if self._worn is not None:
            self._worn.at_size(height, width)

    @property
    def profile(self) -> Profile | None:
        """The profile that is on."""
        return None if self._worn is None else self._worn.profile
