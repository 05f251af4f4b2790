"""The span of a run's steps to take: the last ones for a picture, or those of a fraction of the run."""

import numpy as np

from .loop import Run
from .picture_calls import PictureArguments


def choose_span(run: Run, call: PictureArguments) -> None:
    """Begin where another pipeline stopped, or as late as ``strength`` says; go to the end, or stop before it.

    Raises:
        ValueError: no step remains.
    """
    start, end = call.denoising_start, call.denoising_end
    run.settings.denoising_start, run.settings.denoising_end = start, end
    if start is not None and end is not None and start >= end:
        raise ValueError(f"denoising_start must be below denoising_end, got {start} and {end}")
    if start is None:
        keep_last(run, call.strength)
    else:
        keep_from(run, start)
    if end is not None:
        keep_until(run, end)


def keep_last(run: Run, strength: float) -> None:
    """Begin in the middle of the run: go through the last fraction ``strength`` of its steps.

    Raises:
        ValueError: no step remains.
    """
    steps, order = run.num_inference_steps, run.scheduler.order
    kept = min(int(steps * strength), steps)
    if kept < 1:
        raise ValueError(
            f"strength {strength:g} of {steps} steps leaves none; use at least {int(np.ceil(1 / strength))} steps"
        )
    begin = (steps - kept) * order
    run.scheduler.set_begin_index(begin)
    run.use_timesteps(run.scheduler.timesteps[begin:], kept)


def keep_last_rounded_up(run: Run, strength: float) -> None:
    """The same, but with a partial step counted as a whole one, as in the published flow matching pipelines."""
    steps, order = run.num_inference_steps, run.scheduler.order
    begin = int(max(steps - min(steps * strength, steps), 0))
    run.scheduler.set_begin_index(begin * order)
    run.use_timesteps(run.timesteps[begin * order :], steps - begin)


def keep_until(run: Run, denoising_end: float) -> None:
    """Go through the timesteps of the first fraction ``denoising_end`` of the run from noise to image.

    Raises:
        ValueError: it is no fraction, or no timestep lies in it.
    """
    if not 0 < denoising_end <= 1:
        raise ValueError(f"denoising_end must be above 0 and at most 1, got {denoising_end!r}")
    last = round(run.scheduler.config["num_train_timesteps"] * (1 - denoising_end))
    chosen = run.timesteps[run.timesteps >= last]
    if not len(chosen):
        raise ValueError(f"denoising_end={denoising_end} leaves no timestep of {len(run.timesteps)}; use more steps")
    run.use_timesteps(chosen, len(chosen))


def keep_from(run: Run, denoising_start: float) -> None:
    """Skip the timesteps of the first fraction ``denoising_start`` of the run, which another pipeline has completed.

    Raises:
        ValueError: it is no fraction, or no timestep remains.
    """
    if not 0 < denoising_start < 1:
        raise ValueError(f"denoising_start must be above 0 and below 1, got {denoising_start!r}")
    cutoff = round(run.scheduler.config["num_train_timesteps"] * (1 - denoising_start))
    kept = int((run.timesteps < cutoff).sum())
    if run.scheduler.order == 2 and kept % 2 == 0:
        kept += 1  # all timesteps but the first come twice: begin with the first half of a step
    if not kept:
        raise ValueError(
            f"denoising_start={denoising_start} leaves no timestep of {len(run.timesteps)}; use more steps"
        )
    begin = len(run.timesteps) - kept
    run.scheduler.set_begin_index(begin)
    run.use_timesteps(run.timesteps[begin:], kept)
