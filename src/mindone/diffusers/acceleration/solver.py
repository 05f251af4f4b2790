"""Fewer steps: their scheduler, the last timestep, and calibrated weights for few of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..schedulers.calibration_rows import parse_rows
from ..schedulers.short_names import by_name
from .speedup import Networks, Stage, View

if TYPE_CHECKING:
    from ..schedulers.base import Scheduler


@dataclass(frozen=True)
class Solver:
    """The scheduler and its steps.

    Args:
        steps: the number of steps; None leaves it to the call.
        scheduler: a short name, such as ``dpm++``; None keeps the pipeline's own.
        last_timestep: the timestep of the last step; None leaves it to the scheduler.
        calibration: calibrated steps, which determine all of these.
    """

    steps: int | None = None
    scheduler: str | None = None
    last_timestep: int | None = None
    calibration: tuple[str, ...] = ()

    stage = Stage.LOOP

    @property
    def words(self) -> str:
        """See `SpeedUp`."""
        words = f"{self.steps} {'calibrated ' if self.calibration else ''}{self.scheduler} steps"
        return words if self.last_timestep is None else f"{words}, the last at {self.last_timestep}"

    def put_on(self, view: View, networks: Networks) -> None:
        """See `SpeedUp`. The scheduler uses the noise schedule of the view's own scheduler.

        Raises:
            ValueError: the name is unknown, or the scheduler cannot honour the settings.
        """
        view.scheduler = self._made_of(view.scheduler)
        if self.steps is not None:
            view.call_defaults = {**view.call_defaults, "num_inference_steps": self.steps}

    def _made_of(self, own: Scheduler) -> Scheduler:
        if self.calibration:
            from ..schedulers.calibrated import calibrated  # only now: it imports NumPy

            return calibrated(own.config, parse_rows(self.calibration))
        if self.scheduler is None and self.last_timestep is None:
            return own
        scheduler = own.for_run() if self.scheduler is None else by_name(self.scheduler, own.config)
        if self.last_timestep is not None:
            scheduler.last_timestep = self.last_timestep
        return scheduler
