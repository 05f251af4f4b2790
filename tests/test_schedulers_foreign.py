"""A config's fields that the chosen scheduler does not have: honoured, refused, or left out with a warning."""

from typing import Any

import numpy as np
import pytest

from golden.schedulers_cases import LATENT, SHAPE
from mindone.diffusers.families.stable_diffusion.original import SD1, SD2, SD2_V, edm_scheduler_config, scheduler_config
from mindone.diffusers.families.stable_diffusion_xl.original import XL
from mindone.diffusers.loading.original.layout import Release
from mindone.diffusers.schedulers import (
    SCHEDULERS,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    Scheduler,
    by_name,
    foreign,
    schedules,
)
from mindone.diffusers.schedulers.short_names import deterministic

ZERO_SNR = {
    **LATENT,
    "_class_name": "DDIMScheduler",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
    "skip_prk_steps": True,
    "clip_sample": False,
}
SD3 = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
SANA = {
    "_class_name": "DPMSolverMultistepScheduler",
    "use_flow_sigmas": True,
    "flow_shift": 3.0,
    "prediction_type": "flow_prediction",
}
COSXL = edm_scheduler_config(0.002, 120.0)
DISCRETE = [cls for cls in SCHEDULERS.values() if cls.samples(schedules.DISCRETE, {})]


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    foreign._warn.cache_clear()
    monkeypatch.setattr(foreign.logger, "warning", said.append)
    return said


@pytest.mark.parametrize("cls", DISCRETE, ids=lambda cls: cls.__name__)
def test_zero_terminal_snr_is_honoured_by_every_scheduler(cls: Any) -> None:
    scheduler = cls.from_config(ZERO_SNR)
    assert scheduler.alphas_cumprod[-1] <= 2.0**-24
    plain = cls.from_config({**ZERO_SNR, "rescale_betas_zero_snr": False})
    assert plain.alphas_cumprod[-1] == pytest.approx(0.00466, rel=1e-2)
    scheduler.set_timesteps(10)
    first, x0 = scheduler.timesteps[0], np.random.default_rng(0).standard_normal(SHAPE)
    x = np.random.default_rng(1).standard_normal(SHAPE) * scheduler.init_noise_sigma
    velocity = -x0  # v where there is nothing but noise; ᾱ = 2⁻²⁴ leaves α = 2.4e-4 of the noise in x₀
    np.testing.assert_allclose(scheduler.predict_original(velocity, first, x), x0, atol=1e-3)


def test_pndm_takes_the_step_from_pure_noise_that_ddim_takes() -> None:
    stepped = []
    x, velocity = (np.random.default_rng(seed).standard_normal(SHAPE) for seed in (0, 1))
    for cls in (PNDMScheduler, DDIMScheduler):
        scheduler = cls.from_config(ZERO_SNR)
        scheduler.set_timesteps(10)
        stepped.append(scheduler.step(velocity, scheduler.timesteps[0], x).prev_sample)
    np.testing.assert_allclose(*stepped, atol=1e-3)  # α = 2.4e-4 instead of 0


@pytest.mark.parametrize("cls", DISCRETE, ids=lambda cls: cls.__name__)
def test_bounds_of_sigma_are_honoured_wherever_sigma_is_spaced(cls: Any) -> None:
    if "use_exponential_sigmas" not in cls.defaults:
        return
    config = {**LATENT, "_class_name": "EulerDiscreteScheduler", "sigma_min": 0.1, "sigma_max": 9.0}
    scheduler = cls.from_config(config, use_exponential_sigmas=True)
    scheduler.set_timesteps(5)
    positive = scheduler.sigmas[scheduler.sigmas > 0]
    assert (positive.max(), scheduler.sigmas[: len(scheduler.timesteps)].min()) == pytest.approx((9.0, 0.1))


def test_noise_levels_that_a_sampler_cannot_visit_are_reported_once(warnings: list[str]) -> None:
    karras = {**LATENT, "_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True, "solver_order": 3}
    for _ in range(2):
        scheduler = EulerAncestralDiscreteScheduler.from_config(karras)
    assert scheduler.config.use_karras_sigmas is True
    assert warnings == ["EulerAncestralDiscreteScheduler has no use_karras_sigmas=True; it samples without"]
    by_name("pndm", {**LATENT, "_class_name": "DDIMScheduler", "clip_sample": True, "unheard_of": 3})
    assert warnings[1:] == ["PNDMScheduler has no clip_sample=True and no unheard_of=3; it samples without"]


def test_a_file_s_field_names_stay_in_one_short_line(warnings: list[str]) -> None:
    names = {f"{number}\nERROR: forged{'x' * 900}": "y" * 900 for number in range(50)}
    by_name("pndm", {**LATENT, "_class_name": "DDIMScheduler", **names})
    assert (len(warnings), len(warnings[0]) <= 500, warnings[0].isprintable()) == (1, True, True)
    assert warnings[0].endswith(" and 47 more; it samples without")


def test_fields_of_another_method_and_neutral_values_are_left_out_quietly(warnings: list[str]) -> None:
    published = {
        **LATENT,
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "clip_sample": False,
        "use_karras_sigmas": False,
        "steps_offset": 1,
    }
    for cls in DISCRETE:
        for other in DISCRETE:
            other.from_config(cls.from_config(published).config)
    assert warnings == []


@pytest.mark.parametrize("cls", [EDMEulerScheduler, FlowMatchEulerDiscreteScheduler], ids=lambda cls: cls.__name__)
def test_discrete_networks_are_refused_by_samplers_of_other_noise_levels(cls: Any) -> None:
    with pytest.raises(ValueError, match=r"trained on discrete noise levels; use DDIMScheduler, .*UniPC") as caught:
        cls.from_config(PNDMScheduler(**LATENT).config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dpm++", "unipc", "deis", "dpm++-singlestep", "flow-euler"])
@pytest.mark.parametrize("config", [SD3, SANA], ids=["SD3", "Sana"])
def test_a_flow_checkpoint_keeps_its_shift_with_every_sampler_that_walks_it(name: str, config: dict[str, Any]) -> None:
    scheduler = by_name(name, config)
    assert isinstance(scheduler.schedule, schedules.FlowSchedule) and scheduler.schedule.shift == 3.0
    back = by_name("flow-euler", scheduler.config)
    assert back.config.shift == 3.0
    moved = by_name("dpm++", FlowMatchEulerDiscreteScheduler.from_config(back.config, shift=6.0).config)
    assert moved.config.flow_shift == 6.0 and moved.config.prediction_type == "flow_prediction"


@pytest.mark.parametrize("config", [SD3, SANA, COSXL, {**LATENT, "_class_name": "PNDMScheduler"}])
def test_calibration_runs_on_the_checkpoints_own_noise_levels(config: dict[str, Any]) -> None:
    own = Scheduler.from_config(config)
    assert deterministic(own).schedule.kind == own.schedule.kind


@pytest.mark.parametrize("cls", DISCRETE, ids=lambda cls: cls.__name__)
def test_networks_trained_on_other_noise_levels_are_refused_where_these_are_not_sampled(cls: Any) -> None:
    if not cls.samples(schedules.FLOW, SD3):
        with pytest.raises(ValueError, match=r"trained on flow matching noise levels; use .*FlowMatchEuler"):
            cls.from_config(SD3)
        with pytest.raises(ValueError, match=r"trained on flow matching noise levels; use .*DPMSolverMultistep"):
            cls.from_config(SANA)
    edm = {"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5, "sigma_max": 80.0}
    with pytest.raises(ValueError, match=f"{cls.__name__} cannot sample .*trained on EDM noise levels"):
        cls.from_config(edm)
    if cls is not EulerDiscreteScheduler:
        with pytest.raises(ValueError, match=r"EDM noise levels; use .*EulerDiscreteScheduler"):
            cls.from_config(COSXL)


def test_cosxl_is_sampled_on_its_own_noise_levels() -> None:
    """σ from 120 down to 0.002 evenly in log σ, the network told log(σ)/4, from noise of √(120² + 1)."""
    scheduler = Scheduler.from_config(COSXL)
    scheduler.set_timesteps(12)
    assert isinstance(scheduler, EulerDiscreteScheduler)
    assert scheduler.init_noise_sigma == pytest.approx((120**2 + 1) ** 0.5, rel=1e-6)
    sigmas = np.exp(np.linspace(np.log(120), np.log(0.002), 12))
    np.testing.assert_allclose(scheduler.sigmas, [*sigmas, 0], rtol=1e-6)
    np.testing.assert_allclose(scheduler.timesteps, np.log(sigmas) / 4, rtol=1e-5)


@pytest.mark.parametrize("release", [SD1, SD2, SD2_V, XL])
def test_single_files_with_zero_terminal_snr_get_a_scheduler_that_samples_it(release: Release) -> None:
    config = scheduler_config(release, "v_prediction", zero_terminal_snr=True)
    scheduler = Scheduler.from_config(config)
    scheduler.set_timesteps(20)
    assert type(scheduler) in (DDIMScheduler, EulerDiscreteScheduler)
    assert scheduler.alphas_cumprod[-1] <= 2.0**-24 and scheduler.timesteps[0] == 999
    plain = scheduler_config(release, "v_prediction", zero_terminal_snr=False)
    assert Scheduler.from_config(plain).alphas_cumprod[-1] == pytest.approx(0.00466, rel=1e-2)


def test_the_best_known_idiom_still_ignores_what_only_another_method_has() -> None:
    carried = EulerAncestralDiscreteScheduler.from_config(DPMSolverMultistepScheduler(**LATENT, solver_order=3).config)
    plain = EulerAncestralDiscreteScheduler(**LATENT)
    for scheduler in (carried, plain):
        scheduler.set_timesteps(7)
    np.testing.assert_array_equal(carried.sigmas, plain.sigmas)
