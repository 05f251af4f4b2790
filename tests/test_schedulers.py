"""The schedulers against the reference's numbers (golden file), identities that must hold, and bad input."""

import copy
import json
import math
import re
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from golden.schedulers_cases import CASES, LATENT, NOISE_SEED, Case, Trajectory, picked, trajectory
from mindone.diffusers.schedulers import (
    SCHEDULERS,
    SHORT_NAMES,
    CalibratedMultistepScheduler,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    Scheduler,
    SCMScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
    by_name,
    scheduler_class,
    schedules,
)
from mindone.diffusers.schedulers.spacing import sigma_spacing

GOLDEN = np.load(Path(__file__).parent / "golden" / "schedulers.npz")
ALL = list(SCHEDULERS.values())
KINDS = [cls for cls in ALL if cls.samples(schedules.DISCRETE, {})]  # all but EDM's, which has no β
TOLERANCE = 1e-5


def make(case: Case) -> Scheduler:
    return SCHEDULERS[case.cls].from_config({"_class_name": case.cls, **case.config})


def our_run(case: Case, run: dict[str, Any], dtype: type = np.float32) -> Trajectory:
    return trajectory(make(case), run, dtype=dtype, generator=np.random.default_rng(NOISE_SEED), **case.step)


def tolerance(case: Case) -> float:
    """Errors are taken relative to the sample's largest value.

    Two samplers start at σ = 4096 and step straight to 15. The reference takes that step as x + dx/dσ Δσ in float32,
    which rounds by the last bit of 4096, 2.4e-4: alone 1.6e-5 of the result.
    """
    return 3e-5 if case.name.startswith("Euler") and "zero-snr" in case.name else TOLERANCE


def latent_options(cls: type) -> dict[str, Any]:
    """Stable Diffusion's noise schedule, for those that have one."""
    return LATENT if cls in KINDS else {}


def noise(shape: tuple[int, ...] = (2, 4, 3, 3), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# Against the reference


@pytest.mark.parametrize(("number", "case"), list(enumerate(CASES)), ids=[case.name for case in CASES])
def test_trajectory_is_the_references(number: int, case: Case) -> None:
    stored = GOLDEN[case.name]
    sigma, count = stored[0], int(stored[1])
    timesteps, samples, our_sigma = our_run(case, case.runs[number % len(case.runs)])
    expected = stored[2 + count :].reshape(5, *samples[0].shape)
    assert our_sigma == pytest.approx(sigma, rel=1e-6)
    # The reference's fractional timesteps are float32 interpolations: 1e-6 of 1000.
    np.testing.assert_allclose(timesteps, stored[2 : 2 + count], atol=1e-3)
    for ours, theirs in zip(picked(samples), expected):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs).max() <= tolerance(case) * max(1, np.abs(theirs).max())


@pytest.mark.parametrize("case", [case for case in CASES if "zero-snr" in case.name], ids=lambda case: case.name)
def test_float32_samples_lose_nothing_at_zero_terminal_snr(case: Case) -> None:
    """Stepping from σ = 4096 cancels no digits here: float32 agrees with float64 to a few of its last bits."""
    run = case.runs[0]
    for low, high in zip(our_run(case, run).samples, our_run(case, run, np.float64).samples):
        assert np.abs(low - high).max() <= 4e-6 * max(1, np.abs(high).max())


# Identities


# DDIM steps by ⌊T / n⌋ whatever the spacing: with leading that is the distance of its timesteps, with trailing where n
# divides T, with linspace never.
@settings(max_examples=20, deadline=None)
@given(
    run=st.tuples(st.just("leading"), st.integers(1, 60))
    | st.tuples(st.just("trailing"), st.sampled_from([1, 2, 4, 5, 8, 10, 20, 25, 40, 50])),
    seed=st.integers(0, 99),
)
def test_ddim_with_the_true_noise_recovers_the_image(run: tuple[str, int], seed: int) -> None:
    scheduler = DDIMScheduler(**LATENT, clip_sample=False, timestep_spacing=run[0])
    scheduler.set_timesteps(run[1])
    x0, epsilon = noise(seed=seed), noise(seed=seed + 1000)
    x = scheduler.add_noise(x0, epsilon, scheduler.timesteps[:1])
    for timestep in scheduler.timesteps:
        x = scheduler.step(epsilon, timestep, x).prev_sample
    # float32 rounding, divided by √ᾱ = 0.07 at the noisiest timestep
    np.testing.assert_allclose(x, x0, atol=5e-5)


@pytest.mark.parametrize("cls", [cls for cls in KINDS if cls is not LCMScheduler])  # it reports its own function
@settings(max_examples=8, deadline=None)
@given(index=st.integers(0, 9), kind=st.sampled_from(["epsilon", "v_prediction"]), seed=st.integers(0, 99))
def test_a_noised_image_with_its_true_noise_is_predicted_back(cls: Any, index: int, kind: str, seed: int) -> None:
    scheduler = cls.from_config({**LATENT, "clip_sample": False, "prediction_type": kind})
    scheduler.set_timesteps(10)
    timestep = scheduler.timesteps[index]
    x0, epsilon = noise(seed=seed), noise(seed=seed + 1000)
    x = scheduler.add_noise(x0, epsilon, [timestep])
    alpha = math.sqrt(np.interp(timestep, np.arange(1000), scheduler.alphas_cumprod))
    level = scheduler.sigmas[scheduler.index_for_timestep(timestep)] if hasattr(scheduler, "sigmas") else None
    alpha = alpha if level is None else 1 / math.sqrt(level**2 + 1)
    output = epsilon if kind == "epsilon" else alpha * epsilon - math.sqrt(1 - alpha**2) * x0
    predicted = scheduler.step(output.astype(np.float32), timestep, x).pred_original_sample
    np.testing.assert_allclose(predicted, x0, atol=5e-5)


@settings(max_examples=40, deadline=None)
@given(first=st.sampled_from(KINDS), second=st.sampled_from(KINDS), offset=st.integers(0, 1), seed=st.integers(0, 9))
def test_from_config_to_another_scheduler_and_back_keeps_everything(
    first: Any, second: Any, offset: int, seed: int
) -> None:
    chosen = {**LATENT, "prediction_type": "v_prediction", "steps_offset": offset, "unheard_of": seed}
    scheduler = first.from_config(chosen)
    back = first.from_config(second.from_config(scheduler.config).config)
    assert dict(back.config) == dict(scheduler.config)
    assert back.config.unheard_of == seed


@pytest.mark.parametrize("cls", KINDS)
@settings(max_examples=25, deadline=None)
@given(
    steps=st.integers(1, 50),
    spacing=st.sampled_from(["leading", "linspace", "trailing"]),
    offset=st.integers(0, 1),
    train=st.sampled_from([1000, 321]),
)
def test_timesteps_descend_within_the_trained_range(
    cls: Any, steps: int, spacing: str, offset: int, train: int
) -> None:
    scheduler = cls.from_config(
        {"timestep_spacing": spacing, "steps_offset": offset, "num_train_timesteps": train, "skip_prk_steps": True}
    )
    scheduler.set_timesteps(steps)
    timesteps = scheduler.timesteps
    calls = 2 * steps - 1 if cls.order == 2 else steps + (steps > 1 and cls is PNDMScheduler)
    assert len(timesteps) == calls
    if not issubclass(
        cls, KDPM2DiscreteScheduler
    ):  # it has midpoints between; those of its ancestral kind are the ends
        assert len(np.unique(timesteps)) == steps
    assert (np.diff(timesteps) <= 1e-3).all()
    assert timesteps[0] <= train - 1 and timesteps[-1] >= 0


@pytest.mark.parametrize("cls", KINDS)
def test_timesteps_given_one_an_image_noise_each_image_on_its_own(cls: Any) -> None:
    scheduler = cls(**LATENT)
    scheduler.set_timesteps(10)
    x0, epsilon = noise(), noise(seed=1)
    pair = scheduler.timesteps[[2, 7]]
    both = scheduler.add_noise(x0, epsilon, pair)
    for i in (0, 1):
        alone = scheduler.add_noise(x0[i : i + 1], epsilon[i : i + 1], pair[i : i + 1])
        np.testing.assert_allclose(both[i : i + 1], alone, rtol=1e-6, atol=1e-6)


def test_velocity_is_what_v_prediction_undoes() -> None:
    scheduler = DDIMScheduler(**LATENT, clip_sample=False, prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    x0, epsilon, timestep = noise(), noise(seed=1), scheduler.timesteps[3]
    velocity = scheduler.get_velocity(x0, epsilon, [timestep])
    x = scheduler.add_noise(x0, epsilon, [timestep])
    np.testing.assert_allclose(scheduler.step(velocity, timestep, x).pred_original_sample, x0, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "DDIM-eta",
        "DDIM-threshold",
        "EulerDiscrete-karras",
        "DPMSolverMultistep-sde-dpmsolver++-2",
        "LCM-clip",
        "DEISMultistep-threshold",
        "KDPM2AncestralDiscrete-karras",
        "DPMSolverSinglestep-sde-dpmsolver++-3-midpoint",
    ],
)
def test_mindspore_tensors_come_back_as_such_with_the_same_numbers(name: str) -> None:
    mindspore = pytest.importorskip("mindspore")
    case = next(case for case in CASES if case.name == name)
    run = {"num_inference_steps": 3}
    scheduler, ours = make(case), our_run(case, run)
    theirs = trajectory(
        scheduler, run, mindspore.Tensor, generator=np.random.default_rng(NOISE_SEED), **case.step
    ).samples
    np.testing.assert_allclose(theirs, ours.samples, rtol=1e-5, atol=1e-5)
    half = mindspore.Tensor(noise().astype(np.float16))
    scheduler.set_timesteps(3)
    timestep = mindspore.Tensor(scheduler.timesteps[0])
    output = scheduler.step(half, timestep, scheduler.scale_model_input(half, timestep)).prev_sample
    assert isinstance(output, mindspore.Tensor) and output.dtype == mindspore.float16


# Runs


@pytest.mark.parametrize("cls", ALL)
def test_set_timesteps_forgets_the_last_run(cls: Any) -> None:
    case = next(case for case in CASES if case.cls in (cls.__name__, cls.__base__.__name__))
    run = {"num_inference_steps": 6}
    scheduler, again = make(case), []
    for _ in range(2):
        again.append(trajectory(scheduler, run, generator=np.random.default_rng(NOISE_SEED), **case.step).samples)
    np.testing.assert_array_equal(*again)


@pytest.mark.parametrize("cls", ALL)
def test_a_run_can_begin_in_the_middle(cls: Any) -> None:
    scheduler = cls(**latent_options(cls))
    scheduler.set_timesteps(8)
    begin = 4 * scheduler.order
    x = noise()
    for timestep in scheduler.timesteps[begin:]:
        output = 0.1 * scheduler.scale_model_input(x, timestep)
        x = scheduler.step(output, timestep, x, generator=np.random.default_rng(0)).prev_sample
    assert np.isfinite(x).all()


def test_set_begin_index_says_which_visit_of_a_repeated_timestep_is_meant() -> None:
    scheduler = HeunDiscreteScheduler()
    scheduler.set_timesteps(5)
    assert scheduler.index_for_timestep(scheduler.timesteps[3]) == 4
    scheduler.set_begin_index(3)
    scheduler.scale_model_input(noise(), scheduler.timesteps[3])
    assert scheduler.step_index == 3


@pytest.mark.parametrize("cls", ALL)
def test_a_step_returns_names_or_a_plain_tuple(cls: Any) -> None:
    scheduler, stepped = cls(**latent_options(cls)), []
    for return_dict in (True, False):
        scheduler.set_timesteps(5)
        generator = np.random.default_rng(0)
        stepped.append(
            scheduler.step(noise(), scheduler.timesteps[0], noise(), return_dict=return_dict, generator=generator)
        )
    output, plain = stepped
    assert type(plain) is tuple and len(plain) == len(output)
    assert output["prev_sample"] is output[0] is output.prev_sample
    np.testing.assert_array_equal(plain, output.to_tuple())


@pytest.mark.parametrize("cls", ALL)
def test_predicting_the_clean_sample_takes_no_step_and_agrees_with_the_step_that_reports_it(cls: Any) -> None:
    scheduler = cls(**latent_options(cls))
    scheduler.set_timesteps(6)
    x, generator = noise(), np.random.default_rng(0)
    for timestep in scheduler.timesteps:
        output = 0.1 * scheduler.scale_model_input(x, timestep)
        predicted = scheduler.predict_original(output, timestep, x)
        step = scheduler.step(output, timestep, x, generator=generator)
        if cls is not LCMScheduler:
            np.testing.assert_array_equal(predicted, step.pred_original_sample)
        assert predicted.shape == x.shape and predicted.dtype == x.dtype
        x = step.prev_sample


@pytest.mark.parametrize("copied", [lambda scheduler: scheduler.for_run(), copy.copy], ids=["for_run", "copy"])
@pytest.mark.parametrize("cls", ALL)
def test_two_runs_of_one_scheduler_do_not_disturb_each_other(cls: Any, copied: Any) -> None:
    scheduler = cls(**latent_options(cls))
    scheduler.set_timesteps(6)
    alone, runs = cls(**latent_options(cls)), [copied(scheduler), copied(scheduler)]
    alone.set_timesteps(6)
    samples = {run: noise(seed=i) for i, run in enumerate([*runs, alone])}
    samples[alone] = noise(seed=0)
    for timestep in scheduler.timesteps:
        for run, x in samples.items():
            generator = np.random.default_rng(3)
            output = 0.1 * run.scale_model_input(x, timestep)
            samples[run] = run.step(output, timestep, x, generator=generator).prev_sample
    np.testing.assert_array_equal(samples[runs[0]], samples[alone])
    assert cls not in KINDS or runs[0].alphas_cumprod is scheduler.alphas_cumprod


def test_one_generator_an_image_makes_images_independent_of_the_batch() -> None:
    scheduler = EulerAncestralDiscreteScheduler(**LATENT)
    x = noise()

    def step(batch: np.ndarray, seeds: list[int]) -> np.ndarray:
        scheduler.set_timesteps(5)
        generators = [np.random.default_rng(seed) for seed in seeds]
        return scheduler.step(0.5 * batch, scheduler.timesteps[0], batch, generator=generators).prev_sample

    np.testing.assert_array_equal(step(x, [1, 2])[1:], step(x[1:], [2]))


# Configs


def test_published_config_is_read_kept_and_written_back(tmp_path: Path) -> None:
    published = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
        "clip_sample": False,
    }
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(published))
    scheduler = Scheduler.from_pretrained(tmp_path, subfolder="scheduler")
    assert isinstance(scheduler, PNDMScheduler) and scheduler.config.clip_sample is False
    DPMSolverMultistepScheduler.from_config(scheduler.config).save_pretrained(tmp_path / "saved")
    written = json.loads((tmp_path / "saved" / "scheduler_config.json").read_text())
    assert written["_class_name"] == "DPMSolverMultistepScheduler"
    assert {**written, **published, "_class_name": None} == {**written, "_class_name": None}
    assert written["solver_order"] == 2
    again = DPMSolverMultistepScheduler.from_pretrained(tmp_path / "saved")
    assert again.config.lambda_min_clipped == -math.inf


def test_another_schedulers_defaults_are_not_inherited() -> None:
    pndm = PNDMScheduler(**LATENT)
    assert pndm.config.timestep_spacing == "leading"
    assert EulerDiscreteScheduler.from_config(pndm.config).config.timestep_spacing == "linspace"
    changed = {**pndm.config, "timestep_spacing": "trailing"}
    assert EulerDiscreteScheduler.from_config(changed).config.timestep_spacing == "trailing"


def test_another_schedulers_options_change_nothing() -> None:
    karras = DPMSolverMultistepScheduler(**LATENT, use_karras_sigmas=True)
    carried, plain = (
        EulerAncestralDiscreteScheduler.from_config(karras.config),
        EulerAncestralDiscreteScheduler(**LATENT),
    )
    for scheduler in (carried, plain):
        scheduler.set_timesteps(7)
    assert carried.config.use_karras_sigmas is True
    np.testing.assert_array_equal(carried.sigmas, plain.sigmas)


def test_a_saved_config_holds_published_keys_alone(tmp_path: Path) -> None:
    scheduler = EulerDiscreteScheduler(**LATENT)
    scheduler.save_config(tmp_path)
    written = json.loads((tmp_path / "scheduler_config.json").read_text())
    assert written == json.loads(scheduler.to_json_string())
    assert written.keys() == {*EulerDiscreteScheduler.defaults, "_class_name"}
    assert EulerDiscreteScheduler.load_config(tmp_path) == written
    again = EulerDiscreteScheduler.from_pretrained(tmp_path, beta_end=0.02)
    assert again.config == {**written, "beta_end": 0.02}


def test_overrides_that_a_class_does_not_know_are_given_back_when_asked_for() -> None:
    scheduler, unused = DDIMScheduler.from_config({}, return_unused_kwargs=True, eta=0.5, beta_end=0.01)
    assert unused == {"eta": 0.5} and scheduler.config.beta_end == 0.01


def test_config_entries_can_be_read_from_the_scheduler_with_a_warning() -> None:
    with pytest.warns(FutureWarning, match="scheduler.config.beta_start"):
        assert DDIMScheduler(beta_start=0.001).beta_start == 0.001
    with pytest.raises(AttributeError, match="'DDIMScheduler' object has no attribute 'sigma'"):
        DDIMScheduler().sigma  # noqa: B018


def test_short_names_set_up_a_scheduler_on_the_checkpoints_noise_schedule() -> None:
    scheduler = by_name("dpm++-karras", PNDMScheduler(**LATENT).config)
    assert isinstance(scheduler, DPMSolverMultistepScheduler)
    assert scheduler.config.use_karras_sigmas is True and scheduler.config.beta_end == LATENT["beta_end"]
    with pytest.raises(ValueError, match=r"unknown scheduler 'ddim2'; choose one of ddim, ddpm, dpm\+\+"):
        by_name("ddim2", {})


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_a_short_name_with_a_spacing_turns_it_on_and_others_off(name: str) -> None:
    method = SHORT_NAMES[name]
    cls = scheduler_class(method.class_name)
    spaces_sigmas = "use_karras_sigmas" in cls.defaults
    method_alone = re.sub("-(karras|exponential|beta)$", "", name)
    assert (f"{method_alone}-karras" in SHORT_NAMES) == spaces_sigmas
    beta = {"use_beta_sigmas": True} if cls in KINDS or spaces_sigmas else {}
    own = EulerDiscreteScheduler(**LATENT, **beta) if cls in KINDS else cls(**beta)
    scheduler = by_name(name, own.config)
    assert type(scheduler) is cls
    spacing = name.rpartition("-")[2]
    if spaces_sigmas:
        kept = spacing if spacing in ("karras", "exponential", "beta") else "beta"  # the checkpoint's own
        assert sigma_spacing(scheduler.config) == f"use_{kept}_sigmas"


def test_config_is_read_only_and_compatibles_are_all() -> None:
    scheduler = DDIMScheduler()
    with pytest.raises(AttributeError):
        scheduler.config.beta_start = 1.0
    assert scheduler.compatibles == KINDS


# Bad input


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("steps", [0, -3, 2.5, True, "ten", 1001])
def test_impossible_numbers_of_steps_are_refused(cls: Any, steps: Any) -> None:
    with pytest.raises(ValueError, match="num_inference_steps must be a whole number from 1 to"):
        cls().set_timesteps(steps)


@pytest.mark.parametrize("cls", KINDS)
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"beta_schedule": "quadratic"}, "unknown beta_schedule 'quadratic'; choose linear"),
        ({"prediction_type": "score"}, "takes prediction_type 'epsilon'"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas must be 1000 numbers"),
        ({"num_train_timesteps": 0}, "num_train_timesteps must be a whole number"),
        ({"num_train_timesteps": 2**40}, "num_train_timesteps must be a whole number from 1 to 1e"),
        ({"num_train_timesteps": True}, "num_train_timesteps must be a whole number"),
        ({"beta_start": "small"}, "takes a number as beta_start"),
        ({"beta_start": 0}, r"takes a number as beta_start, from 1e-12 to 0.9999; got 0"),
        ({"beta_end": math.nan}, "takes a number as beta_end"),
        ({"beta_schedule": ["linear"]}, "unknown beta_schedule"),
        ({"trained_betas": ["a"]}, "trained_betas must be a list of numbers"),
        ({"trained_betas": [1.5] * 1000}, "trained_betas must be between 0 and 1"),
    ],
)
def test_unknown_noise_schedules_are_refused(cls: Any, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        cls(**config)
    assert "\n" not in str(caught.value)


ODD_VALUES = [math.nan, -1.5, 10**9, 10**5000, "0.1", "ü" * 2000, None, [], ["a"], [10**400] * 1000, {"a": 1}, True, 0]


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_a_strangers_config_is_sampled_or_refused_in_one_line(cls: Any) -> None:
    x = np.zeros((1, 4, 2, 2), np.float32)
    for name in {**cls.defaults, **cls.idle, **cls.unpublished, "_use_default_values": 0, "_class_name": 0}:
        for value in ODD_VALUES:
            try:
                scheduler = cls.from_config({name: value})
                scheduler.set_timesteps(5)
                for timestep in scheduler.timesteps[:3]:
                    scheduler.step(x, timestep, x, generator=np.random.default_rng(0))
            except ValueError as error:
                assert len(str(error)) <= 500 and str(error).isprintable(), name


@pytest.mark.parametrize("cls", KINDS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("betas", [[1e-45] * 1000, [0.5] * 1000], ids=["no noise", "no signal"])
def test_noise_schedules_that_float32_does_not_hold_are_refused(cls: Any, betas: list[float]) -> None:
    with pytest.raises(ValueError, match=r"cannot sample this noise schedule: in float32 its ᾱ runs from (1|0\.5) to"):
        cls(trained_betas=betas)


BAD_CONFIGS = [
    (DDIMScheduler, {"timestep_spacing": "even"}, "timestep_spacing 'linspace', 'leading', 'trailing'; got 'even'"),
    (DDIMScheduler, {"clip_sample": "no"}, "clip_sample true or false"),
    (DDIMScheduler, {"use_karras_sigmas": True}, "DDIMScheduler has no option use_karras_sigmas; its options are"),
    (DDPMScheduler, {"variance_type": "learned_range"}, "variance_type 'fixed_small'"),
    (PNDMScheduler, {"prediction_type": "sample"}, "prediction_type 'epsilon', 'v_prediction'; got 'sample'"),
    (EulerDiscreteScheduler, {"interpolation_type": "cubic"}, "interpolation_type 'linear', 'log_linear'"),
    (EulerDiscreteScheduler, {"use_karras_sigmas": True, "use_beta_sigmas": True}, "only one spacing of σ"),
    (
        DPMSolverMultistepScheduler,
        {"use_flow_sigmas": True},
        "use_flow_sigmas and prediction_type",
    ),
    (DPMSolverMultistepScheduler, {"solver_order": 4}, "solver_order 1, 2, 3; got 4"),
    (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver"}, "set final_sigmas_type to 'sigma_min'"),
    (DPMSolverMultistepScheduler, {"variance_type": "learned"}, "variance_type None"),
    (DPMSolverMultistepScheduler, {"use_lu_lambdas": True, "use_karras_sigmas": True}, "turn one of them off"),
    (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "sde-dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min"},
        "has no solver_order 3",
    ),
    (UniPCMultistepScheduler, {"solver_order": 0}, "solver_order must be"),
    (UniPCMultistepScheduler, {"disable_corrector": [0, "a"]}, "takes a list of whole numbers as disable_corrector"),
    (EulerDiscreteScheduler, {"sigma_min": 9.0, "sigma_max": 1.0}, "sigma_min must be below sigma_max, got 9 and 1"),
    (EDMEulerScheduler, {"rho": 0}, "takes a number as rho, from 0.1 to 100"),
    (CalibratedMultistepScheduler, {"calibration": 3}, "a calibration is a list of steps"),
    (UniPCMultistepScheduler, {"lower_order_final": False}, "set final_sigmas_type to 'sigma_min'"),
]


@pytest.mark.parametrize(("cls", "config", "message"), BAD_CONFIGS)
def test_options_that_cannot_be_honoured_are_refused(cls: Any, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        cls(**config)


BAD_RUNS = [
    (EulerDiscreteScheduler, {}, {}, "takes exactly one of num_inference_steps or timesteps or sigmas; got none"),
    (EulerDiscreteScheduler, {}, {"timesteps": [9, 1], "sigmas": [9, 0]}, "got timesteps and sigmas"),
    (EulerDiscreteScheduler, {}, {"num_inference_steps": 2, "sigmas": [9, 0]}, "got num_inference_steps and sigmas"),
    (EulerDiscreteScheduler, {}, {"timesteps": [1, 9]}, "timesteps must be at least 1 descending"),
    (EulerDiscreteScheduler, {}, {"timesteps": [1000, 9]}, "timesteps must be below num_train_timesteps=1000"),
    (EulerDiscreteScheduler, {}, {"timesteps": [None]}, r"timesteps must be .*descending numbers, .*got \[None\]"),
    (EulerDiscreteScheduler, {}, {"timesteps": "ab"}, r"timesteps must be .*descending numbers, .*got 'ab'"),
    (EulerDiscreteScheduler, {}, {"timesteps": ["9", "1"]}, r"timesteps must be .*descending numbers"),
    (EulerDiscreteScheduler, {}, {"timesteps": [True]}, r"timesteps must be .*descending numbers"),
    (
        FlowMatchEulerDiscreteScheduler,
        {"use_dynamic_shifting": True},
        {"num_inference_steps": 2, "mu": "a"},
        "mu must be a number from -100 to 100, got 'a'",
    ),
    (
        FlowMatchEulerDiscreteScheduler,
        {"use_dynamic_shifting": True},
        {"num_inference_steps": 2, "mu": 1e4},
        "mu must be a number from -100 to 100, got 10000.0",
    ),
    (EulerDiscreteScheduler, {}, {"timesteps": [7] * 999}, r"descending numbers, none below 0, got .{,90}…$"),
    (EulerDiscreteScheduler, {}, {"sigmas": [9.0]}, "sigmas must be at least 2 descending"),
    (EulerDiscreteScheduler, {"use_karras_sigmas": True}, {"timesteps": [9, 1]}, "use_karras_sigmas; turn it off"),
    (DDIMScheduler, {}, {"timesteps": [9, 1]}, "DDIMScheduler takes no custom timesteps; use DDPMScheduler"),
    (DDIMScheduler, {"steps_offset": 1}, {"num_inference_steps": 1000}, "would start at timestep 1000"),
    (PNDMScheduler, {}, {"num_inference_steps": 3}, "needs at least 4 steps"),
    (DPMSolverMultistepScheduler, {"timestep_spacing": "leading"}, {"num_inference_steps": 1000}, "at most 999"),
    (LCMScheduler, {}, {"num_inference_steps": 51}, "at most original_inference_steps x strength = 50"),
    (TCDScheduler, {}, {"num_inference_steps": 5, "strength": 0.0}, "strength must be above 0"),
]


@pytest.mark.parametrize("cls", [DDIMScheduler, EulerDiscreteScheduler])
@pytest.mark.parametrize("method", ["add_noise", "get_velocity"])
@pytest.mark.parametrize("timesteps", [[5000], [-1], [], ["a"], None, [float("nan")]])
def test_noise_of_timesteps_that_there_are_not_is_refused(cls: Any, method: str, timesteps: Any) -> None:
    """NumPy would take the last one for -1."""
    with pytest.raises(ValueError, match=r"timesteps must be|is not one of the") as caught:
        getattr(cls(), method)(noise(), noise(), timesteps)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cls", "config", "run", "message"), BAD_RUNS)
def test_impossible_runs_are_refused(cls: Any, config: dict[str, Any], run: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        cls(**config).set_timesteps(**run)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cls", ALL)
def test_step_before_set_timesteps_goes_through_all_training_timesteps_or_says_what_to_call(cls: Any) -> None:
    scheduler = cls(num_train_timesteps=5)
    if scheduler.needs_set_timesteps:
        with pytest.raises(ValueError, match=r"call .*set_timesteps before step"):
            scheduler.step(noise(), 4, noise())
        return
    x, generator = noise(), np.random.default_rng(0)
    for timestep in scheduler.timesteps:
        x = scheduler.step(0.1 * x, timestep, x, generator=generator).prev_sample
    if cls in KINDS:
        assert scheduler.timesteps.tolist() == [4, 3, 2, 1, 0]
    assert len(scheduler.timesteps) == 5 and np.isfinite(x).all()


def test_misuse_of_step_is_explained() -> None:
    euler, ddim = EulerDiscreteScheduler(), DDIMScheduler(**LATENT, rescale_betas_zero_snr=True)
    euler.set_timesteps(3)
    ddim.set_timesteps(3)
    with pytest.raises(ValueError, match="is not one of the 3 timesteps of this run"):
        euler.step(noise(), 1, noise())
    for timestep in euler.timesteps:
        euler.step(noise(), timestep, noise())
    with pytest.raises(ValueError, match="all 3 steps of this run are done"):
        euler.step(noise(), euler.timesteps[0], noise())
    with pytest.raises(ValueError, match="eta must be from 0 to 1, got 2"):
        ddim.step(noise(), ddim.timesteps[0], noise(), eta=2)
    with pytest.raises(ValueError, match="epsilon prediction says nothing where the sample is pure noise"):
        ddim.step(noise(), 999, noise())
    with pytest.raises(ValueError, match="got 3 for a batch of 2"):
        ddim.step(noise(), 333, noise(), eta=1, generator=[np.random.default_rng(0)] * 3)
    with pytest.raises(ValueError, match="generator or variance_noise, not both"):
        ddim.step(noise(), 333, noise(), eta=1, generator=np.random.default_rng(0), variance_noise=noise())


@pytest.mark.parametrize("name", [name for name, setup in SHORT_NAMES.items() if SCHEDULERS[setup.class_name] in KINDS])
def test_a_scheduler_says_whether_its_steps_draw_noise(name: str) -> None:
    """Two generators lead to two results where they do, and to one where they do not."""

    def run(seed: int) -> np.ndarray:
        scheduler = by_name(name, {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
        scheduler.set_timesteps(4)
        sample = np.ones((1, 4, 2, 2), np.float32)
        takes_noise = "generator" in signature(scheduler.step).parameters
        options = {"generator": np.random.default_rng(seed)} if takes_noise else {}
        for timestep in scheduler.timesteps:
            sample = scheduler.step(sample * np.float32(0.1), timestep, sample, **options).prev_sample
        return sample

    assert by_name(name, {}).draws_noise == (not np.array_equal(run(0), run(1)))


def test_scm_lays_out_one_two_and_more_steps_and_ends_clean() -> None:
    scheduler = SCMScheduler()
    for steps, expected in {1: [1.5708, 0], 2: [1.5708, 1.3, 0], 4: [1.5708, 1.1781, 0.7854, 0.3927, 0]}.items():
        scheduler.set_timesteps(steps)
        np.testing.assert_allclose(scheduler.timesteps, expected, atol=1e-6)
    scheduler.set_timesteps(2)
    x0, epsilon = noise(), noise(seed=1)
    x = scheduler.add_noise(x0, epsilon, scheduler.timesteps[1:2])
    t = float(scheduler.timesteps[1])
    velocity = -np.float32(np.sin(t)) * x0 + np.float32(0.5 * np.cos(t)) * epsilon
    ended = scheduler.step(velocity, scheduler.timesteps[1], x).prev_sample
    np.testing.assert_allclose(ended, x0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"num_inference_steps": 3, "intermediate_timesteps": 1.3}, "intermediate_timesteps is for 2 steps; got 1.3"),
        ({"num_inference_steps": 2, "intermediate_timesteps": 1.6}, "must be between 0 and max_timesteps=1.5708"),
        ({"num_inference_steps": 2, "max_timesteps": 2.0}, "max_timesteps must be above 0 and at most 1.571, got 2.0"),
        (
            {"num_inference_steps": 2, "max_timesteps": None},
            "max_timesteps must be above 0 and at most 1.571, got None",
        ),
        ({"num_inference_steps": 0}, "num_inference_steps must be a whole number from 1"),
        ({"num_inference_steps": 2, "timesteps": [1.5, 0]}, "timesteps must be num_inference_steps + 1 = 3, got 2"),
        ({"timesteps": [1.5, 0], "max_timesteps": 1.5}, "leave the other arguments out"),
        ({"timesteps": [0.3, 1.5]}, "timesteps must be at least 2 descending numbers, none below 0, got [0.3, 1.5]"),
        ({"timesteps": [999, 500, 0]}, "timesteps must be at most 1.571, got 999"),
    ],
)
def test_runs_that_scm_cannot_lay_out_are_refused_in_one_line(arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as refused:
        SCMScheduler().set_timesteps(**arguments)
    assert "\n" not in str(refused.value)


def test_only_scm_walks_trigflow_and_it_walks_nothing_else() -> None:
    assert SCMScheduler().compatibles == [SCMScheduler]
    with pytest.raises(ValueError, match=r"trained on TrigFlow noise levels; use SCMScheduler$"):
        DPMSolverMultistepScheduler.from_config(SCMScheduler().config)
    with pytest.raises(
        ValueError, match=r"SCMScheduler cannot sample .* trained on flow matching noise levels; use DPM"
    ):
        SCMScheduler.from_config(FlowMatchHeunDiscreteScheduler().config)
    with pytest.raises(ValueError, match=r"FlowMatchHeunDiscreteScheduler cannot sample .*; use DPM"):
        FlowMatchHeunDiscreteScheduler.from_config({"use_flow_sigmas": True, "use_dynamic_shifting": True})


@pytest.mark.parametrize("cls", [Scheduler, FlowMatchHeunDiscreteScheduler])
def test_a_class_name_that_is_no_text_is_refused(cls: Any) -> None:
    with pytest.raises(ValueError, match=r"_class_name must be the name of a scheduler's class, got \['Flow"):
        cls.from_config({"_class_name": ["FlowMatchHeunDiscreteScheduler"], "shift": 3.0})


def test_unknown_scheduler_class_lists_the_known_ones() -> None:
    for ask in (lambda: scheduler_class("KarrasVeScheduler"), lambda: Scheduler.from_config({"beta_start": 0.1})):
        with pytest.raises(ValueError, match=r"unknown scheduler class .*; the known ones are DDIMScheduler, .*UniPC"):
            ask()


def test_from_config_refuses_a_path_and_an_unknown_override() -> None:
    with pytest.raises(ValueError, match="use from_pretrained"):
        DDIMScheduler.from_config("some/folder")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has no option algorithm_type"):
        DDIMScheduler.from_config({}, algorithm_type="dpmsolver++")


def test_a_last_timestep_ends_the_run_there_and_brings_the_steps_closer_to_it() -> None:
    scheduler, same = DPMSolverMultistepScheduler(), DPMSolverMultistepScheduler()
    scheduler.last_timestep = 49
    scheduler.set_timesteps(6)
    same.set_timesteps(timesteps=[999, 768, 551, 352, 176, 49])
    assert np.array_equal(scheduler.timesteps, same.timesteps) and np.array_equal(scheduler.sigmas, same.sigmas)
    assert np.array_equal(scheduler.for_run().timesteps, same.timesteps)
    scheduler.last_timestep = 994  # no timestep to spare: one after the other
    scheduler.set_timesteps(6)
    assert scheduler.timesteps.tolist() == [999, 998, 997, 996, 995, 994]
    scheduler.last_timestep = 998
    with pytest.raises(ValueError, match="last_timestep must be from 0 to 994 for 6 steps, got 998"):
        scheduler.set_timesteps(6)
    scheduler = UniPCMultistepScheduler()
    scheduler.last_timestep = 50
    with pytest.raises(ValueError, match=r"UniPCMultistepScheduler takes no last_timestep; use .*DPMSolverMultistep"):
        scheduler.set_timesteps(6)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_arrays_of_two_kinds_and_lists_are_refused_in_one_line(cls):
    import mindspore as ms

    array = np.zeros((1, 4, 2, 2), np.float32)
    scheduler = cls()
    scheduler.set_timesteps(4)
    timestep = scheduler.timesteps[0]
    mixed = r"^arrays must be of one kind, got a NumPy array as .+, a tensor as .+convert them$"
    with pytest.raises(ValueError, match=mixed):
        scheduler.step(array, timestep, ms.Tensor(array))
    with pytest.raises(ValueError, match=mixed):
        scheduler.add_noise(array, ms.Tensor(array), scheduler.timesteps[:1])
    with pytest.raises(ValueError, match=r"^model_output must be a NumPy array or an ms\.Tensor, got list$"):
        scheduler.step([1.0, 2.0], timestep, array)
