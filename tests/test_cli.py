"""The command line, run in this process on tiny checkpoints."""

import contextlib
import errno
import inspect
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from adapter_cases import ip_adapter
from lora_cases import kohya, layers, stored
from mindone.diffusers import StableDiffusionPipeline, __version__, cli, jobs
from mindone.diffusers.families.convert import folder_to_file
from mindone.diffusers.jobs import run
from mindone.diffusers.jobs.png import read_infotext, read_job, read_parameters
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.utils import files, logging
from tiny_pipelines import checkpoint, load, tiny_autoencoder_folder


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINDONE_ENGINE", "openvino")


def command(*words, code=0):
    """Run ``mindone-diffusers`` and return what it printed."""
    result = CliRunner().invoke(cli.main, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output


def generate(*words, code=0, model=None):
    return command("generate", "a red cat", "--model", model or checkpoint("bk_sdm"), "--steps", 2, *words, code=code)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_image_and_the_command_that_makes_it_again(tmp_path):
    printed = generate("--num-images", 2, "--grid", "--scheduler", "euler", "-o", "cats.png")
    assert "wrote cats.png (128×64)" in printed
    first = pixels("cats.png")
    remembered = command("info", "cats.png")
    assert "a red cat" in remembered and "euler" in remembered
    words = shlex.split(remembered.splitlines()[-1])
    assert words[:3] == ["mindone-diffusers", "generate", "a red cat"]
    (tmp_path / "cats.png").unlink()
    command(*words[1:])
    np.testing.assert_array_equal(pixels("cats.png"), first)


def test_image_i_has_the_seed_plus_i():
    generate("--num-images", 2, "--seed", 5, "--dtype", "float32", "-o", "cat.png")
    noise = [np.random.Generator(np.random.PCG64(5 + i)) for i in range(2)]
    pipe = load(checkpoint("bk_sdm"))
    expected = pipe("a red cat", num_inference_steps=2, num_images_per_prompt=2, generator=noise).images
    for i in range(2):
        np.testing.assert_array_equal(pixels(f"cat-{i}.png"), np.asarray(expected[i]))
        assert read_parameters(f"cat-{i}.png")["image_seed"] == 5 + i


def test_the_file_is_named_after_the_prompt_and_the_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "draw", lambda *_: [Image.new("RGB", (8, 8))])
    generate("--seed", 3)
    generate()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2 and "a-red-cat-3.png" in names and all(name.startswith("a-red-cat-") for name in names)


def test_options_reach_the_pipeline(monkeypatch):
    seen = {}

    def draw(pipe, prompt, **arguments):
        seen.update(arguments, scheduler=type(pipe.scheduler).__name__, vae=type(pipe.vae).__name__, dtype=pipe.dtype)
        seen["karras"] = pipe.scheduler.config.use_karras_sigmas
        return type("Output", (), {"images": [Image.new("RGB", (8, 8))]})

    draw.__signature__ = inspect.signature(StableDiffusionPipeline.__call__)
    monkeypatch.setattr("mindone.diffusers.StableDiffusionPipeline.__call__", draw)
    options = {
        "--guidance-scale": 3.5,
        "--negative-prompt": "blue",
        "--height": 72,
        "--width": 80,
        "--clip-skip": 1,
        "--scheduler": "dpm++-karras",
        "--tiny-vae": tiny_autoencoder_folder(),
        "--dtype": "bfloat16",
    }
    generate(*(word for pair in options.items() for word in pair))
    generator = seen.pop("generator")
    assert len(generator) == 1
    assert seen == {
        "num_inference_steps": 2,
        "guidance_scale": 3.5,
        "negative_prompt": "blue",
        "height": 72,
        "width": 80,
        "clip_skip": 1,
        "num_images_per_prompt": 1,
        "callback_on_step_end": None,
        "scheduler": "DPMSolverMultistepScheduler",
        "karras": True,
        "vae": "AutoencoderTiny",
        "dtype": "bfloat16",
    }


def test_a_negative_prompt_without_guidance_is_drawn_with_a_warning(caplog):
    run._warn_once.cache_clear()
    same = ("--guidance-scale", 1, "--seed", 1, "--dtype", "float32")  # some CPUs warn about half precision
    generate(*same, "-o", "b.png")
    assert not caplog.messages
    generate("--negative-prompt", "a dog", *same, "-o", "a.png")
    assert caplog.messages == ["negative_prompt has no effect at guidance_scale 1, without guidance"]
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))


def test_the_file_remembers_what_was_left_to_the_checkpoint(tmp_path):
    folder = shutil.copytree(checkpoint("bk_sdm"), tmp_path / "model")
    (folder / "generation_config.json").write_text('{"guidance_scale": 3, "num_inference_steps": 2}')
    command("generate", "a red cat", "--model", folder, "-o", "cat.png")
    job = read_job("cat.png")
    assert (job.steps, job.guidance_scale) == (2, 3.0)


@pytest.mark.parametrize(("options", "held"), [((), set()), (("--upscale", "2"), {"text_encoder", "unet", "vae"})])
def test_big_networks_of_one_call_are_dropped_when_their_stage_is_over(options, held, monkeypatch):
    pipe = load(checkpoint("bk_sdm"))
    monkeypatch.setattr(pipe.unet, "is_big", True)
    monkeypatch.setattr(jobs, "load", lambda job: pipe)
    generate(*options)
    assert {name for name, part in pipe.components.items() if len(getattr(part, "graphs", ()))} == held


def test_a_prompt_that_looks_like_an_option_is_drawn_again():
    command("generate", "--model", checkpoint("bk_sdm"), "--steps", 1, "-o", "x.png", "--", "-v")
    words = shlex.split(command("info", "x.png").splitlines()[-1])
    assert words[-2:] == ["--", "-v"]
    first = pixels("x.png")
    command(*words[1:])
    np.testing.assert_array_equal(pixels("x.png"), first)


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, message",
    [
        (["-o", "海" * 90 + ".png"], "is too long: its name has 274 bytes; shorten it"),
        (["-o", "nowhere/cat.png"], "cannot write nowhere/cat.png: there is no folder nowhere"),
        (["-o", "cat.gif"], "--output must be a .png, .jpg or .webp file, got 'cat.gif'"),
        (["--steps", "0"], "0 is not in the range 1<=x<=1000"),
        (["--scheduler", "dimd"], "'dimd' is not one of 'ddim', 'ddpm'"),
        (["--dtype", "int8"], "'int8' is not one of 'float32', 'float16', 'bfloat16'"),
        (["--engine", "cuda"], "'cuda' is not one of 'auto', 'openvino', 'mindspore'"),
        (["--num-images", "0"], "0 is not in the range 1<=x<=100000"),
        (["--seed", "-1"], "-1 is not in the range 0<=x<=18446744073709551615"),
        (["--stpes", "3"], "No such option '--stpes'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_loaded(words, message, monkeypatch):
    monkeypatch.setattr(jobs, "load", lambda job: pytest.fail("loaded a pipeline"))
    assert message in " ".join(generate(*words, code=2).split())


@pytest.mark.parametrize(
    "words, message",
    [
        (["--height", "60"], "Error: height must be a multiple of 8, got 60; the nearest are 56 and 64"),
        (["--width", "20"], "Error: width must be a multiple of 8, got 20; the nearest are 16 and 24"),
        (["--height", "20000", "--width", "20000"], "an image of 20000×20000 takes about "),
        (["--upscale", "8", "--height", "8000", "--width", "8000"], "an image of 64000×64000 takes about "),
        (["--num-images", "100000", "--grid"], "100000 images of 64×64 take about "),
        (["--model", "nothing-here"], "Error: unknown model 'nothing-here'"),
        (["--model", "nothing.safetensors"], "Error: no file nothing.safetensors"),
        (["--tiny-vae", "nothing-here"], "Error: unknown tiny_vae 'nothing-here'"),
        (
            ["--without", "text_encoder_3"],
            "without: Stable Diffusion has no 'text_encoder_3' that may be left out; it can",
        ),
        (["--lora", "nothing-here:0.5"], "Error: unknown lora 'nothing-here'"),
        (["--lora", "style:much"], "Error: lora must be PATH, PATH:WEIGHT"),
        (["--controlnet", "nothing-here", "--control", "canny=photo.png"], "Error: unknown controlnet 'nothing-here'"),
        (["--config", "nothing-here"], "Error: unknown config 'nothing-here'"),
        (["--model", "icons-tiny-vae"], "icons-tiny-vae is an autoencoder; use --tiny-vae icons-tiny-vae"),
        (["--model", "icons-lcm-lora"], "icons-lcm-lora is a LoRA; use --lora icons-lcm-lora"),
        (["--num-images", "100000"], "generate fewer images at a time\n"),
        (["--cache", "deepcash"], "Error: unknown cache 'deepcash'; choose from deepcache"),
        (["--cache", "deepcache:0"], "Error: cache 'deepcache:0': cache_interval must be"),
    ],
)
def test_mistakes_are_found_before_an_engine_is_there(words, message, monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "load", lambda job: pytest.fail("loaded a pipeline"))
    monkeypatch.setattr("mindone.diffusers.utils.decoder_memory.total_memory", lambda: 8 * 10**9)
    Image.new("RGB", (64, 64)).save("photo.png")
    printed = generate(*words, code=1)
    assert message in printed and len(printed.strip().splitlines()) == 1 and len(printed) < 500


def test_quiet_may_be_said_before_the_command(instant, caplog):
    command(
        "-q", "generate", "a red cat", "--model", checkpoint("bk_sdm"), "--steps", 2, "--height", 128, "-o", "x.png"
    )
    assert not caplog.text


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "a cat", "--model", "FILE"],
        ["generate", "a cat", "--lora", "FILE"],
        ["convert", "FILE", "-o", "out"],
        ["info", "FILE"],
        ["quantize", "--model", "FILE", "-o", "out"],
    ],
)
@pytest.mark.parametrize("name", ["model.h5", "model.ckpt"])
def test_each_command_calls_a_file_what_it_is(words, name, tmp_path):
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    printed = command(*[name if word == "FILE" else word for word in words], code=1)
    assert printed == f"Error: {name} is an HDF5 file, which is not read; take the model's .safetensors file\n"


@pytest.mark.parametrize("prompt", ["", "   "])
def test_an_empty_prompt_is_refused(prompt, monkeypatch):
    monkeypatch.setattr(jobs, "load", lambda job: pytest.fail("loaded a pipeline"))
    assert command("generate", prompt, code=1).strip() == "Error: prompt is empty; describe the image"


def test_mistakes_are_found_without_importing_an_engine(tmp_path):
    script = f"""
import sys
from mindone.diffusers import cli
for words in (["--height", "60"], ["--lora", "nothing-here"], ["--cache", "deepcash"], ["--lora", "x:much"]):
    try:
        cli.main(["generate", "x", "--model", {str(checkpoint("bk_sdm"))!r}, *words])
    except SystemExit as error:
        assert error.code == 1
print("loaded", sorted({{"mindspore", "openvino", "scipy"}} & set(sys.modules)))
"""
    assert "loaded []" in subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    "words",
    [
        ["tune", "--model", "nothing"],
        ["tune", "--prompts", "nothing.txt"],
        ["tune", "--tiny-vae", "nothing"],
        ["tune", "-o", "/proc/nothing"],
        ["bench", "--model", "nothing"],
        ["bench", "--distilled", "nothing"],
        ["quantize", "--model", "nothing", "-o", "q"],
        ["quantize", "-o", "/proc/nothing"],
        ["batch", "--prompts", "prompts.txt", "--model", "nothing", "-o", "out"],
        ["batch", "--prompts", "prompts.txt", "--lora", "nothing:0.5", "-o", "out"],
        ["serve", "--port", "0", "--model", "x=nothing"],
        ["serve", "--port", "0", "--lora", "nothing"],
        ["serve", "--port", "PORT"],
        ["generate", "a cat", "-o", "/proc/nothing.png"],
    ],
    ids=" ".join,
)
def test_every_command_finds_mistakes_before_an_engine_is_there(words, monkeypatch, tmp_path):
    (tmp_path / "prompts.txt").write_text("a cat\n")
    for module in ("tune.session", "server.run"):  # which import an engine
        monkeypatch.setitem(sys.modules, f"mindone.diffusers.{module}", None)
    monkeypatch.setattr("mindone.diffusers.bench.run", lambda *_: pytest.fail("began"))
    monkeypatch.setattr("mindone.diffusers.batch.run", lambda *_, **__: pytest.fail("began"))
    monkeypatch.setattr("mindone.diffusers.cli.quantize.write_quantized", lambda *_: pytest.fail("began"))
    monkeypatch.setattr(jobs, "load", lambda job: pytest.fail("loaded a pipeline"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(cli.main, [port if word == "PORT" else word for word in words])
    assert result.exit_code in (1, 2)
    expected = f"cannot listen on 127.0.0.1 port {port}" if "PORT" in words else "nothing"
    assert expected in result.output.splitlines()[-1], result.output


def test_a_full_disk_names_the_file(monkeypatch, tmp_path):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with (
        pytest.raises(OSError, match=r"^cannot write x\.safetensors: No space left on device; make room") as caught,
        files.atomic_write("x.safetensors") as file,
    ):
        file.write(b"half")
    assert caught.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_more_pixels_than_the_network_was_trained_on_are_warned_of(instant, caplog):
    generate("--height", 128, "-o", "x.png")
    assert "64×128 is more than the 64×64 that the network was trained on: expect repetitions" in caplog.text
    caplog.clear()
    generate("--height", 96, "--upscale", 2, "-o", "x.png")
    assert not caplog.text
    generate("--height", 96, "--upscale", 2, "--strength", 0.6, "-o", "x.png")
    assert "leave out --strength 0.6" in caplog.text
    assert "times as long" not in caplog.text
    generate("--height", 512, "--width", 256, "-o", "x.png")
    assert "expect repetitions, and each step to take about 32 times as long" in caplog.text


@pytest.mark.parametrize(
    "words, message",
    [
        (["--variant", "fp16"], "variant='fp16' is not there; there is variant=None"),
        (["--guidance-scale", "nan"], "Error: guidance_scale must be a finite number, got nan"),
    ],
)
def test_what_the_library_refuses_is_told_in_one_line(words, message, tmp_path):
    printed = generate(*words, code=1)
    assert message in printed and len(printed.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback():
    result = CliRunner().invoke(cli.main, ["--debug", "generate", "x", "--model", "nothing-here"])
    assert isinstance(result.exception, FileNotFoundError)


def test_ctrl_c_leaves_nothing_behind(monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "draw", interrupted)
    assert "Aborted" in generate(code=130)
    assert not list(tmp_path.iterdir())


LEAVING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # as from a terminal; background jobs ignore Ctrl-C
from mindone.diffusers.__main__ import run
number, module, *words = sys.argv[1:]

def at_import(event, arguments):
    if event == "import" and arguments[0] == module:
        os.kill(os.getpid(), int(number))

sys.addaudithook(at_import)
sys.argv = ["mindone-diffusers", *words]
run()
"""


@pytest.mark.heavy
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "module, words",
    [
        ("click", ["generate", "a rocket"]),
        ("mindspore", ["generate", "a rocket", "-o", "x.png"]),
        ("PIL", ["info", str(Path(__file__).parent / "golden" / "icons.png")]),
        ("openvino", ["tune"]),
        ("uvicorn", ["serve", "--port", "0"]),
    ],
)
def test_a_signal_while_importing_ends_a_command_in_one_line(module, words, number, code, tmp_path):
    command = [sys.executable, "-c", LEAVING, str(int(number)), module, *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split()) == (code, ["Aborted!"])
    assert not list(tmp_path.iterdir())


def test_a_signal_while_writing_removes_what_is_unfinished(tmp_path):
    script = """
import os, pathlib, signal
from mindone.diffusers.interrupts import leave_on_signals
from mindone.diffusers.utils.files import atomic_write, scratch_folder
leave_on_signals()
with scratch_folder(pathlib.Path("."), ".weights-") as folder, atomic_write("x.png") as file:
    (folder / "w").write_text("1")
    assert len(os.listdir()) == 2
    os.kill(os.getpid(), signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 143
    assert not list(tmp_path.iterdir())


def test_a_signal_ends_a_command_that_is_busy_in_native_code():
    script = """
import hashlib, os, pathlib, signal, threading
from mindone.diffusers.interrupts import leave_on_signals
leave_on_signals()
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # minutes in one call
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.split()) == (143, ["Aborted!"])


def test_a_signal_that_a_command_handles_leaves_time_to_write_results():
    script = """
import os, signal, time
from mindone.diffusers.interrupts import _PATIENCE, leave_on_signals, raised
leave_on_signals()
try:
    with raised():
        os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    time.sleep(1.5 * _PATIENCE)
before = signal.signal(signal.SIGTERM, lambda *_: None)  # as `batch`, which ends after the image in progress
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(0.5 * _PATIENCE)
signal.signal(signal.SIGTERM, before)
time.sleep(_PATIENCE)
print("kept")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("kept\n", 0)


def test_a_signal_is_an_exception_where_there_are_results_to_keep():
    script = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # as from a terminal; background jobs ignore Ctrl-C
from mindone.diffusers.interrupts import exit_code, leave_on_signals, raised
leave_on_signals()
try:
    with raised():
        os.kill(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    print("kept", exit_code())
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("kept 143\n", 130)


# ---- where images go -------------------------------------------------------------------------------------------------


@pytest.fixture
def instant(monkeypatch):
    """Images are there at once: as many as the job asks for, of the seed's colour."""

    def draw(pipe, job, *_):
        return [Image.new("RGB", (8, 8), (seed % 256, 0, 0)) for seed in job.seeds]

    monkeypatch.setattr(jobs, "draw", draw)


SHIP = "a photograph of an old wooden sailing ship in a violent storm at night, "


@pytest.mark.parametrize(
    "first, second, names",
    [
        ([SHIP + "oil painting"], [SHIP + "pencil sketch"], ["7.png", "7-2.png"]),
        (["🚀🚀"], ["🐈", "--grid", "--num-images", "2"], ["image-7.png", "image-7-2.png"]),
        (
            ["a", "--num-images", "2"],
            ["a", "--num-images", "2"],
            ["a-7-0.png", "a-7-1.png", "a-7-2-0.png", "a-7-2-1.png"],
        ),
        (["海" * 300], ["海" * 299], [f"{'海' * 40}-7.png", f"{'海' * 40}-7-2.png"]),
    ],
)
def test_a_picture_that_was_not_named_is_a_new_file(instant, tmp_path, first, second, names):
    for words in (first, second):
        command("generate", *words, "--seed", 7, "--model", checkpoint("bk_sdm"))
    found = sorted(path.name for path in tmp_path.iterdir())
    assert len(found) == len(names) and all(any(each.endswith(name) for each in found) for name in names)


def test_a_picture_that_was_named_takes_the_place_of_an_earlier_one(instant, tmp_path):
    for seed in (1, 2):
        generate("--seed", seed, "-o", "cat.png")
    assert [path.name for path in tmp_path.iterdir()] == ["cat.png"] and pixels("cat.png")[0, 0, 0] == 2


def test_a_report_that_was_not_named_takes_the_place_of_none(tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(
        "mindone.diffusers.tune.run", lambda options, words, folder: folders.append(str(folder)) or Front()
    )
    monkeypatch.setattr(
        "mindone.diffusers.bench.run", lambda options, words: folders.append(str(options.output)) or Front()
    )
    for name, report in (("mindone-tune", "tune.json"), ("mindone-bench", "report.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / report).touch()
    for words in (["tune"], ["bench"], ["tune", "-o", "mindone-tune"], ["bench", "-o", "mindone-bench"]):
        command(*words)
    assert folders == ["mindone-tune-2", "mindone-bench-2", "mindone-tune", "mindone-bench"]


class Front:
    """What a command is given that has nothing more to say."""

    is_complete, was_interrupted, interrupted, failure = True, False, False, None


@pytest.fixture
def full_disk(monkeypatch, tmp_path):
    """The current folder has no room for a file, another one has."""
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = tmp_path.with_name(tmp_path.name + "-elsewhere")
    elsewhere.mkdir()
    write = files.atomic_write

    @contextlib.contextmanager
    def limited(path, is_new=False):
        with write(path, is_new) as file:
            yield file
            if elsewhere not in files.Path(path).parents:
                raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "atomic_write", limited)
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    return elsewhere


@pytest.mark.parametrize("has_home", [True, False])
def test_a_full_disk_loses_no_picture(has_home, instant, full_disk, tmp_path, monkeypatch):
    if not has_home:
        monkeypatch.setattr("os.path.expanduser", str)  # as for a user without $HOME and without an entry in passwd
    printed = generate("--num-images", 2, "--seed", 5, "-o", "cat.png", code=1)
    for i in range(2):
        expected = (
            f"Error: cannot write cat-{i}.png: No space left on device; make room, or give a place on another disk; "
            f"the image is kept in {full_disk}/cat-{i}.png"
        )
        assert expected in printed
        assert read_parameters(full_disk / f"cat-{i}.png")["image_seed"] == 5 + i
    assert not list(tmp_path.iterdir())


def test_no_room_anywhere_is_said_with_the_name_of_the_file(instant, full_disk, monkeypatch):
    monkeypatch.setattr("mindone.diffusers.cli.saving._kept", lambda *_: None)
    printed = generate("-o", "cat.png", code=1)
    assert (
        "Error: cannot write cat.png: No space left on device; make room, or give a place on another disk; and"
        in printed
    )


def test_info_of_other_files(tmp_path):
    Image.new("RGB", (8, 8)).save("plain.png")
    Image.new("RGB", (8, 8)).save("photo.jpg")
    Image.new("RGB", (8, 8)).save("moving.gif")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "plain.png").read_bytes()[:60])
    expected = {
        "missing.png": "no file missing.png",
        "plain.png": "plain.png holds no parameters",
        "photo.jpg": "photo.jpg holds no parameters",
        "moving.gif": "moving.gif is not a PNG, JPEG or WebP image",
        "text.png": "text.png is not a PNG, JPEG or WebP image",
        "cut.png": "cut.png",
        ".": ". is a folder without model_index.json, config.json and weights; give a checkpoint's, or a file",
    }
    for name, message in expected.items():
        printed = command("info", name, code=1)
        assert printed.startswith("Error: ") and message in printed and len(printed.strip().splitlines()) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".JPG"])
def test_a_jpeg_or_webp_file_remembers_its_job(suffix, instant):
    words = ["--seed", 3, "--negative-prompt", "海 🚀", "-o", f"cat{suffix}"]
    generate(*words)
    with Image.open(f"cat{suffix}") as image:
        assert image.format == {".webp": "WEBP"}.get(suffix, "JPEG")
        comment = image.getexif().get_ifd(0x8769)[0x9286]  # UserComment, where web user interfaces look
    assert comment.startswith(b"UNICODE\0") and "Negative prompt: 海 🚀" in comment[8:].decode("utf-16-be")
    job = read_job(f"cat{suffix}")
    assert (job.prompt, job.negative_prompt, job.seed, job.steps) == ("a red cat", "海 🚀", 3, 2)
    assert shlex.split(command("info", f"cat{suffix}").splitlines()[-1])[-2:] == ["--output", f"cat{suffix}"]
    assert read_infotext(f"cat{suffix}")["seed"] == 3


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
def test_a_comment_of_another_program_is_read(order):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a cat\nSteps: 20, Seed: 5, Size: 64x64, CFG scale: 7".encode(order)
    Image.new("RGB", (8, 8)).save("theirs.jpg", exif=exif)
    assert "a cat" in command("info", "theirs.jpg") and read_infotext("theirs.jpg")["steps"] == 20


def test_what_a_format_has_no_room_for_becomes_a_png_file(instant, monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "draw", lambda *_: [Image.new("RGB", (16_384, 1))])
    generate("-o", "wide.webp")
    command("generate", "cat " * 20_000, "--model", checkpoint("bk_sdm"), "--steps", 1, "-o", "long.jpg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.png", "wide.png"]
    assert len(read_job("long.png").prompt) == 80_000


def test_a_reader_that_stops_early_ends_a_command_in_silence(tmp_path):
    chunks = PngInfo()
    chunks.add_text("parameters", "a cat\nSteps: 3, Sampler: Euler, Seed: 1, Size: 64x64")
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=chunks)
    command = [sys.executable, "-m", "mindone.diffusers", "info", "x.png"]
    assert "a cat" in subprocess.run(command, capture_output=True, text=True, cwd=tmp_path).stdout
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


def test_info_of_several_files_goes_on_after_one_without_parameters(instant):
    for name in ("a.png", "b.jpg"):
        generate("--seed", 3, "-o", name)
    printed = command("info", "a.png", "nothing.png", "b.jpg", code=1)
    assert printed.count("mindone-diffusers generate") == 2 and "Error: no file nothing.png" in printed
    assert "a.png:\n" in printed and "b.jpg:\n" in printed


def test_info_of_a_checkpoint_s_folder_says_what_it_holds(tmp_path):
    folder = tmp_path / "sd"
    shutil.copytree(checkpoint("bk_sdm"), folder)
    (folder / "LICENSE.md").write_text("as is")
    weights = SafetensorsFile(folder / "unet" / "diffusion_pytorch_model.safetensors")
    half = {name: tensor.cast("float16") for name, tensor in weights.items()}
    save_file(half, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    count = sum(tensor.size for tensor in weights.values())
    told = dict(line.split(maxsplit=1) for line in command("info", folder).splitlines())
    assert told["pipeline"] == "StableDiffusionPipeline" and told["family"] == "Stable Diffusion"
    assert told["licence"] == "LICENSE.md" and told["size"].endswith(" MB") and told["scheduler"] == "PNDMScheduler"
    assert re.fullmatch(
        rf"UNet2DConditionModel; {count:,} weights in F32, [\d.]+ MB; fp16: {count:,} weights in F16, [\d.]+ MB",
        told["unet"],
    )
    alone = command("info", folder / "unet").splitlines()
    assert alone[1].split() == ["licence", "no", "such", "file"]
    assert alone[2].split(maxsplit=1) == ["component", told["unet"]]
    (folder / "unet" / "config.json").write_text("{")
    assert command("info", folder / "unet", code=1).startswith("Error: ")


@pytest.fixture(scope="module")
def weight_files(tmp_path_factory):
    """A folder with a file of weights of each kind."""
    folder = tmp_path_factory.mktemp("weights")
    folder_to_file(checkpoint("bk_sdm"), folder / "whole.safetensors")
    components = {name: checkpoint("bk_sdm") / name for name in ("unet", "vae")}
    for name, component in components.items():
        shutil.copy(component / "diffusion_pytorch_model.safetensors", folder / f"{name}.safetensors")
    shutil.copytree(checkpoint("bk_sdm") / "text_encoder", folder / "text")
    shapes = {name: tensor.shape for name, tensor in SafetensorsFile(folder / "unet.safetensors").items()}
    save_file(ip_adapter(shapes, "plain"), folder / "ip.safetensors")
    save_file(stored(kohya("bk_sdm", {"unet": layers("bk_sdm", "unet", (".to_q",))})), folder / "lora.safetensors")
    half, whole = np.ones((2, 32), np.float16), np.ones((1, 64), np.float32)
    save_file({"<cat>": half}, folder / "word.safetensors")
    save_file({"clip_l": half, "clip_g": whole}, folder / "word-xl.safetensors")
    save_file({"double_layers.0.x": half, "y": half}, folder / "other.safetensors")
    save_file(
        {"a.weight": half, "b.weight": StoredTensor("F8_E5M2", (2,), np.zeros(2, "u1"))}, folder / "x.safetensors"
    )
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "whole",
            {
                "pipeline": "StableDiffusionPipeline",
                "family": "Stable Diffusion 1.x",
                "networks": "unet: UNet2DConditionModel, vae: AutoencoderKL, text_encoder: CLIPTextModel",
            },
        ),
        ("unet", {"family": "Stable Diffusion 1.x", "networks": "unet: UNet2DConditionModel"}),
        ("vae", {"networks": "vae: AutoencoderKL"}),
        ("text/model", {"network": "CLIPTextModel"}),
        ("lora", {"kind": "a LoRA", "taken by": "load_lora_weights (--lora)"}),
        ("word", {"kind": "a textual inversion", "width": "32", "F16": "1 tensor, 64 weights, 0.0 MB"}),
        ("word-xl", {"kind": "a textual inversion", "width": "64 and 32", "taken by": "load_textual_inversion"}),
        ("ip", {"kind": "an IP-Adapter", "taken by": "load_ip_adapter"}),
        ("other", {"kind": "AuraFlow", "taken by": "nothing here"}),
        ("x", {"kind": "not known here", "F8_E5M2": "1 tensor, 2 weights, 0.0 MB"}),
    ],
)
def test_info_of_a_safetensors_file_says_what_it_is(name, expected, weight_files):
    lines = command("info", weight_files / f"{name}.safetensors").splitlines()
    told = dict(re.split(r"  +", line, maxsplit=1) for line in lines)
    assert told["size"].endswith(" MB") and told.items() >= expected.items()


def test_info_takes_a_name_that_models_lists():
    assert "StableDiffusionPipeline" in command("info", "icons")
    assert command("info", "icon", code=1) == "Error: no file icon\n"


# ---- the wrong thing in the wrong place ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image", ""], "Invalid value for '--image': it is empty; give a value, or leave it out"),
        (["--model", ""], "Invalid value for '--model': it is empty"),
        (["--lora", ""], "Invalid value for '--lora': it is empty"),
        (["--guidance-interval", "0.5"], "guidance_interval must be 2 values, got ['0.5']"),
        (["--tiny-vae", "icons"], "icons is a whole pipeline; give an autoencoder's folder or hub id as tiny_vae"),
        (["--tiny-vae", "FOLDER/vae.safetensors"], "vae.safetensors is a file; give an autoencoder's folder"),
        (["--model", "FOLDER/lora.safetensors"], "is a LoRA: give it to load_lora_weights (--lora)"),
        (["--lora", "FOLDER/word.safetensors"], "is no LoRA, by its tensors '<cat>'; mindone-diffusers info FILE says"),
    ],
)
def test_what_an_option_does_not_take_is_named(words, message, weight_files):
    words = [word.replace("FOLDER", str(weight_files)) for word in words]
    model = [] if "--model" in words else ["--model", checkpoint("sd1")]
    result = CliRunner().invoke(cli.main, ["generate", "a red cat", *map(str, model), "--steps", "1", *words])
    assert result.exit_code in (1, 2) and message in result.output and "Traceback" not in result.output


@pytest.mark.parametrize(
    "words",
    [
        ["info", ""],
        ["generate", "a cat", "-o", ""],
        ["convert", "", "-o", "x"],
        ["convert", "icons", "-o", ""],
        ["quantize", "--model", "icons", "-o", ""],
        ["batch", "jobs.jsonl", "-o", ""],
        ["bench", "-o", ""],
        ["tune", "-o", ""],
        ["pull", ""],
        ["models", ""],
    ],
)
def test_an_empty_path_or_name_is_not_this_folder(words):
    assert "it is empty; give a value, or leave it out" in command(*words, code=2)


def test_a_prompt_in_an_unknown_encoding_is_told_how_to_write_it():
    printed = command("generate", "a r\udcc3\udcb6t", code=1)
    assert "prompt must be text that UTF-8 can write (a terminal's is, with LC_ALL=C.UTF-8), got 'a r" in printed


def test_a_negative_prompt_may_be_empty(instant):
    generate("--negative-prompt", "", "-o", "cat.png")


def test_convert_overwrites_neither_a_file_nor_its_own_checkpoint(weight_files, tmp_path):
    folder = shutil.copytree(checkpoint("sd1"), tmp_path / "sd")
    own = folder / "unet" / "diffusion_pytorch_model.safetensors"
    before = own.read_bytes()
    assert "lies in the checkpoint itself" in command("convert", folder, "-o", own, code=1)
    assert own.read_bytes() == before
    whole = weight_files / "whole.safetensors"
    assert f"the folder {whole} is a file" in command("convert", whole, "-o", whole, code=1)


# ---- models ----------------------------------------------------------------------------------------------------------


def test_models_lists_what_is_here(tmp_path, monkeypatch):
    snapshot = tmp_path / "hub" / "models--acme--sd" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setenv("MINDONE_PROFILES", str(tmp_path / "profiles"))
    (tmp_path / "profiles" / "acme--sd").mkdir(parents=True)
    (tmp_path / "profiles" / "acme--sd" / "fast.json").touch()
    lines = command("models").splitlines()
    assert any(line.split()[0] == "icons" and line.endswith("StableDiffusionPipeline") for line in lines)
    assert any(line.split()[0] == "acme/sd" and line.endswith("StableDiffusionXLPipeline") for line in lines)
    assert lines[-1].split() == ["acme/sd", "fast"]


def test_models_explains_a_name_that_is_not_in_its_list():
    expected = {
        "missing.ckpt": "Error: no file missing.ckpt",
        "nothing": "Error: unknown model 'nothing': no such local folder",
        checkpoint("bk_sdm"): "is a path, no model's name; `mindone-diffusers info` prints",
        "acme/nothing": "Error: acme/nothing is not on this machine; `mindone-diffusers models` lists those that are",
    }
    for name, message in expected.items():
        assert message in command("models", name, code=1)


def test_pull_of_what_is_here_says_where():
    assert "icons is on this machine already" in command("pull", "icons")
    assert "Error: unknown model 'nothing'" in command("pull", "nothing", code=1)


# ---- first contact ---------------------------------------------------------------------------------------------------


def test_help_and_version_are_answered_without_loading_mindspore():
    script = """
import sys
from mindone.diffusers import cli
for each in (["--help"], ["--version"]):
    try:
        cli.main(each)
    except SystemExit:
        pass
print("loaded", sorted({"mindspore", "openvino", "numpy", "pydantic", "PIL"} & set(sys.modules)))
for each in (["generate", "--help"], ["generate", "x", "-o", "no/x.png"], ["info"], ["bench", "--help"]):
    try:
        cli.main(each)
    except SystemExit:
        pass
print("loaded", sorted({"mindspore", "openvino", "numpy", "PIL", "rich"} & set(sys.modules)))
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert 'mindone-diffusers generate "a rocket on a blue background"' in printed and __version__ in printed
    assert printed.count("loaded []") == 2


@pytest.mark.parametrize(
    "typed, hint",
    [("genrate", "did you mean 'generate'?"), ("piull", "did you mean 'pull'?"), ("x", "choose from batch,")],
)
def test_an_unknown_command_is_told_the_nearest(typed, hint):
    assert f"no command {typed!r}; {hint}" in command(typed, code=2)


def test_the_version_is_short(tmp_path):
    assert __version__ in command("-V")
    for module in ("mindone.diffusers", "mindone.diffusers.cli"):
        done = subprocess.run([sys.executable, "-m", module, "-V"], capture_output=True, text=True)
        assert done.stdout == f"mindone-diffusers, version {__version__}\n" and done.returncode == 0


def test_a_log_has_results_alone(monkeypatch):
    """Standard error is no terminal here."""
    assert generate("-o", "cat.png").splitlines() == ["wrote cat.png (64×64)"]


def test_a_terminal_is_told_what_goes_on_unless_it_is_to_be_quiet(monkeypatch, instant):
    monkeypatch.setattr("mindone.diffusers.cli.status._is_terminal", lambda: True)
    printed = generate("-o", "cat.png").splitlines()
    assert printed == [f"loading {checkpoint('bk_sdm')}…", "compiling…", "wrote cat.png (8×8)"]
    assert generate("-o", "cat.png", "-q", "--height", 128).splitlines() == ["wrote cat.png (8×8)"]
    assert logging.get_verbosity() == logging.WARNING and logging.is_progress_bar_enabled()
