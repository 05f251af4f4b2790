"""A scheduler that one file declares works everywhere: no other file knows it. CONTRIBUTING's recipe, followed."""

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mindone.diffusers import PNDMScheduler, bench, cli
from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.jobs.infotext import format_infotext, parse_infotext
from mindone.diffusers.jobs.profile import Settings
from mindone.diffusers.schedulers import (
    SHORT_NAMES,
    Scheduler,
    SchedulerOutput,
    ShortName,
    by_name,
    configured,
    scheduler_class,
)
from mindone.diffusers.schedulers.options import NOISE_SCHEDULE, SPACING, fields
from mindone.diffusers.schedulers.variance_preserving import VariancePreserving
from mindone.diffusers.tune.pipeline import tune
from tiny_pipelines import checkpoint, images_of, load as load_tiny, sharing


def declare() -> type[Scheduler]:
    """The scheduler: predicts the clean sample, and jumps half of the way there."""

    class ToyScheduler(VariancePreserving):
        defaults = fields(NOISE_SCHEDULE, SPACING, jump=0.5)
        short_names = (ShortName("toy", "Toy sampler"), ShortName("toy-far", options={"jump": 0.9}))
        draws_noise = True

        def step(self, model_output, timestep, sample, generator=None, return_dict=True):
            x0, jump = self.predict_original(model_output, timestep, sample), self._options["jump"]
            output = SchedulerOutput((1 - jump) * sample + jump * x0, x0)
            return output if return_dict else output.to_tuple()

    return ToyScheduler


@pytest.fixture
def toy() -> Iterator[type[Scheduler]]:
    yield declare()
    del configured.CLASSES["ToyScheduler"]
    for name in ("toy", "toy-far"):
        del SHORT_NAMES[name]


def test_it_has_names_options_and_a_noise_schedule(toy):
    own = PNDMScheduler(beta_end=0.012)
    scheduler = by_name("toy-far", own.config)
    assert type(scheduler) is toy is scheduler_class("ToyScheduler") is type(Scheduler.from_config(scheduler.config))
    assert (scheduler.config.jump, scheduler.config.beta_end) == (0.9, 0.012)
    assert scheduler.schedule.kind == "discrete" and toy in own.compatibles
    assert "jump" in inspect.signature(toy).parameters
    with pytest.raises(ValueError, match=r"ToyScheduler cannot sample .* flow matching noise levels; use DPMSolver"):
        by_name("toy", {"_class_name": "FlowMatchEulerDiscreteScheduler"})
    with pytest.raises(ValueError, match=r"which was trained on discrete noise levels; use .*ToyScheduler"):
        by_name("flow-euler", own.config)


@pytest.mark.heavy
def test_a_pipeline_draws_with_it_and_is_saved_and_loaded_with_it(toy, tmp_path):
    pipe = sharing("bk_sdm")
    pipe.scheduler = by_name("toy", pipe.scheduler.config)
    pipe.save_pretrained(tmp_path)
    loaded = load_tiny(tmp_path)
    assert type(loaded.scheduler) is toy
    np.testing.assert_array_equal(images_of(loaded), images_of(pipe))


def test_jobs_pictures_profiles_and_the_bench_know_it(toy):
    job = Job(prompt="a cat", model=checkpoint("bk_sdm"), steps=2, scheduler="toy", engine="openvino", dtype="float32")
    assert draw(load(job), job)[0].size == (64, 64)
    assert Job.from_json(job.to_json()) == job
    text = format_infotext({"prompt": "a cat", "steps": 2, "seed": 1, "scheduler": "toy"})
    assert "Sampler: Toy sampler" in text and parse_infotext(text)["scheduler"] == "toy"
    assert Settings(scheduler="toy").words.startswith("25 toy steps")
    assert bench.Options(scheduler="toy").scheduler == "toy"
    with pytest.raises(ValueError, match=r"scheduler must be 'ddim', .* in all.*got 'toys'"):
        Job(prompt="a cat", scheduler="toys")
    assert "toy" in Job.model_json_schema()["properties"]["scheduler"]["anyOf"][0]["enum"]


def test_tune_refuses_it_because_it_says_that_it_draws_noise(toy):
    pipe = sharing("bk_sdm")
    pipe.scheduler = by_name("toy", pipe.scheduler.config)
    with pytest.raises(ValueError, match="ToyScheduler draws new noise at every step"):
        tune(pipe)


def test_the_server_lists_it_and_takes_it(toy):
    pytest.importorskip("fastapi", reason="the [serve] extra is not installed")
    from mindone.diffusers.server.webui_fields import Overrides, Txt2Img
    from mindone.diffusers.server.webui_lists import samplers

    listed = {each["name"] for each in json.loads(bytes(asyncio.run(samplers()).body))}
    assert {"Toy sampler", "toy-far"} <= listed
    assert Txt2Img(sampler_name="toy sampler").job_fields(Overrides())["scheduler"] == "toy"


def test_the_command_line_draws_with_it_in_a_process_that_has_declared_it(toy, tmp_path):
    words = ["a cat", "--model", str(checkpoint("bk_sdm")), "--steps", "2", "--engine", "openvino", "-o"]
    done = CliRunner().invoke(cli.main, ["generate", *words, str(tmp_path / "a.png"), "--scheduler", "toy"])
    assert done.exit_code == 0, done.output
    printed = CliRunner().invoke(cli.main, ["info", str(tmp_path / "a.png")]).output
    assert "--scheduler toy" in printed


@pytest.mark.heavy
def test_help_lists_it():
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_toy_scheduler as toys\n"
    script += "toys.declare(); toys.cli.main(['generate', '--help'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "toy, toy-far;" in " ".join(done.stdout.split())
