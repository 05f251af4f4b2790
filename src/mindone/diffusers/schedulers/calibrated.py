"""DPM-Solver++ whose few steps use weights found for one model, instead of those of a Taylor series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..utils.arrays import Array
from .arrays import Generators, Numbers, combination
from .calibration_rows import Row, check_rows
from .dpm_solver import DPMSolverMultistepScheduler
from .levels import DISCRETE
from .options import fields
from .output import SchedulerOutput

SOLVER: Mapping[str, Any] = {"algorithm_type": "dpmsolver++", "final_sigmas_type": "zero"}
"""What a calibration is for."""


class CalibratedMultistepScheduler(DPMSolverMultistepScheduler):
    """A linear multistep method, x_{i+1} = a_i x_i + Σ_{j ≤ i} b_ij x̂₀(x_j), with weights of its own for each step.

    Every multistep solver of diffusion models has this form. Its weights come from a Taylor series, which is right for
    small steps; weights fitted to a model are right for the steps they were fitted to (S4S, Frankel et
    al. 2025, arXiv 2502.17423). ``acceleration.calibration`` finds them.

    Without a ``calibration`` it is `DPMSolverMultistepScheduler`, 2M. With one it takes the calibrated steps, all of
    them, from noise on, at their own timesteps.

    Raises:
        ValueError: a row of the calibration is not one longer than the row before, or its timesteps do not fall.
    """

    defaults = fields(DPMSolverMultistepScheduler.defaults, calibration=())

    @classmethod
    def samples(cls, levels: str, config: Mapping[str, Any]) -> bool:
        """Discrete levels: calibrations are at timesteps."""
        return levels == DISCRETE

    def _check(self) -> None:
        super()._check()
        options, rows = self._options, self._options["calibration"]
        if rows in ((), []):
            return
        check_rows(rows, options["num_train_timesteps"])
        if any(options[name] != value for name, value in SOLVER.items()):
            raise ValueError(
                "a calibration is for algorithm_type 'dpmsolver++' that ends at final_sigmas_type 'zero', got "
                f"{options['algorithm_type']!r} and {options['final_sigmas_type']!r}"
            )

    @property
    def calibration(self) -> Sequence[Row]:
        """The calibrated steps; none for plain DPM-Solver++."""
        rows: Sequence[Row] = self._options["calibration"]
        return rows

    def _layout(self, steps: int) -> Numbers:
        if not self.calibration:
            return super()._layout(steps)
        if steps != len(self.calibration):
            raise ValueError(
                f"this scheduler was calibrated for num_inference_steps={len(self.calibration)}, got {steps}; "
                "calibrate it for them, or use DPMSolverMultistepScheduler"
            )
        return self._layout_at(np.array([row[0] for row in self.calibration], np.float64))

    def _layout_at(self, timesteps: Numbers) -> Numbers:
        own = [row[0] for row in self.calibration]
        if own and timesteps.tolist() != own:
            raise ValueError(f"this scheduler was calibrated at timesteps {own}; it takes no others")
        return super()._layout_at(timesteps)

    def _step(
        self, i: int, model_output: Array, sample: Array, generator: Generators, variance_noise: Array | None
    ) -> SchedulerOutput:
        if not self.calibration:
            return super()._step(i, model_output, sample, generator, variance_noise)
        if i != len(self._outputs):
            raise ValueError(
                f"calibrated steps are taken from noise on, all of them; step {i + 1} came after {len(self._outputs)}"
            )
        x0 = self._convert(model_output, sample, self._sigmas[i])
        self._outputs = [x0, *self._outputs]
        return SchedulerOutput(combination(self.calibration[i][1:], [sample, *self._outputs]), x0)


def calibrated(config: Mapping[str, Any], rows: Sequence[Row]) -> CalibratedMultistepScheduler:
    """The scheduler of calibrated steps on a checkpoint's noise schedule, whatever solver the config asks for.

    Raises:
        ValueError: the rows are no calibration.
    """
    made: CalibratedMultistepScheduler = CalibratedMultistepScheduler.from_config(config, **SOLVER, calibration=rows)
    return made
