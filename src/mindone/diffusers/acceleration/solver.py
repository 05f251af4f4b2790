"""Fewer steps: which scheduler takes them, where the last one is, and weights that were found for few of them."""

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
    """How to step from noise to image.

    Args:
        steps: how many steps; None leaves that to the call.
        scheduler: a short name, such as ``dpm++``; None stays with the pipeline's own.
        last_timestep: where the last step is to be; None leaves that to the scheduler.
        calibration: calibrated steps, which say all of this themselves.
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
        """See `SpeedUp`. The scheduler is on the noise schedule of the view's own.

        Raises:
            ValueError: an unknown name, or what the scheduler cannot honour.
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
