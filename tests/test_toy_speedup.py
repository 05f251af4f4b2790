"""A speed-up that one file declares works everywhere: no other file knows it. CONTRIBUTING's recipe, followed."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mindone.diffusers import bench, cli
from mindone.diffusers.acceleration.speedup import CACHES, Cache, declare, number
from mindone.diffusers.acceleration.stack import parse_cache
from mindone.diffusers.batch import make_jobs
from mindone.diffusers.batch.rows import read_rows
from mindone.diffusers.bench.tables import make_plan
from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.jobs.applied import fingerprint
from mindone.diffusers.jobs.png import read_job, save_png
from mindone.diffusers.jobs.profile import Profile, Settings, load_profile
from mindone.diffusers.tune.candidates import Candidate, Space
from mindone.diffusers.tune.prior import expected_psnr
from mindone.diffusers.tune.seeds import first_seeds
from tiny_pipelines import checkpoint, images_of, sharing

PNG = {"model": str(checkpoint("bk_sdm")), "steps": 4, "engine": "openvino", "dtype": "float32", "seed": 0}


def declare_toy() -> type[Cache]:
    """The speed-up: asks the network at every N-th step, and repeats what it said at the steps in between."""

    @declare
    @dataclass(frozen=True)
    class ToyCacheConfig(Cache):
        every: int = number(2, 1, 8, word="EVERY", tried=(2, 3))

        name = "toy"
        kind = "steps"
        form = ("every",)
        usual = "2"

        def check(self, run):
            if self.every >= run.steps:
                raise ValueError(f"toy:{self.every} needs a run of more than {self.every} steps, got {run.steps}")

        def predictor(self, inner, run):
            return Repeating(self.every, inner)

        def expected_psnr(self, steps):
            return 30.0

    return ToyCacheConfig


class Repeating:
    """A predictor that asks the network at every N-th step."""

    def __init__(self, every, inner):
        self.every, self.inner = every, inner

    def predict(self, latents, step):
        if step.index % self.every == 0:
            self.noise = self.inner.predict(latents, step)
        return self.noise


@pytest.fixture
def toy() -> Iterator[type[Cache]]:
    yield declare_toy()
    del CACHES["toy"]


@pytest.fixture
def plain() -> np.ndarray:
    return pixels(Job(prompt="a cat", **PNG))


def pixels(job: Job) -> np.ndarray:
    return np.asarray(draw(load(job), job)[0])


def test_it_has_a_text_a_range_and_a_check(toy):
    assert parse_cache("toy:3") == toy(3) and toy(3).text == "toy:3"
    with pytest.raises(ValueError, match=r"cache 'toy:9': every must be .* at most 8, got 9"):
        parse_cache("toy:9")
    with pytest.raises(ValueError, match="both cache steps"):
        Job(prompt="a cat", cache=("toy:2", "spectrum"))


def test_a_pipeline_draws_with_it(toy):
    pipe = sharing("bk_sdm")
    without = images_of(pipe)
    pipe.caches = (toy(1),)
    np.testing.assert_array_equal(images_of(pipe), without)
    pipe.caches = (toy(8),)
    with pytest.raises(ValueError, match="toy:8 needs a run of more than 8 steps"):
        pipe("a cat", num_inference_steps=4)


def test_a_job_a_picture_and_a_profile_carry_it(toy, plain, tmp_path):
    job = Job(prompt="a cat", cache=("toy:2",), **PNG)
    pipe = load(job)
    (image,) = draw(pipe, job)
    assert (np.asarray(image) != plain).any() and Job.from_json(job.to_json()) == job
    save_png(image, tmp_path / "a.png", job, {})
    assert read_job(tmp_path / "a.png") == job
    settings = Settings(steps=4, scheduler="ddim", dtype="float32", cache=job.cache)
    profile = Profile(checkpoint=job.model, fingerprint=fingerprint(pipe), height=64, width=64, settings=settings)
    profile.save(tmp_path / "toy.json")
    assert load_profile(tmp_path / "toy.json") == profile and settings.words == "4 ddim steps, toy:2, float32"
    assert profile.on(pipe).caches == (toy(2),) and pipe.caches is None


def test_the_command_line_draws_with_it(toy, tmp_path):
    words = ["a cat", "--model", PNG["model"], "--steps", "4", "--engine", "openvino", "-o", str(tmp_path / "a.png")]
    done = CliRunner().invoke(cli.main, ["generate", *words, "--cache", "toy:2"])
    assert done.exit_code == 0, done.output
    assert "--cache toy:2" in CliRunner().invoke(cli.main, ["info", str(tmp_path / "a.png")]).output


@pytest.mark.heavy
def test_help_names_it():
    script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_toy_speedup as toys\n"
    script += "toys.declare_toy(); toys.cli.main(['generate', '--help'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    printed = " ".join(done.stdout.split())
    assert "taylorseer:INTERVAL:ORDER:FIRST or toy:EVERY" in printed and "easycache" not in printed


def test_a_row_of_a_batch_asks_for_it(toy, tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,cache\na cat,toy:2\n")
    (job,) = make_jobs(read_rows(tmp_path / "rows.csv"), {}, {})
    assert job.cache == ("toy:2",)


def test_the_server_offers_it_in_a_profile(toy, plain, tmp_path):
    pytest.importorskip("fastapi", reason="the [serve] extra is not installed")
    from mindone.diffusers.server.profiles import offers

    settings = Settings(steps=4, cache=("toy:2",))
    Profile(checkpoint=PNG["model"], fingerprint="", height=64, width=64, settings=settings).save(
        tmp_path / "fast.json"
    )
    offer = offers({"fast": str(tmp_path / "fast.json")}, {"tiny": PNG["model"]})["fast"]
    job = Job.of({**offer.profile.job_fields(), "prompt": "a cat", "engine": "openvino"})
    assert job.stack[0].caches == (toy(2),)


def test_the_bench_has_a_row_for_it(toy, tmp_path):
    plan = make_plan(bench.Options(table="1", steps=20, cache=("toy:2",)), tmp_path)
    setup = plan.tables[0].setups[0]
    assert setup.job.caches == (toy(2),) and setup.warm_up.steps == 12


def test_tune_tries_it(toy):
    space = Space(branches=1)
    assert [each for each in space.caches["steps"] if isinstance(each, toy)] == [toy(2), toy(3)]
    assert any(toy(2) in seed.caches for seed in first_seeds("float16"))
    cached = Candidate(caches=(toy(2),))
    assert cached in set(space.neighbours(Candidate()))
    assert Candidate(caches=(toy(3),)) in set(space.neighbours(cached))
    assert space.settings(cached).cache == ("toy:2",) and expected_psnr(cached) < 30 < expected_psnr(Candidate())
