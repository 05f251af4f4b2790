"""Calibrated steps: what they are fitted to, what they are taken with, and where they are refused."""

import itertools

import numpy as np
import pytest

from mindone.diffusers import (
    CalibratedMultistepScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
)
from mindone.diffusers.acceleration.calibration import ReferencePath, fitted, recorded
from mindone.diffusers.schedulers.calibrated import calibrated
from mindone.diffusers.schedulers.calibration_rows import parse_rows, row_texts
from tiny_pipelines import PROMPT, checkpoint, load

ROWS = [[801, 0.7, 0.3], [401, 0.5, 0.7, -0.1], [51, 0.1, 1.2, -0.3, 0.05]]
SIZE = 64


@pytest.fixture(scope="module")
def pipe():
    return load(checkpoint("bk_sdm"))


def noise(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def latents_of(pipe, scheduler, steps, prompt=PROMPT, seed=0, size=SIZE):
    before, pipe.scheduler = pipe.scheduler, scheduler
    try:
        output = pipe(prompt, size, size, steps, generator=noise(seed), output_type="latent")
        return pipe.engine.numpy(output.images)
    finally:
        pipe.scheduler = before


def steps_taken(scheduler, steps, samples):
    """The samples that a scheduler makes of made-up predictions."""
    scheduler.set_timesteps(steps)
    x, seen = samples[0], []
    for timestep, prediction in zip(scheduler.timesteps, samples[1:]):
        x = scheduler.step(prediction, timestep, x).prev_sample
        seen.append(x)
    return np.stack(seen)


@pytest.fixture
def samples():
    return noise().standard_normal((4, 1, 4, 8, 8), np.float32)


def test_without_a_calibration_it_is_dpm_solver(samples):
    plain, ours = DPMSolverMultistepScheduler(), CalibratedMultistepScheduler()
    assert np.array_equal(steps_taken(ours, 3, samples), steps_taken(plain, 3, samples))


def test_a_step_is_the_weighted_sum_of_the_sample_and_the_predictions_so_far(samples):
    scheduler = CalibratedMultistepScheduler(prediction_type="sample", calibration=ROWS)
    x, first, second, third = samples
    a = 0.7 * x + 0.3 * first
    b = 0.5 * a + 0.7 * second - 0.1 * first
    c = 0.1 * b + 1.2 * third - 0.3 * second + 0.05 * first
    assert np.allclose(steps_taken(scheduler, 3, samples), np.stack([a, b, c]), atol=1e-6)
    assert scheduler.timesteps.tolist() == [801, 401, 51]


def test_the_weights_of_a_solver_are_that_solver(samples):
    solver = DPMSolverMultistepScheduler(solver_order=1)
    solver.set_timesteps(3)
    rows, alphas = [], [1 / np.sqrt(sigma**2 + 1) for sigma in solver.sigmas]
    levels = [(alpha, alpha * sigma) for alpha, sigma in zip(alphas, solver.sigmas)]
    for i, ((alpha, sigma), (alpha_after, sigma_after)) in enumerate(itertools.pairwise(levels)):
        kept = sigma_after / sigma
        rows.append([int(solver.timesteps[i]), kept, alpha_after - alpha * kept, *[0.0] * i])
    ours = CalibratedMultistepScheduler(calibration=rows)
    assert np.allclose(steps_taken(ours, 3, samples), steps_taken(solver, 3, samples), atol=1e-5)


def test_fitting_finds_the_weights_that_made_a_path(pipe):
    made = CalibratedMultistepScheduler.from_config(pipe.scheduler.config, calibration=ROWS)
    pipe.scheduler, before = made, pipe.scheduler
    options = {"height": SIZE, "width": SIZE, "num_inference_steps": 3, "output_type": "latent"}
    output, path = recorded(pipe, [PROMPT], **options, generator=noise())
    pipe.scheduler = before
    found, latents = fitted(pipe, path, [801, 401, 51], [PROMPT], height=SIZE, width=SIZE, generator=noise())
    assert path.first == 801 and list(path.samples) == [401, 51, -1]
    assert np.array_equal(path.samples[-1], pipe.engine.numpy(output.images))
    assert np.allclose(latents_of(pipe, found, 3), path.samples[-1], rtol=1e-3, atol=2e-3)
    assert np.allclose(latents_of(pipe, found, 3), pipe.engine.numpy(latents), atol=1e-4)


@pytest.mark.heavy
def test_five_calibrated_steps_come_closer_to_many_than_a_solver_s_also_with_other_prompts():
    pipe = load("icons", mindspore_dtype="float32")
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    ours = pipe.calibrated_scheduler(5, ["a red apple"], height=128, width=128, reference_steps=40)
    solver = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    solver.last_timestep = 50
    prompt, seed = "a rocket on a blue background", 3

    def error(scheduler):
        return np.mean((latents_of(pipe, scheduler, 5, prompt, seed, 128) - many) ** 2)

    many = latents_of(pipe, pipe.scheduler, 40, prompt, seed, 128)
    assert error(ours) < 0.7 * error(solver)


@pytest.mark.heavy
def test_a_calibrated_scheduler_is_saved_with_its_pipeline_and_works_on_mindspore(pipe, tmp_path):
    scheduler = CalibratedMultistepScheduler.from_config(pipe.scheduler.config, calibration=ROWS)
    scheduler.save_pretrained(tmp_path)
    again = CalibratedMultistepScheduler.from_pretrained(tmp_path)
    expected = latents_of(pipe, scheduler, 3)
    assert np.array_equal(latents_of(pipe, again, 3), expected)
    other = DiffusionPipeline.from_pretrained(checkpoint("bk_sdm"), engine="mindspore")
    other.set_progress_bar_config(disable=True)
    assert np.allclose(latents_of(other, again, 3), expected, atol=1e-3)


def test_a_checkpoint_of_another_solver_is_calibrated_all_the_same():
    config = DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", final_sigmas_type="sigma_min").config
    assert calibrated(config, ROWS).calibration == ROWS


def test_rows_are_texts_and_back():
    assert row_texts(ROWS)[0] == "801:0.7:0.3"
    assert [list(row) for row in parse_rows(row_texts(ROWS))] == ROWS
    with pytest.raises(ValueError, match="TIMESTEP:WEIGHT:WEIGHT…, all numbers"):
        parse_rows(["801:much"])
    with pytest.raises(ValueError, match="all numbers") as refusal:
        parse_rows(["801:" + "[" * 3000])
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize(
    "rows, message",
    [
        ([[801, 0.7]], "step 1 of a calibration is a timestep and 2 weights"),
        ([[801, 0.7, float("nan")]], "step 1 of a calibration is a timestep and 2 weights"),
        ([[401, 0.7, 0.3], [801, 0.5, 0.7, 0.1]], "timesteps are falling whole numbers"),
        ([[1000, 0.7, 0.3]], "numbers from 0 to 999"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        CalibratedMultistepScheduler(calibration=rows)


def test_other_steps_than_the_calibrated_ones_are_refused(samples):
    scheduler = CalibratedMultistepScheduler(calibration=ROWS)
    with pytest.raises(ValueError, match="calibrated for num_inference_steps=3, got 25"):
        scheduler.set_timesteps(25)
    with pytest.raises(ValueError, match=r"calibrated at timesteps .*801, 401, 51.*; it takes no others"):
        scheduler.set_timesteps(timesteps=[700, 300, 20])
    scheduler.set_timesteps(3)
    with pytest.raises(ValueError, match="taken from noise on, all of them; step 2 came after 0"):
        scheduler.step(samples[1], 401, samples[0])
    with pytest.raises(ValueError, match="ends at final_sigmas_type 'zero', got 'dpmsolver\\+\\+' and 'sigma_min'"):
        CalibratedMultistepScheduler(calibration=ROWS, final_sigmas_type="sigma_min")


def test_what_cannot_be_calibrated_is_refused(pipe):
    with pytest.raises(ValueError, match="num_inference_steps must be at least 2 to be calibrated, got 1"):
        pipe.calibrated_scheduler(1)
    with pytest.raises(ValueError, match="prompts must be a list of texts, got 'a dog'"):
        pipe.calibrated_scheduler(4, "a dog")
    with pytest.raises(ValueError, match="a reference of 3 steps is too short to calibrate 3 steps"):
        ReferencePath(801, {401: samples, 101: samples, -1: samples}).timesteps(3, 400)


def test_a_calibrated_scheduler_becomes_another_one_and_back():
    scheduler = CalibratedMultistepScheduler(calibration=ROWS)
    euler = EulerDiscreteScheduler.from_config(scheduler.config)
    assert CalibratedMultistepScheduler.from_config(euler.config).calibration == ROWS
