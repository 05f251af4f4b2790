"""Profiles: files that say which speed-ups to use, on a pipeline, in `generate` and in `bench`."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner

from mindone.diffusers import WeightOnlyConfig, bench, cli
from mindone.diffusers.acceleration.weights import quantize_weights
from mindone.diffusers.bench.tables import make_plan
from mindone.diffusers.engines.binding import stored
from mindone.diffusers.jobs import applied
from mindone.diffusers.jobs.applied import another_checkpoint, fingerprint
from mindone.diffusers.jobs.png import read_job
from mindone.diffusers.jobs.profile import Profile, Settings, load_profile, save_under_name
from mindone.diffusers.loading.int8 import Int8Tensor
from mindone.diffusers.tune.stacks import Stacks
from tiny_pipelines import PROMPT, checkpoint, load, tiny_autoencoder_folder

SIZE = 64


@pytest.fixture(scope="module")
def pipe():
    return load(checkpoint("sd1"))


def profile_of(pipe, **settings):
    """A profile of the tiny checkpoint with every kind of setting."""
    usual = {"steps": 4, "cache": ("deepcache:2",), "int8": True, "tiny_vae": str(tiny_autoencoder_folder())}
    return Profile(
        checkpoint=str(checkpoint("sd1")),
        fingerprint=fingerprint(pipe),
        height=SIZE,
        width=SIZE,
        settings=Settings(**{**usual, **settings}),
    )


def drawn(pipe, **options):
    return pipe(PROMPT, SIZE, SIZE, generator=np.random.default_rng(0), output_type="np", **options).images


@pytest.mark.heavy
def test_a_profile_goes_on_and_comes_off_bit_for_bit(pipe):
    before = drawn(pipe, num_inference_steps=4)
    profile = profile_of(pipe)
    pipe.apply_profile(profile)
    once = drawn(pipe)
    pipe.apply_profile(profile)
    assert pipe.profile == profile and np.array_equal(drawn(pipe), once) and not np.array_equal(once, before)
    pipe.apply_profile(None)
    assert pipe.profile is None and np.array_equal(drawn(pipe, num_inference_steps=4), before)


def test_a_call_s_own_arguments_come_before_the_profile_s(pipe):
    pipe.apply_profile(profile_of(pipe, int8=False, tiny_vae=None, cache=()))
    seen = []
    drawn(pipe, num_inference_steps=3, callback_on_step_end=lambda pipe, step, time, tensors: seen.append(step))
    assert seen == [0, 1, 2]
    pipe.apply_profile(None)


def test_a_profile_is_read_as_it_was_written(pipe, tmp_path):
    profile = profile_of(pipe, guidance_interval=(0.0, 0.5))
    profile.save(tmp_path / "fast.json")
    assert load_profile(tmp_path / "fast.json") == profile


def test_a_profile_is_saved_under_a_name(pipe, tmp_path, monkeypatch):
    monkeypatch.setenv("MINDONE_PROFILES", str(tmp_path))
    save_under_name(profile_of(pipe), "fast", "owner/name")
    assert load_profile("fast", "owner/name") == profile_of(pipe)
    with pytest.raises(FileNotFoundError, match="no profile 'slow' is saved for owner/name; saved are fast"):
        load_profile("slow", "owner/name")
    with pytest.raises(ValueError, match="a profile's name may have only letters"):
        load_profile("../fast", "owner/name")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 2}, "is a profile of format 2 and this version reads up to 1: update mindone-diffusers"),
        ({"settings": {"stepz": 4}}, "unknown field 'stepz'; did you mean 'steps'"),
        ({"settings": {"cache": ["deepcash:2"]}}, "unknown cache 'deepcash:2'"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"height": 10**9}, "height must be less than or equal to 32768, got 1000000000"),
        ({"settings": {"steps": 10**9}}, "steps must be less than or equal to 1000, got 1000000000"),
        ({"settings": {"cache": ["deepcache:2"] * 65}}, "cache must have at most 64 items"),
        ({"settings": {"tiny_vae": "\ud800"}}, r"with LC_ALL=C.UTF-8), got '\ud800'"),
        ({"checkpoint": "\ud800"}, r"with LC_ALL=C.UTF-8), got '\ud800'"),
        ({"settings": 3}, "is no profile: it must be a JSON object with settings"),
    ],
)
def test_a_profile_that_cannot_be_used_is_told_in_one_line(pipe, tmp_path, change, message):
    path = tmp_path / "fast.json"
    path.write_text(json.dumps({**profile_of(pipe).model_dump(mode="json"), **change}))
    result = CliRunner().invoke(cli.main, ["generate", PROMPT, "--profile", str(path)])
    assert result.exit_code == 1 and message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_another_checkpoint_machine_and_size_are_warned_of(pipe, caplog, monkeypatch):
    profile = profile_of(pipe, int8=False, tiny_vae=None).model_copy(
        update={"fingerprint": "0", "instruction_sets": ("amx_int8",), "machine": {"cpu": "Some CPU"}, "height": 128}
    )
    monkeypatch.setattr(applied, "instruction_sets", lambda: ())
    with caplog.at_level(logging.WARNING, "mindone.diffusers"):
        pipe.apply_profile(profile)
        drawn(pipe)
        drawn(pipe)
    pipe.apply_profile(None)
    texts = [record.getMessage() for record in caplog.records]
    assert "has other weights" in texts[0] and "tune again" in texts[0]
    assert texts[1].startswith("the profile was measured on Some CPU, and this one has no amx_int8")
    assert texts[2].startswith(f"the profile was measured for {SIZE}×128 pixels and this is {SIZE}×{SIZE}")
    assert len(texts) == 3  # a size is warned of once


def test_a_profile_knows_the_model_whose_weights_were_rounded(tmp_path, caplog):
    pipe = load(checkpoint("sd1"))
    profile = profile_of(pipe, int8=False)
    quantize_weights(pipe, WeightOnlyConfig(group_size=8, components_to_quantize=("denoiser",)), at_once=False)
    pipe.save_pretrained(tmp_path)
    again = load(tmp_path)
    with caplog.at_level(logging.WARNING):
        again.apply_profile(profile)
    (text,) = [message for message in caplog.messages if "measured on" in message]
    assert "is that model with rounded weights" in text and "other weights" not in text
    assert another_checkpoint(profile_of(again, int8=False), again) is None


def test_generate_draws_with_a_profile_and_what_is_typed_comes_first(pipe, tmp_path):
    path, output = tmp_path / "fast.json", tmp_path / "image.png"
    profile_of(pipe, int8=False).save(path)
    words = ["generate", PROMPT, "--profile", str(path), "--steps", "3", "--seed", "1", "-o", str(output)]
    result = CliRunner().invoke(cli.main, words)
    assert result.exit_code == 0, result.output
    job = read_job(output)
    assert (job.steps, job.cache, job.height, job.seed) == (3, ("deepcache:2",), SIZE, 1)
    assert job.model == str(checkpoint("sd1")) and job.tiny_vae == str(tiny_autoencoder_folder())


def test_a_profile_names_the_variant_of_its_own_model_alone(pipe):
    profile = profile_of(pipe).model_copy(update={"variant": "fp16"})
    other = str(checkpoint("bk_sdm"))
    distilled = profile.settings.model_copy(update={"distilled": other})
    assert (
        profile.job_fields()["variant"] == profile.job_fields_with({"model": profile.checkpoint})["variant"] == "fp16"
    )
    assert profile.job_fields_with({"model": "icons"})["variant"] is None
    assert profile.job_fields_with({"variant": "bf16"})["variant"] == "bf16"
    assert profile.model_copy(update={"settings": distilled}).job_fields()["variant"] is None


def test_bench_sets_a_profile_beside_the_baseline(pipe, tmp_path):
    profile_of(pipe).save(tmp_path / "fast.json")
    (table,) = make_plan(bench.Options(profile=str(tmp_path / "fast.json"), steps=4), tmp_path).tables
    baseline, row = table.setups
    assert row.name == "profile fast" and row.job.int8 and row.job.cache == ("deepcache:2",)
    assert baseline.job.scheduler == "dpm++" and not baseline.job.int8 and baseline.job.dtype == "float16"
    assert row.tiny_vae is not None and {each.job.height for each in table.setups} == {SIZE}


def test_calibrated_steps_go_on_with_the_profile_and_yield_to_what_is_typed(pipe):
    rows = ("801:0.7:0.3", "51:0.5:0.7:-0.1")
    plain = {"steps": 2, "cache": (), "int8": False, "tiny_vae": None}
    profile = profile_of(pipe, **plain, calibration=rows)
    before = drawn(pipe, num_inference_steps=2)
    pipe.apply_profile(profile)
    assert type(pipe.scheduler).__name__ == "CalibratedMultistepScheduler"
    assert not np.array_equal(drawn(pipe), before)
    pipe.apply_profile(None)
    assert np.array_equal(drawn(pipe, num_inference_steps=2), before)
    assert profile.job_fields_with({"steps": 2})["calibration"] == rows
    yielding = profile.job_fields_with({"steps": 6})
    assert yielding["calibration"] == () and yielding["last_timestep"] == 51 and yielding["steps"] == 6
    other = profile.job_fields_with({"scheduler": "unipc"})  # which takes no last timestep
    assert other["calibration"] == () and other["last_timestep"] is None


def test_int8_weights_are_made_once_for_all_precisions_and_tokens(pipe):
    stacks, own = Stacks(pipe), Settings(steps=4, int8=True, dtype="float32")
    networks = [
        stacks.network(each, "unet") for each in (own, own.changed(dtype="float16"), own.changed(token_downsampling=2))
    ]
    assert len({id(network) for network in networks}) == 3
    weights = [stored(network.mid_block.resnets[0].conv1.weight) for network in networks]
    assert isinstance(weights[0], Int8Tensor) and all(each is weights[0] for each in weights)


def test_the_networks_of_a_distilled_checkpoint_are_among_those_that_make_room(pipe):
    stacks = Stacks(pipe)
    own = stacks.network(Settings(steps=4, distilled=str(checkpoint("sd2"))), "unet")
    assert own is not pipe.unet and any(each is own for each in stacks.networks())
