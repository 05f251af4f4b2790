"""Checkpoints that name a scheduler which is not here load, and are drawn with another."""

import json
from pathlib import Path

import numpy as np
import pytest

import checkpoints
from mindone.diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.schedulers.absent import AbsentScheduler
from mindone.diffusers.schedulers.short_names import by_name

PROMPT = {"prompt": "a cat", "num_inference_steps": 2, "output_type": "np"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = checkpoints.tiny("sd1", tmp_path / "sd1")
    change(folder / "model_index.json", scheduler=["diffusers", "DPMSolverSDEScheduler"])
    change(folder / "scheduler" / "scheduler_config.json", _class_name="DPMSolverSDEScheduler")
    return folder


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_it_loads_and_its_config_makes_another_scheduler(folder: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    assert isinstance(pipe.scheduler, AbsentScheduler)
    with pytest.raises(ValueError, match=r"checkpoint's 'DPMSolverSDEScheduler' is not here; use --scheduler") as error:
        pipe(**PROMPT)
    assert "ddim, ddpm, dpm++" in str(error.value) and "as in dpm++-karras" in str(error.value)
    assert "flow" not in str(error.value) and "scm" not in str(error.value)  # they sample other networks
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert pipe.scheduler.config.beta_end == 0.012
    given = StableDiffusionPipeline.from_pretrained(folder, scheduler=pipe.scheduler)
    images = [each(**PROMPT, generator=[np.random.default_rng(0)]).images for each in (pipe, given)]
    np.testing.assert_array_equal(*images)


def test_only_samplers_of_the_checkpoints_noise_levels_are_offered() -> None:
    flow = AbsentScheduler({"_class_name": "FlowMatchLCMScheduler", "shift": 3.0})
    with pytest.raises(ValueError, match=r"one of .*flow-euler, flow-heun.*; most also with -karras") as error:
        flow.set_timesteps(2)
    assert "ddim" not in str(error.value)
    with pytest.raises(ValueError, match=r"with one of scm$"):
        AbsentScheduler({"_class_name": "SCMOtherScheduler"}).set_timesteps(2)
    with pytest.raises(ValueError, match=r"unknown scheduler 'euler2'; choose one of .*flow-euler") as error:
        by_name("euler2", {"_class_name": "FlowMatchEulerDiscreteScheduler"})
    assert "ddim" not in str(error.value)


def test_a_job_names_another_scheduler(folder: Path) -> None:
    job = Job(prompt="a cat", model=str(folder), steps=2, seed=0, scheduler="dpm++-karras", dtype="float32")
    pipe = load(job.pipeline_key)
    assert len(draw(pipe, job)) == 1
    with pytest.raises(ValueError, match="DPMSolverSDEScheduler' is not here"):
        draw(pipe, job.changed(scheduler=None))


def test_an_index_that_names_another_scheduler_than_its_config_is_the_one_at_fault(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", "PNDMSchedulerPNDMScheduler"])
    change(folder / "scheduler" / "scheduler_config.json", _class_name="PNDMScheduler")
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    with pytest.raises(
        ValueError, match=r"model_index.json: scheduler names .* says PNDMScheduler; correct model_index"
    ):
        pipe(**PROMPT)


def test_it_is_saved_as_it_was(folder: Path, tmp_path: Path) -> None:
    StableDiffusionPipeline.from_pretrained(folder).save_pretrained(tmp_path / "saved")
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        before, after = (json.loads((root / name).read_text()) for root in (folder, tmp_path / "saved"))
        assert after == before if "/" in name else after["scheduler"] == before["scheduler"]


def test_what_is_no_scheduler_is_still_refused(folder: Path) -> None:
    change(folder / "model_index.json", scheduler=["diffusers", "Sampler"])
    with pytest.raises(ValueError, match="scheduler is a Sampler, which is not supported"):
        StableDiffusionPipeline.from_pretrained(folder)
    change(folder / "model_index.json", scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"])
    change(folder / "scheduler" / "scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler", shift=3.0)
    pipe = StableDiffusionPipeline.from_pretrained(folder)
    with pytest.raises(ValueError, match="trained on flow matching noise levels"):
        EulerDiscreteScheduler.from_config(pipe.scheduler.config)
