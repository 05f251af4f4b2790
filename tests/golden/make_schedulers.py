"""Writes tests/golden/schedulers.npz from the reference library: python tests/golden/make_schedulers.py

Needs the test extra (PyTorch and diffusers). Each case holds the timesteps and five samples of its trajectory, from one
run; the live comparison (pytest -m oracle) covers all runs and every step.
"""

import copy
import functools
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden.schedulers_cases import CASES, DEIS, NOISE_SEED, Case, Trajectory, picked, trajectory


@functools.lru_cache(maxsize=4)
def _made(name: str, config: str) -> Any:
    """The reference's scheduler with a config's values, in JSON: for each run of a case a copy of it."""
    import diffusers

    return getattr(diffusers, name)(**json.loads(config))


def reference_run(case: Case, run: dict[str, Any], double_deis: bool = True) -> Trajectory:
    """The reference's run, its noise drawn from the generator that ours is given.

    DEIS's weights are differences of large numbers, of which float32 keeps 3 digits: its σ are made float64.
    """
    import torch

    generator = np.random.default_rng(NOISE_SEED)

    def draw(shape: Any, dtype: Any = torch.float32, **_: Any) -> Any:
        return torch.from_numpy(generator.standard_normal(tuple(shape))).to(dtype)

    # Some constructors lay out all timesteps of the training, which takes half a second.
    scheduler = copy.deepcopy(_made(case.cls, json.dumps(case.config)))
    if case.cls == DEIS and double_deis:
        published = scheduler.set_timesteps

        def set_timesteps(**run: Any) -> None:
            published(**run)
            scheduler.sigmas = scheduler.sigmas.double()

        scheduler.set_timesteps = set_timesteps
    module = sys.modules[type(scheduler).__module__]
    with (
        mock.patch.object(module, "randn_tensor", draw) if hasattr(module, "randn_tensor") else nullcontext(),
        mock.patch.object(torch, "randn_like", lambda like: draw(like.shape, like.dtype)),
    ):
        return trajectory(scheduler, run, torch.from_numpy, **case.step)


def main() -> None:
    arrays = {}
    for number, case in enumerate(CASES):
        timesteps, samples, sigma = reference_run(case, case.runs[number % len(case.runs)])
        assert all(np.isfinite(sample).all() for sample in samples), case.name
        arrays[case.name] = np.concatenate(
            [[sigma, len(timesteps)], timesteps.astype(np.float32), picked(samples).ravel()]
        ).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("schedulers.npz"), **arrays)


if __name__ == "__main__":
    main()
