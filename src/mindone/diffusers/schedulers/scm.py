"""SCM: Simplifying, Stabilizing & Scaling Continuous-Time Consistency Models (Lu & Song 2024, arXiv 2410.11081).

The samples lie on an arc, x_t = cos(t) x₀ + sin(t) σ_d ε with t from π/2 to 0, and the network predicts dx/dt (§3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..utils.arrays import Array
from ..utils.printable import shown
from .arrays import Generators, Numbers, as_numbers, draw_noise
from .base import Scheduler, Timestep, drawing_step
from .levels import TRIGFLOW
from .options import fields
from .output import SchedulerOutput

MAX_TIMESTEP = 1.57080
"""Where runs begin, which is π/2 as published."""
INTERMEDIATE_TIMESTEP = 1.3
"""Where the second of two steps begins."""
_LAST = 1.571


@dataclass(eq=False)
class SCMSchedulerOutput(SchedulerOutput):
    """A step's output, by its published name."""


class SCMScheduler(Scheduler):
    """Multistep consistency sampling on an arc: jump to clean, put noise back, jump again; for SANA-Sprint.

    ``timesteps`` has one entry more than there are steps: 0, where the last step ends and no further step can start.
    Samples have the standard deviation ``sigma_data``: a run begins with noise times that and ends with latents times
    that.
    """

    defaults = fields(num_train_timesteps=1000, prediction_type="trigflow", sigma_data=0.5)
    unpublished = fields()
    choices = fields(prediction_type=("trigflow",))
    distilled = True
    draws_noise = True

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """TrigFlow's levels."""
        return levels == TRIGFLOW

    def set_timesteps(  # type: ignore[override]  # the published order of this scheduler
        self,
        num_inference_steps: int | None = None,
        timesteps: Sequence[float] | Numbers | None = None,
        device: object = None,
        max_timesteps: float | Literal["usual"] | None = "usual",
        intermediate_timesteps: float | Literal["usual"] | None = "usual",
    ) -> None:
        """Lay out a sampling run and forget the last one.

        Args:
            num_inference_steps: how many steps, at least 1; if given with ``timesteps``, one less than their number.
            timesteps: the timesteps themselves, descending, including the one where the run ends.
            device: as in ``Scheduler.set_timesteps``.
            max_timesteps: where the run begins, above 0 and up to 1.571; 1.5708 by default. Leave it None with
                ``timesteps``, which already say it.
            intermediate_timesteps: where the second of two steps begins; 1.3 by default, None for the middle of the
                run. Other numbers of steps are spread evenly and take none.

        Raises:
            ValueError: a number of steps out of range, timesteps out of order, or arguments that contradict each other.
        """
        if timesteps is not None:
            self._take(num_inference_steps, timesteps, max_timesteps, intermediate_timesteps)
            return
        steps = self._checked_steps(num_inference_steps)
        first = MAX_TIMESTEP if max_timesteps == "usual" else max_timesteps
        if first is None or not 0 < first <= _LAST:
            raise ValueError(f"max_timesteps must be above 0 and at most {_LAST}, got {first}")
        middle = intermediate_timesteps
        if middle == "usual":
            middle = INTERMEDIATE_TIMESTEP if steps == 2 and first > INTERMEDIATE_TIMESTEP else None
        if middle is None:
            values = np.linspace(first, 0, steps + 1)
        elif steps != 2:
            raise ValueError(f"intermediate_timesteps is for 2 steps; got {middle} with {steps} steps: leave it out")
        elif not 0 < middle < first:
            raise ValueError(
                f"intermediate_timesteps must be between 0 and max_timesteps={first:g}, got {middle}; pass one "
                "in between, or None for the middle"
            )
        else:
            values = np.array([first, middle, 0.0])
        self._run(values, custom=False)

    def _take(self, steps: int | None, timesteps: Any, *others: object) -> None:
        """Lay out a run through given timesteps; the ``others`` are arguments that these replace."""
        if any(other not in ("usual", None) for other in others):
            raise ValueError("timesteps already say where a run begins and goes on: leave the other arguments out")
        values = as_numbers(timesteps)
        if values is None or len(values) < 2 or not (np.diff(values) < 0).all() or not values[-1] >= 0:
            raise ValueError(f"timesteps must be at least 2 descending numbers, none below 0, got {shown(timesteps)}")
        if values[0] > _LAST:
            raise ValueError(f"timesteps must be at most {_LAST}, got {values[0]:g}")
        if steps is not None and len(values) != steps + 1:
            raise ValueError(f"timesteps must be num_inference_steps + 1 = {steps + 1}, got {len(values)}")
        self._run(values, custom=True)

    def _run(self, timesteps: Numbers, custom: bool) -> None:
        self._begin(timesteps.astype(np.float32))
        self.num_inference_steps, self.custom_timesteps = len(timesteps) - 1, custom

    step = drawing_step

    def _step(self, i: int, model_output: Array, sample: Array, generator: Generators) -> SchedulerOutput:
        """From timesteps[i] to the next; clean if that is 0. No step starts from the last one."""
        x0 = self.predict_original(model_output, self.timesteps[i], sample)
        if i + 1 == len(self.timesteps):
            return SCMSchedulerOutput(sample, x0)
        alpha, sigma = self._alpha_sigma(self.timesteps[i + 1])
        x = alpha * x0 + sigma * draw_noise(model_output, generator) if sigma else x0
        return SCMSchedulerOutput(x, x0)

    def predict_original(self, model_output: Array, timestep: Timestep, sample: Array) -> Array:
        return self.schedule.original(model_output, sample, *self._alpha_sigma(timestep))

    def _alpha_sigma(self, timestep: Timestep) -> tuple[float, float]:
        return self.schedule.alpha_sigma(float(timestep))
