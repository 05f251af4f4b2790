"""Which scheduler takes the steps of a job or of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..schedulers.calibration_rows import parse_rows
from ..schedulers.short_names import by_name

if TYPE_CHECKING:
    from ..schedulers.base import Scheduler


def scheduler_for(
    own: Scheduler, name: str | None, last_timestep: int | None, calibration: Sequence[str] = ()
) -> Scheduler:
    """A scheduler on the noise schedule of a pipeline's own, which stays as it is; that itself where nothing is asked.

    Args:
        own: the pipeline's.
        name: the short name of another one; None stays with its own.
        last_timestep: where the last step is to be; None leaves that to the scheduler.
        calibration: calibrated steps, which say all of this themselves.

    Raises:
        ValueError: an unknown name, or what the scheduler cannot honour.
    """
    if calibration:
        from ..schedulers.calibrated import calibrated  # only now: it imports NumPy

        return calibrated(own.config, parse_rows(calibration))
    if name is None and last_timestep is None:
        return own
    scheduler = own.for_run() if name is None else by_name(name, own.config)
    if last_timestep is not None:
        scheduler.last_timestep = last_timestep
    return scheduler
