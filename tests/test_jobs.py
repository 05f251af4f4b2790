"""Jobs: one description of "draw this" for Python, the command line, PNG files and batches."""

import copy
import csv
import io
import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import Field

from mindone.diffusers import CalibratedMultistepScheduler, cli, schedulers
from mindone.diffusers.cli.options import command_line, options_of
from mindone.diffusers.jobs import Job, Option, PipelineKey, draw, load, run
from mindone.diffusers.jobs.png import read_job, read_parameters, save_png
from tiny_pipelines import checkpoint, load as load_tiny, tiny_autoencoder_folder

CALIBRATION = ("801:0.7:0.3", "201:0.5:0.7:-0.1")


def job(**fields):
    given = {"prompt": "a red cat", "model": checkpoint("bk_sdm"), "steps": 2, "seed": 5, "engine": "openvino"}
    return Job(**{**given, **fields})


# ---- what a job is ---------------------------------------------------------------------------------------------------


def test_a_job_comes_back_from_its_json():
    every = job(
        revision="main",
        variant="fp16",
        config="folder",
        gguf="denoiser-Q4_K_S.gguf",
        tiny_vae=tiny_autoencoder_folder(),
        without=("text_encoder_3",),
        dtype="float32",
        negative_prompt="blue",
        num_images=2,
        height=64,
        width=72,
        guidance_scale=3.5,
        scheduler="euler",
        eta=0.5,
        clip_skip=0,
        int8=True,
        int8_vae=True,
        lora=("style.safetensors:0.8",),
        image="photo.png",
        strength=0.5,
        mask="mask.png",
        mask_fill="blur",
        padding_mask_crop=0,
        control=("canny=photo.png",),
        controlnet=("canny",),
        control_scale=(0.5,),
        true_cfg_scale=2.0,
        guidance_interval=(0.0, 0.5),
        cache=("deepcache:3", "taylorseer"),
        token_downsampling=2,
        prompt_weights=True,
        last_timestep=50,
    )
    enlarged = job(upscale=2.0)  # goes with no picture to start from
    calibrated = job(calibration=CALIBRATION)  # nor does this
    assert every.model_fields_set | enlarged.model_fields_set | calibrated.model_fields_set == set(Job.model_fields)
    for each in (every, enlarged, calibrated):
        assert Job.from_json(each.to_json()) == each
    assert json.loads(every.to_json())["clip_skip"] == 0


def test_what_is_unset_is_left_out_of_the_json():
    assert Job(prompt="x", seed=0).to_dict() == {
        "model": "icons",
        "dtype": "float16",
        "prompt": "x",
        "seed": 0,
        "num_images": 1,
    }


def test_a_seed_is_drawn_once():
    first, second = Job(prompt="x"), Job(prompt="x")
    assert first.seed != second.seed and Job.from_json(first.to_json()) == first


def test_jobs_of_one_pipeline_have_equal_keys():
    keys = {job().pipeline_key, job(prompt="another", scheduler="euler", height=72).pipeline_key}
    assert len(keys) == 1 and type(keys.pop()) is PipelineKey
    assert job(dtype="float32").pipeline_key != job().pipeline_key


def test_a_job_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        job().steps = 3
    assert job().changed(steps=3, negative_prompt=None) == job(steps=3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stpes": 3}, "unknown field 'stpes'; did you mean 'steps'?"),
        ({"weather": 3}, "unknown field 'weather'; choose from model, revision, variant"),
        ({"prompt": None}, "prompt must be a valid string, got None"),
        ({"steps": 0}, "steps must be greater than or equal to 1, got 0"),
        ({"steps": "many"}, "steps must be a valid integer, got 'many'"),
        ({"lora": ["a.safetensors"] * 65}, "lora must have at most 64 items"),
        (
            {"model": "\ud800"},
            r"model must be text that UTF-8 can write (a terminal's is, with LC_ALL=C.UTF-8), got '\ud800'",
        ),
        ({"clip_skip": 10**30}, "clip_skip must be less than or equal to 1000, got 1000"),
        ({"control_scale": (0.5,)}, "control_scale needs control, the picture whose weight it is"),
        ({"seed": -1}, "seed must be greater than or equal to 0, got -1"),
        ({"dtype": "int8"}, "dtype must be 'float32', 'float16' or 'bfloat16', got 'int8'"),
        ({"scheduler": "dimd"}, "scheduler must be 'ddim', 'ddpm', "),
        ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number, got inf"),
        ({"cache": ("guidance:3",), "guidance_scale": 1.0}, "cache guidance:3 has no effect at guidance_scale 1,"),
        ({"calibration": ("801:x",)}, "a calibrated step is TIMESTEP:WEIGHT:WEIGHT…, all numbers"),
        ({"calibration": CALIBRATION, "steps": 9}, "calibration has 2 steps and steps is 9; leave steps out"),
        ({"calibration": CALIBRATION, "scheduler": "euler"}, "calibration is for the scheduler dpm++, got 'euler'"),
        ({"calibration": CALIBRATION, "last_timestep": 50}, "calibration sets the last timestep"),
        ({"calibration": CALIBRATION, "upscale": 2.0}, "calibrated steps begin with noise"),
    ],
)
def test_a_wrong_field_is_refused_in_one_line(fields, message):
    with pytest.raises(ValueError) as caught:
        job(**fields)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_flux_is_guided_at_a_built_in_scale_of_1():
    assert job(cache=("guidance:3",), guidance_scale=1.0, true_cfg_scale=3.0).caches


def test_a_prompt_is_needed():
    with pytest.raises(ValueError, match=r"^prompt is missing$"):
        Job.from_json("{}")


@pytest.mark.parametrize(
    ("text", "message"), [("{", "not valid JSON: line 1"), ("[1]", "must be a JSON object of model")]
)
def test_json_that_is_no_job_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        Job.from_json(text)


# ---- the same image from everywhere ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pipe():
    pipe = load(job())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pixels(images):
    return np.stack([np.asarray(image) for image in images])


@pytest.mark.heavy
def test_a_job_draws_what_a_pipeline_s_call_draws(pipe):
    direct = load_tiny(checkpoint("bk_sdm"), mindspore_dtype="float16")
    direct.scheduler = schedulers.EulerDiscreteScheduler.from_config(direct.scheduler.config)
    noise = [np.random.Generator(np.random.PCG64(seed)) for seed in (5, 6)]
    expected = direct(
        "a red cat",
        num_inference_steps=2,
        guidance_scale=3.5,
        negative_prompt="blue",
        height=72,
        width=80,
        clip_skip=1,
        num_images_per_prompt=2,
        generator=noise,
    ).images
    drawn = job(
        num_images=2, scheduler="euler", guidance_scale=3.5, negative_prompt="blue", height=72, width=80, clip_skip=1
    )
    np.testing.assert_array_equal(pixels(draw(pipe, drawn)), pixels(expected))


@pytest.mark.parametrize("prompt_weights", [False, True])
def test_a_latent_consistency_model_is_drawn_with_as_without_a_negative_prompt(prompt_weights, caplog):
    run._warn_once.cache_clear()
    plain = job(model=str(checkpoint("lcm")), dtype="float32", prompt_weights=prompt_weights)
    lcm = load(plain)
    lcm.set_progress_bar_config(disable=True)
    expected = pixels(draw(lcm, plain))
    assert not caplog.messages
    np.testing.assert_array_equal(pixels(draw(lcm, plain.changed(negative_prompt="blue"))), expected)
    assert caplog.messages == ["negative_prompt has no effect on a network with built-in guidance"]


def test_the_command_line_draws_what_the_job_draws(pipe, tmp_path):
    wanted = job(scheduler="euler", guidance_scale=3.5)
    words = shlex.split(command_line("generate", wanted, output=tmp_path / "cat.png"))
    result = CliRunner().invoke(cli.main, words[1:])
    assert result.exit_code == 0, result.output
    assert read_job(tmp_path / "cat.png") == wanted
    with Image.open(tmp_path / "cat.png") as image:
        np.testing.assert_array_equal(pixels([image]), pixels(draw(pipe, wanted)))


def test_a_scheduler_is_the_job_s_and_not_the_pipeline_s(pipe):
    before = pipe.scheduler
    plain = pixels(draw(pipe, job()))
    euler = pixels(draw(pipe, job(scheduler="euler")))
    assert (euler != plain).any()
    assert (pixels(draw(pipe, job(scheduler="euler", last_timestep=50))) != euler).any()
    assert pipe.scheduler is before
    np.testing.assert_array_equal(pixels(draw(pipe, job())), plain)


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("unipc", "unipc takes no last_timestep; use ddpm, dpm++, dpm++-sde, "),
        (
            "flow-euler",
            "flow-euler cannot sample this checkpoint, which was trained on discrete noise levels; use ddim, ",
        ),
        ("dpm++-karras", "last_timestep cannot be used with use_karras_sigmas, which spaces the steps"),
    ],
)
def test_an_unsuited_scheduler_is_refused_in_the_names_that_jobs_use(pipe, scheduler, message):
    with pytest.raises(ValueError) as caught:
        draw(pipe, job(scheduler=scheduler, last_timestep=25))
    assert message in str(caught.value) and "Scheduler" not in str(caught.value)
    assert "flow-" not in str(caught.value).replace(scheduler, "")  # they sample other checkpoints


def test_calibrated_steps_are_as_many_as_there_are_and_come_back_from_the_picture(pipe, tmp_path):
    rows = [[801, 0.7, 0.3], [201, 0.5, 0.7, -0.1]]  # the same
    view = copy.copy(pipe)
    view.scheduler = CalibratedMultistepScheduler.from_config(pipe.scheduler.config, calibration=rows)
    wanted = job(calibration=CALIBRATION, steps=None)
    alone = view(wanted.prompt, num_inference_steps=2, generator=np.random.Generator(np.random.PCG64(wanted.seed)))
    np.testing.assert_array_equal(pixels(draw(pipe, wanted)), pixels(alone.images))
    words = shlex.split(command_line("generate", wanted, output=tmp_path / "cat.png"))
    assert CliRunner().invoke(cli.main, words[1:]).exit_code == 0
    assert read_job(tmp_path / "cat.png").calibration == CALIBRATION


def test_threads_that_share_a_pipeline_draw_what_each_would_alone(pipe):
    jobs = [job(prompt=f"cat {i}", scheduler=name, seed=i) for i, name in enumerate(["euler", "ddim", "dpm++", None])]
    alone = [pixels(draw(pipe, each)) for each in jobs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: pixels(draw(pipe, each)), jobs * 2))
    np.testing.assert_array_equal(together, alone * 2)


def test_a_callback_sees_every_step(pipe):
    seen = []

    def note(pipe, step, timestep, tensors):
        seen.append(step)
        return {}

    draw(pipe, job(steps=3, scheduler="ddim"), note)
    assert seen == [0, 1, 2]


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_file_remembers_its_job(tmp_path):
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", job(prompt="café 🚀"), {"image": 1})
    assert read_job(tmp_path / "a.png") == job(prompt="café 🚀")
    assert read_parameters(tmp_path / "a.png")["image"] == 1
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["parameters"].startswith("café 🚀\nSteps: 2, ")  # as other programs read it


OLD = {
    "prompt": "a rocket",
    "output": "r.png",
    "seed": 3,
    "model": "icons",
    "num_images": 1,
    "steps": 4,
    "scheduler": "euler",
    "dtype": "float16",
    "version": "0.1.0",
    "engine": "openvino",
    "command": "mindone-diffusers generate 'a rocket' --output r.png --seed 3 --steps 4 --scheduler euler",
}
"""What version 0.1 wrote."""


def old_file(path, **changes):
    chunks = PngInfo()
    chunks.add_itxt("mindone-diffusers", json.dumps({**OLD, **changes}))
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path


def test_a_file_of_version_0_1_is_still_read(tmp_path):
    path = old_file(tmp_path / "r.png")
    assert read_job(path) == Job(prompt="a rocket", seed=3, steps=4, scheduler="euler")
    printed = CliRunner().invoke(cli.main, ["info", str(path)]).output
    again = "mindone-diffusers generate 'a rocket' --steps 4 --scheduler euler --seed 3 --output r.png"
    assert "seed        3" in printed and printed.splitlines()[-1] == again


def test_a_file_with_a_job_that_is_not_understood_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"r\.png: steps must be greater"):
        read_job(old_file(tmp_path / "r.png", steps=0))


# ---- a field more ----------------------------------------------------------------------------------------------------


class Later(Job):
    """A job with options of every kind that a later version may have."""

    lora: Annotated[tuple[str, ...], Field(description="Adapters."), Option(metavar="PATH:WEIGHT")] = ()
    guidance_interval: Annotated[tuple[float, float] | None, Field(description="Part of the steps.")] = None
    int8: Annotated[bool, Field(description="Integers.")] = False
    sharpness: Annotated[float, Field(gt=0, le=1, description="How much to change.")] = 0.8


def test_a_field_more_is_a_column_more():
    table = 'prompt,seed,steps,scheduler,lora,guidance_interval,int8,sharpness\nx,1,25,,"a:0.5,b","0,0.5",true,\n'
    (row,) = csv.DictReader(io.StringIO(table))
    expected = Later(prompt="x", seed=1, steps=25, lora=("a:0.5", "b"), guidance_interval=(0, 0.5), int8=True)
    assert Later.from_texts(row) == expected
    with pytest.raises(ValueError, match=r"^unknown field 'step'; did you mean 'steps'\?"):
        Later.from_texts({**row, "step": "3"})
    assert Later.from_texts({"prompt": "", "seed": "1"}).prompt == ""


def test_a_field_more_is_an_option_more():
    seen = []

    @click.command()
    @options_of(Later)
    def generate(**given):
        seen.append(Later.from_texts(given))

    words = [
        "--lora",
        "a:0.5",
        "--lora",
        "b",
        "--guidance-interval",
        "0,0.5",
        "--int8",
        "--sharpness",
        "0.6",
        "--seed",
        "1",
        "x",
    ]
    result = CliRunner().invoke(generate, words)
    assert result.exit_code == 0, result.output
    (later,) = seen
    expected = Later(prompt="x", seed=1, lora=("a:0.5", "b"), guidance_interval=(0, 0.5), int8=True, sharpness=0.6)
    assert later == expected == Later.from_json(later.to_json())
    assert hash(later) == hash(expected)
    command = command_line("generate", later)
    for option in ("--seed 1", "--lora a:0.5 --lora b", "--guidance-interval 0.0,0.5", "--int8", "--sharpness 0.6"):
        assert option in command
    CliRunner().invoke(generate, shlex.split(command_line("generate", later))[2:])
    assert seen[1] == later
    assert "0<x<=1" in CliRunner().invoke(generate, ["--help"]).output.replace(" ", "")
