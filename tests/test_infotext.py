"""The parameters text of web user interfaces, read and written."""

import signal

import pytest

from mindone.diffusers.jobs.infotext import format_infotext, parse_infotext, split_lora_tags
from mindone.diffusers.schedulers import SHORT_NAMES
from mindone.diffusers.schedulers.short_names import name_of_sampler

TYPICAL = """a cat, sitting on a mat
(masterpiece:1.2), BREAK 50mm
Negative prompt: blurry, text: none
bad hands
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3512309, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Denoising strength: 0.7, Clip skip: 2, Hires upscale: 2, \
Lora hashes: "pixel: 0ab1c2, film: ffee01", Version: v1.9.4"""


def test_a_typical_text_is_read_under_the_names_of_jobs():
    assert parse_infotext(TYPICAL) == {
        "prompt": "a cat, sitting on a mat\n(masterpiece:1.2), BREAK 50mm",
        "negative_prompt": "blurry, text: none\nbad hands",
        "steps": 20,
        "scheduler": "dpm++-karras",
        "guidance_scale": 6.5,
        "seed": 3512309,
        "width": 512,
        "height": 768,
        "model": "v1-5-pruned-emaonly",
        "model_hash": "6ce0161689",
        "strength": 0.7,
        "clip_skip": 1,
        "extra": {"Hires upscale": "2", "Lora hashes": "pixel: 0ab1c2, film: ffee01", "Version": "v1.9.4"},
    }


def test_what_is_read_is_written_as_it_was():
    assert format_infotext(parse_infotext(TYPICAL)) == TYPICAL


@pytest.mark.parametrize(
    "parameters",
    [
        {"prompt": "a cat", "steps": 4, "seed": 0, "guidance_scale": 1.0},
        {"prompt": "", "negative_prompt": "dog", "steps": 4, "seed": 2**32 - 1, "scheduler": "euler"},
        {"prompt": 'a "cat": 1, 2', "steps": 4, "width": 64, "height": 32, "model": "a, b: \\c", "clip_skip": 0},
        {"prompt": "a cat", "steps": 1, "seed": 1, "scheduler": "lcm", "extra": {"Note": 'says "no",\nthen: yes'}},
        {"prompt": "a cat", "steps": 20, "seed": 1, "guidance_scale": 3.5, "true_cfg_scale": 1.0},
        {"prompt": "a cat", "negative_prompt": "dog", "steps": 8, "guidance_scale": 2.0, "true_cfg_scale": 3.0},
    ],
)
def test_parameters_go_there_and_back(parameters):
    assert parse_infotext(format_infotext(parameters)) == parameters


FORGE = """a cat on a mat
Steps: 20, Sampler: Euler, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 1, Size: 896x1152, Model: flux1-dev-Q8_0, \
Version: f2.0.1v1.10.1, Module 1: ae, Module 2: clip_l"""


def test_both_scales_of_flux_are_read_and_written_as_forge_does():
    read = parse_infotext(FORGE)
    assert (read["guidance_scale"], read["true_cfg_scale"]) == (3.5, 1.0)
    assert format_infotext(read) == FORGE


def test_every_scheduler_has_a_name_there_and_back():
    for name, setup in SHORT_NAMES.items():
        assert name_of_sampler(setup.sampler, setup.schedule) == name


@pytest.mark.parametrize(
    "sampler, schedule, expected",
    [
        ("DPM++ 2M Karras", "", "dpm++-karras"),  # versions before 1.9
        ("DPM++ 2M", "", "dpm++"),
        ("DPM++ 2M", "Automatic", "dpm++-karras"),
        ("Euler a", "Automatic", "euler-ancestral"),
        ("Euler a", "Karras", None),
        ("DPM++ 2M SDE Karras", "", "dpm++-sde-karras"),
        ("DPM++ 2M SDE", "Automatic", "dpm++-sde-exponential"),
        ("Euler", "karras", "euler-karras"),
        ("Heun", "exponential", "heun-exponential"),
        ("LMS Karras", "", "lms-karras"),
        ("DPM2 a", "Automatic", "dpm2-ancestral-karras"),
        ("DPM2", "uniform", "dpm2"),
        ("euler", "beta", "euler-beta"),
        ("DDIM", "normal", "ddim"),
        ("DEIS", "", "deis"),
        ("Euler", "sgm_uniform", None),
        ("Euler", "simple", None),
        ("DDIM", "karras", None),
        ("Restart", "", None),
    ],
)
def test_samplers_are_told_with_their_schedules(sampler, schedule, expected):
    assert name_of_sampler(sampler, schedule) == expected


def test_a_sampler_that_is_not_here_stays_as_text():
    read = parse_infotext("a cat\nSteps: 20, Sampler: Restart, Seed: 1")
    assert "scheduler" not in read
    assert read["extra"] == {"Sampler": "Restart"}


def test_a_text_without_parameters_is_a_prompt():
    assert parse_infotext("a cat: the film, 4k") == {"prompt": "a cat: the film, 4k"}
    assert parse_infotext("Steps: many, Seed: 1, Size: large")["extra"] == {"Steps": "many", "Size": "large"}


def test_a_parameter_without_a_name_there_is_refused():
    with pytest.raises(ValueError, match="no name for engine in a parameters text; put them under extra"):
        format_infotext({"prompt": "a cat", "engine": "openvino"})


def test_lora_tags_are_taken_out_of_a_prompt():
    assert split_lora_tags("a cat <lora:pixel art:0.8> on a mat<lora:film>") == (
        "a cat on a mat",
        [("pixel art", 0.8, 0.8), ("film", 1.0, 1.0)],
    )


@pytest.mark.parametrize(
    "tag, expected",
    [
        ("<lora:a:0.5:0.8>", (0.5, 0.8)),
        ("<lora:a:te=0.5>", (0.5, 0.5)),
        ("<lora:a:0.5:unet=-1>", (0.5, -1.0)),
        ("<lora:a:->", "the weight of <lora:a:…> must be a finite number, got '-'"),
        ("<lora:a:1:nan>", "must be a finite number, got 'nan'"),
        ("<lora:a:1:2:3>", "takes one or two weights"),
        ("<lora:a:dyn=8>", "takes one or two weights"),
    ],
)
def test_a_lora_tag_has_a_weight_of_text_encoders_and_one_of_the_unet(tag, expected):
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected):
            split_lora_tags(tag)
    else:
        assert split_lora_tags(tag) == ("", [("a", *expected)])


@pytest.mark.parametrize(
    "line",
    [
        "a" * 400_000,
        "a," * 200_000,
        "a:" * 200_000,
        'a:"b,' * 80_000,
        'a:"\\' * 100_000,
        "a: " + " " * 400_000 + "b",
        "<lora:" * 70_000,
        "<lora:a:" * 50_000,
    ],
)
def test_a_strangers_text_takes_time_in_proportion_to_its_length(line):
    """Each of these takes well under a second, and hours where one part is gone through again for each other one."""

    def give_up(*_):
        raise AssertionError("the text takes more than 30 s of the processor")

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, 30)
    try:
        assert parse_infotext(line)
        split_lora_tags(line)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def test_what_is_no_number_or_no_text_stays_as_it_was():
    read = parse_infotext("a\nSteps: nan, CFG scale: inf, Seed: " + "9" * 5000 + r', Size: 1x٣٣٣٣٣٣٣, Model: "\ud800"')
    assert read == {
        "prompt": "a",
        "model": r'"\ud800"',
        "extra": {"Steps": "nan", "CFG scale": "inf", "Seed": "9" * 5000, "Size": "1x٣٣٣٣٣٣٣"},
    }
