"""Jobs that read pictures: started from, painted in, followed, enlarged; and back from the file."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from image_pipelines import controlnet_folder, mask, photo
from mindone.diffusers.cli import main
from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.jobs.pictures import edges, enlarged
from mindone.diffusers.jobs.png import read_job
from tiny_pipelines import checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    photo().save(folder / "photo.png")
    mask().save(folder / "mask.png")
    mask(32, 32).save(folder / "small.png")
    return folder


@pytest.fixture(scope="module")
def key():
    return {"model": str(checkpoint("sd1")), "dtype": "float32", "engine": "openvino", "steps": 3, "seed": 1}


@pytest.fixture(scope="module")
def pipe(key):
    pipe = load(Job(prompt="a cat", **key))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pixels(images) -> np.ndarray:
    return np.asarray(images[0], np.float32)


def test_a_picture_shows_through_where_little_is_drawn_anew(pipe, key, files):
    start = {**key, "steps": 10, "image": str(files / "photo.png")}
    little, much = (pixels(draw(pipe, Job(prompt="a cat", **start, strength=s))) for s in (0.1, 1.0))
    assert little.shape == (64, 64, 3)
    assert np.abs(little - much).mean() > 1


def test_a_mask_keeps_what_is_black(pipe, key, files):
    start = {**key, "image": str(files / "photo.png"), "mask": str(files / "mask.png")}
    one, other = (pixels(draw(pipe, Job(prompt="a cat", **{**start, "seed": seed}))) for seed in (1, 2))
    inside = np.asarray(mask()) > 0
    assert np.abs(one - other)[inside].mean() > 2 * np.abs(one - other)[:8].mean()


def test_an_enlarged_image_is_larger(pipe, key):
    image = draw(pipe, Job(prompt="a cat", **key, height=32, width=48, upscale=2))[0]
    assert image.size == (96, 64)


def test_enlarging_keeps_the_mean():
    latents = np.random.default_rng(0).standard_normal((2, 4, 8, 6)).astype(np.float32)
    larger = enlarged(latents, 2)
    assert larger.shape == (2, 4, 16, 12)
    assert abs(larger.mean() - latents.mean()) < 1e-3


def test_edges_are_white_on_black():
    values = np.unique(np.asarray(edges(photo())))
    assert list(values) == [0, 255]


def test_the_command_line_follows_edges_and_the_file_remembers(key, files, tmp_path):
    output = tmp_path / "out.png"
    control = f"canny={files / 'photo.png'}"
    words = [
        "generate",
        "a cat",
        "--control",
        control,
        "--controlnet",
        str(controlnet_folder("sd1")),
        "-o",
        str(output),
    ]
    words += [word for name, value in key.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert Image.open(output).size == (64, 64)
    job = read_job(output)
    assert job.control == (control,) and job.controlnet == (str(controlnet_folder("sd1")),)
    assert control in CliRunner().invoke(main, ["info", str(output)]).output


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"mask": "m.png"}, "mask needs image"),
        ({"strength": 0.5}, "strength needs image"),
        ({"image": "a.png", "strength": 0}, "strength must be greater than 0"),
        ({"control": ("canny=a.png",)}, "control and controlnet go together"),
        ({"control": ("depth=a.png",), "controlnet": ("x",)}, "control must be KIND=FILE with one of canny, image"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Job(prompt="a cat", **fields)


def test_a_mask_of_another_size_is_refused(pipe, key, files):
    job = Job(prompt="a cat", **key, image=str(files / "photo.png"), mask=str(files / "small.png"))
    with pytest.raises(ValueError, match="64×64 and mask 32×32"):
        draw(pipe, job)
