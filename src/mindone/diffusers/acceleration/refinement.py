"""Calibrated steps once more: all of their weights together, towards the sample at which the long run ends.

`calibration` fits one step after another, each to where the long run is at that step's end. What counts is the end of
the last one, and there a step's error may cancel another's. Here is one step of Gauss and Newton's from those weights,
with derivatives from runs in which one weight is another (S4S, Frankel et al. 2025, descends through the network).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..schedulers.arrays import Array, Generators, to_numpy
from ..schedulers.calibrated import SOLVER, CalibratedMultistepScheduler
from ..schedulers.output import SchedulerOutput
from .calibration import Latents, ReferencePath, rounded

_CHANGE = 0.05
"""Of a weight. On ``icons`` in bfloat16 0.02 drowns in rounding; up to 0.1 it is as good."""
_DAMPING = 1e-3
"""Of the diagonal, as Levenberg and Marquardt have it. 1e-4 to 1e-2 end within 0.3 dB of each other."""


def refined(
    pipe: Any,
    path: ReferencePath,
    scheduler: CalibratedMultistepScheduler,
    *arguments: Any,
    generator: Generators,
    **options: Any,
) -> tuple[CalibratedMultistepScheduler, Array]:
    """A scheduler of the same steps that ends closer to the path's end, or the one that is given if none was found.

    Draws the prompts (n - 1)(n + 2) / 2 + 2 times in n steps.

    Args:
        pipe: as for `calibration.fitted`; so are ``path``, ``arguments`` and ``options``.
        scheduler: what that has given.
        generator: of the path's noise; each run has a copy of it as it is now.

    Returns:
        The scheduler, and the latents to which it brings the prompts.
    """
    rows, target = [list(row) for row in scheduler.calibration], path.samples[-1]

    def run(rows: Sequence[Sequence[float]]) -> tuple[Latents, list[Latents]]:
        view = copy.copy(pipe)
        view.scheduler = watched = _Watched.from_config(pipe.scheduler.config, **SOLVER, calibration=rows)
        watched.terms = []
        view.set_progress_bar_config(disable=True)
        more = {**options, "num_inference_steps": len(rows), "output_type": "latent"}
        images = view(*arguments, **more, generator=copy.deepcopy(generator)).images
        return pipe.engine.numpy(images).astype(np.float64), watched.terms

    before, last_terms = run(rows)
    places = [(i, j) for i, row in enumerate(rows[:-1]) for j in range(1, len(row))]
    columns = [(run(_changed(rows, [place], [_CHANGE]))[0] - before) / _CHANGE for place in places]
    places += [(len(rows) - 1, j) for j in range(1, len(rows[-1]))]  # in its last weights the end is linear
    jacobian = np.stack([column.ravel() for column in (*columns, *last_terms)], axis=1)
    products = jacobian.T @ jacobian
    damped = products + _DAMPING * np.diag(np.diag(products))
    changes = np.linalg.solve(damped, jacobian.T @ (target - before).ravel())
    better = _changed(rows, places, changes.tolist())
    after, _ = run(better)
    if np.mean((after - target) ** 2) >= np.mean((before - target) ** 2):
        return scheduler, before
    return CalibratedMultistepScheduler.from_config(scheduler.config, calibration=better), after


def _changed(
    rows: Sequence[Sequence[float]], places: Sequence[tuple[int, int]], changes: Sequence[float]
) -> list[list[float]]:
    """The rows with something added at some places."""
    changed = [list(row) for row in rows]
    for (i, j), change in zip(places, changes):
        changed[i][j] = rounded(changed[i][j] + change)
    return changed


class _Watched(CalibratedMultistepScheduler):
    """Keeps in ``terms`` what the weights of the last step multiply: the sample, and the predictions so far."""

    terms: list[Latents]

    def _step(
        self, i: int, model_output: Array, sample: Array, generator: Generators, variance_noise: Array | None
    ) -> SchedulerOutput:
        output = super()._step(i, model_output, sample, generator, variance_noise)
        if i + 1 == len(self.timesteps):
            self.terms += [to_numpy(term).astype(np.float64) for term in (sample, *self._outputs)]
        return output
