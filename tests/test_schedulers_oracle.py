"""Every scheduler run beside the reference's, live: all cases, 10, 25 and 50 steps, every step of each."""

import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from golden.schedulers_cases import CASES, DEIS, LATENT, Case, trajectory
from mindone.diffusers.schedulers import (
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    LMSDiscreteScheduler,
    Scheduler,
    SCMScheduler,
)
from published_api import OURS_ALONE
from test_schedulers import KINDS, TOLERANCE, our_run, tolerance

PUBLISHED = [kind for kind in KINDS if kind.__name__ not in OURS_ALONE]
OF_OTHER_LEVELS = [EDMEulerScheduler, FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler]

pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("diffusers").setLevel(logging.ERROR)


@pytest.fixture(scope="module", autouse=True)
def _sigmas_of_numpy() -> Iterator[None]:
    """The reference's KDPM2 looks up the timestep of each σ with NumPy: its arrays take a quarter of the time of
    PyTorch's, and give the same float32 or its neighbour."""
    import diffusers

    def handed_arrays(look_up: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        return lambda self, sigma, log_sigmas: look_up(self, np.asarray(sigma), np.asarray(log_sigmas))

    with pytest.MonkeyPatch.context() as patch:
        for cls in (diffusers.KDPM2DiscreteScheduler, diffusers.KDPM2AncestralDiscreteScheduler):
            patch.setattr(cls, "_sigma_to_t", handed_arrays(cls._sigma_to_t))
        yield


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_step_is_the_references(case: Case) -> None:
    from golden.make_schedulers import reference_run

    for run in case.runs:
        ours, theirs = our_run(case, run), reference_run(case, run)
        np.testing.assert_allclose(ours.timesteps, theirs.timesteps, atol=1e-3)
        assert ours.init_noise_sigma == pytest.approx(theirs.init_noise_sigma, rel=1e-6)
        for mine, its in zip(ours.samples, theirs.samples):
            assert np.abs(mine - its).max() <= tolerance(case) * max(1, np.abs(its).max())


def test_deis_in_float32_is_the_references_to_the_digits_that_its_weights_keep() -> None:
    from golden.make_schedulers import reference_run

    for case in (case for case in CASES if case.cls == DEIS):
        run = {"num_inference_steps": 50}
        ours, theirs = our_run(case, run).samples[-1], reference_run(case, run, double_deis=False).samples[-1]
        assert np.abs(ours - theirs).max() <= 2e-4 * max(1, np.abs(theirs).max())


@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.__name__)
def test_saved_configs_load_in_the_reference_and_back(cls: type, tmp_path: Path) -> None:
    import diffusers

    ours = cls(**LATENT, prediction_type="v_prediction")
    ours.save_pretrained(tmp_path / "ours")
    theirs = getattr(diffusers, cls.__name__).from_pretrained(tmp_path / "ours")
    options = {name: theirs.config[name] for name in cls.defaults}
    assert options == {name: ours.config[name] for name in cls.defaults}
    theirs.save_pretrained(tmp_path / "theirs")
    back = cls.from_pretrained(tmp_path / "theirs")
    assert {name: back.config[name] for name in cls.defaults} == options


@pytest.mark.parametrize("cls", [*PUBLISHED, *OF_OTHER_LEVELS, SCMScheduler], ids=lambda cls: cls.__name__)
def test_defaults_are_the_references(cls: type) -> None:
    import diffusers

    theirs = getattr(diffusers, cls.__name__)().config
    assert dict(cls.defaults) == {name: theirs[name] for name in cls.defaults}


# Of few timesteps, as some constructors of the reference lay out all of them.
PUBLISHED_CONFIG = {
    **LATENT,
    "num_train_timesteps": 100,
    "steps_offset": 1,
    "clip_sample": False,
    "skip_prk_steps": True,
}


@functools.cache
def reference_config(name: str) -> Mapping[str, Any]:
    """What the reference's class makes of the published config."""
    import diffusers

    return getattr(diffusers, name).from_config(PUBLISHED_CONFIG).config


@pytest.mark.parametrize("first", PUBLISHED, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("second", PUBLISHED, ids=lambda cls: cls.__name__)
def test_exchanged_schedulers_have_the_references_options(first: type, second: type) -> None:
    import diffusers

    ours = second.from_config(first.from_config(PUBLISHED_CONFIG).config)
    theirs = getattr(diffusers, second.__name__).from_config(reference_config(first.__name__))
    assert {name: ours.config[name] for name in second.defaults} == {
        name: theirs.config[name] for name in second.defaults
    }


@pytest.mark.parametrize("kind", ["karras", "exponential", "beta"])
@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.__name__)
def test_bounds_of_sigma_in_another_classs_config_are_honoured_as_in_the_reference(cls: type, kind: str) -> None:
    import diffusers

    if f"use_{kind}_sigmas" not in cls.defaults or (cls.__name__, kind) == ("LMSDiscreteScheduler", "karras"):
        return  # the reference's LMS has a Karras spacing of its own that leaves the bounds out; ours has one for all
    config = {**LATENT, "sigma_min": 0.1, "sigma_max": 9.0, f"use_{kind}_sigmas": True}
    ours = cls.from_config(config)
    theirs = getattr(diffusers, cls.__name__).from_config(config)
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(7)
    np.testing.assert_allclose(ours.sigmas, theirs.sigmas, rtol=1e-5)


def test_cosxls_scheduler_is_the_one_that_its_authors_recommend() -> None:
    import diffusers
    import torch

    from mindone.diffusers.families.stable_diffusion.original import edm_scheduler_config

    ours = Scheduler.from_config(edm_scheduler_config(0.002, 120.0))
    edm = {"sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0, "prediction_type": "v_prediction"}
    theirs = diffusers.EDMEulerScheduler(**edm, sigma_schedule="exponential")
    run = {"num_inference_steps": 20}
    mine, its = trajectory(ours, run), trajectory(theirs, run, torch.from_numpy)
    np.testing.assert_allclose(mine.timesteps, its.timesteps, atol=1e-5)
    assert mine.init_noise_sigma == pytest.approx(its.init_noise_sigma, rel=1e-6)
    for sample, other in zip(mine.samples, its.samples):
        assert np.abs(sample - other).max() <= 1e-5 * max(1, np.abs(other).max())


BETAS = {"latent": LATENT, "linear": {}, "cosine": {"beta_schedule": "squaredcos_cap_v2"}}


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("spacing", [None, "karras_sigmas", "exponential_sigmas", "beta_sigmas", "lu_lambdas"])
@pytest.mark.parametrize("cls", PUBLISHED, ids=lambda cls: cls.__name__)
def test_runs_of_5_to_50_steps_visit_the_references_timesteps(cls: type, spacing: str | None, betas: str) -> None:
    import diffusers

    option = {f"use_{spacing}": True} if spacing else {}
    if not hasattr(cls(), "sigmas") or not option.keys() <= cls.defaults.keys():
        return
    ours = cls(**BETAS[betas], **option)
    theirs = getattr(diffusers, cls.__name__)(**BETAS[betas], **option)
    for steps in range(5, 51):
        for scheduler in (ours, theirs):
            scheduler.set_timesteps(steps)
        expected = theirs.timesteps.numpy()
        if np.issubdtype(expected.dtype, np.integer):
            np.testing.assert_array_equal(ours.timesteps, expected)
        elif (cls.__name__, betas) != ("KDPM2AncestralDiscreteScheduler", "cosine"):  # there the reference has NaN
            np.testing.assert_allclose(ours.timesteps, expected, atol=1e-3)
        np.testing.assert_allclose(ours.sigmas, theirs.sigmas, rtol=1e-6)


@pytest.mark.parametrize("option", [{}, {"use_karras_sigmas": True}], ids=["plain", "karras"])
@pytest.mark.parametrize("cls", [*PUBLISHED, *OF_OTHER_LEVELS], ids=lambda cls: cls.__name__)
def test_a_run_from_a_noised_picture_is_the_references(cls: type, option: dict[str, bool]) -> None:
    from golden.make_schedulers import reference_run

    if not option.keys() <= cls.defaults.keys() or cls is LMSDiscreteScheduler:  # it weighs its first slopes otherwise
        return
    betas = {} if cls in OF_OTHER_LEVELS else LATENT
    plms = {"skip_prk_steps": True} if "skip_prk_steps" in cls.defaults else {}
    case = Case("middle", cls.__name__, {**betas, **option, **plms}, {"begin": 4 * cls.order}, {})
    run = {"num_inference_steps": 10}
    ours, theirs = our_run(case, run).samples, reference_run(case, run).samples
    assert len(ours) == len(theirs) >= 6
    for mine, its in zip(ours, theirs):
        assert np.abs(mine - its).max() <= TOLERANCE * max(1, np.abs(its).max())
