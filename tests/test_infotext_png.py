"""PNG files and the well-known web user interface: its parameters are read, and written on request."""

from click.testing import CliRunner
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mindone.diffusers.cli import main
from mindone.diffusers.jobs import Job
from mindone.diffusers.jobs.png import read_infotext, read_job, save_png

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
    save_png(Image.new("RGB", (64, 32)), tmp_path / "ours.png", job, {"image_seed": 4}, as_infotext=True)
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
