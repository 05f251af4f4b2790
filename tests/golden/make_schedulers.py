"""Writes tests/golden/schedulers.npz from the reference library: python tests/golden/make_schedulers.py

Needs the test extra (PyTorch and diffusers). Each case holds the timesteps and five samples of its trajectory, from one
run; the live comparison (pytest -m oracle) covers all runs and every step.
"""

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden.schedulers_cases import CASES, SEED, Case, initial_noise, pseudo_model


def reference_run(case: Case, run: dict[str, Any]) -> tuple[np.ndarray, list[np.ndarray], float]:
    """The reference's timesteps, its samples after each step, and its init_noise_sigma."""
    import diffusers
    import torch

    cls = getattr(diffusers, case.cls)
    scheduler = cls(**case.config)
    scheduler.set_timesteps(**run)
    generator = np.random.default_rng(SEED + 1)

    def draw(shape: Any, dtype: Any = torch.float32, **_: Any) -> Any:
        return torch.from_numpy(generator.standard_normal(tuple(shape))).to(dtype)

    module = sys.modules[cls.__module__]
    patch = mock.patch.object(module, "randn_tensor", draw) if hasattr(module, "randn_tensor") else mock.MagicMock()
    sigma = float(scheduler.init_noise_sigma)
    sample, samples = torch.from_numpy(initial_noise()) * scheduler.init_noise_sigma, []
    with patch:
        for timestep in scheduler.timesteps:
            scaled = scheduler.scale_model_input(sample, timestep)
            output = pseudo_model(scaled.numpy(), float(timestep), scheduler.config.prediction_type)
            sample = scheduler.step(torch.from_numpy(output), timestep, sample, **case.step)[0]
            samples.append(sample.numpy())
    return scheduler.timesteps.numpy(), samples, sigma


def picked(samples: list[np.ndarray]) -> np.ndarray:
    """Five of the samples, spread over the run, the last included."""
    return np.stack([samples[i] for i in np.linspace(0, len(samples) - 1, 5).astype(int)])


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
