"""Jobs that read pictures: started from, painted in, followed, enlarged; and back from the file."""

import shlex

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from image_pipelines import controlnet_folder, controlnets, mask, photo, refiner_checkpoint
from mindone.diffusers import AutoPipelineForText2Image, jobs
from mindone.diffusers.cli import main
from mindone.diffusers.jobs import Job, draw, load
from mindone.diffusers.jobs.pictures import Pictures, edges, read_pictures
from mindone.diffusers.jobs.png import INFOTEXT, read_infotext, read_job
from mindone.diffusers.jobs.upscale import enlarged
from mindone.diffusers.utils.quality import compare
from tiny_pipelines import checkpoint


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    photo().save(folder / "photo.png")
    mask().save(folder / "mask.png")
    Image.new("L", (64, 64), 0).save(folder / "black.png")
    photo(96, 80).save(folder / "large.png")
    Image.new("L", (96, 80), 0).save(folder / "spot.png")
    with Image.open(folder / "spot.png") as spot:
        spot.paste(255, (8, 8, 24, 24))
        spot.save(folder / "spot.png")
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def key():
    return {"model": str(checkpoint("bk_sdm")), "dtype": "float32", "engine": "openvino", "steps": 3, "seed": 1}


@pytest.fixture(scope="module")
def pipe(key):
    pipe = load(Job(prompt="a cat", **key))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pixels(images) -> np.ndarray:
    return np.asarray(images[0], np.float32)


# ---- what is drawn ---------------------------------------------------------------------------------------------------


def test_a_picture_shows_through_where_little_is_drawn_anew(pipe, key, files):
    start = {**key, "steps": 10, "image": str(files / "photo.png")}
    kept, little, much = (pixels(draw(pipe, Job(prompt="a cat", **start, strength=s))) for s in (0.1, 0.3, 1.0))
    assert kept.shape == (64, 64, 3)
    assert np.abs(kept - little).mean() < np.abs(kept - much).mean()


def test_a_mask_keeps_what_is_black(pipe, key, files):
    start = {**key, "image": str(files / "photo.png"), "mask": str(files / "mask.png")}
    one, other = (pixels(draw(pipe, Job(prompt="a cat", **{**start, "seed": seed}))) for seed in (1, 2))
    inside = np.asarray(mask()) > 0
    assert np.abs(one - other)[inside].mean() > 2 * np.abs(one - other)[:8].mean()


def test_an_enlarged_image_is_larger_and_its_second_pass_follows_strength(pipe, key):
    job = Job(prompt="a cat", **key, height=32, width=48, upscale=2)
    [image] = draw(pipe, job)
    assert image.size == (96, 64)
    assert np.abs(pixels([image]) - pixels(draw(pipe, job.changed(strength=1.0)))).mean() > 1


@pytest.mark.heavy
def test_an_enlarged_icon_stays_what_it_was():
    job = Job(prompt="a rocket on a blue background", seed=0, steps=10, height=128, width=128)
    pipe = load(job)
    [plain] = draw(pipe, job)
    larger = np.asarray(plain.resize((384, 384), Image.Resampling.LANCZOS))
    quality = compare(np.asarray(draw(pipe, job.changed(upscale=3))), larger[None])
    assert quality.psnr > 22  # 24.9; 0.6 of the steps from enlarged latents come to 12.3


@pytest.mark.heavy
def test_images_that_are_enlarged_together_have_their_own_seeds(pipe, key):
    job = Job(prompt="a cat", **key, height=32, width=32, upscale=2, negative_prompt="a dog")
    both = draw(pipe, job.changed(num_images=2))
    for seed, image in zip(job.changed(num_images=2).seeds, both):
        [alone] = draw(pipe, job.changed(seed=seed))
        assert np.abs(pixels([image]) - pixels([alone])).max() <= 1


def test_a_refiner_draws_from_a_picture(files):
    job = Job(
        prompt="a cat", model=str(refiner_checkpoint()), dtype="float32", engine="openvino", steps=2, strength=0.5,
        image=str(files / "photo.png"), seed=0,
    )  # fmt: skip
    pipe = load(job)
    pipe.set_progress_bar_config(disable=True)
    assert draw(pipe, job)[0].size == (64, 64)


# ---- pictures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, drawn",
    [((None, None), (40, 104)), ((80, None), (80, 200)), ((None, 50), (24, 50)), ((64, 64), (64, 64))],
)
def test_one_side_alone_keeps_the_picture_s_proportions(asked, drawn):
    assert Pictures(photo(107, 43)).size(*asked, factor=8) == drawn


def test_enlarging_keeps_the_mean():
    latents = np.random.default_rng(0).standard_normal((2, 4, 8, 6)).astype(np.float32)
    larger = enlarged(latents, 2)
    assert larger.shape == (2, 4, 16, 12)
    assert abs(larger.mean() - latents.mean()) < 1e-3


def test_edges_are_white_on_black_where_a_shape_ends():
    picture = Image.new("RGB", (64, 64), "navy")
    picture.paste("orange", (16, 16, 48, 48))
    found = np.asarray(edges(picture))
    assert list(np.unique(found)) == [0, 255]
    rows, columns, _ = np.nonzero(found)
    assert {(rows.min() + 1) // 2, (columns.min() + 1) // 2} == {8} and not found[20:44, 20:44].any()


# ---- the command line and the file -----------------------------------------------------------------------------------


@pytest.mark.heavy
def test_several_edges_are_followed_and_the_file_gives_the_same_image_again(key, files, tmp_path):
    output, control = tmp_path / "out.png", f"canny={files / 'photo.png'}"
    nets = [str(controlnet_folder("bk_sdm", number)) for number in (0, 1)]
    words = ["generate", "a cat", "--control", control, "--control", f"image={files / 'mask.png'}", "-o", str(output)]
    words += [word for net in nets for word in ("--controlnet", net)]
    words += ["--control-scale", "1", "--control-scale", "0.5"]
    words += [word for name, value in key.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    job = read_job(output)
    assert job.control[0] == control and job.controlnet == tuple(nets) and job.control_scale == (1.0, 0.5)
    told = read_infotext(output)["extra"]["ControlNet 1"]
    assert told == f"Module: none, Model: {controlnet_folder('bk_sdm', 1).name}, Weight: 0.5"
    drawn = output.read_bytes()
    again = shlex.split(CliRunner().invoke(main, ["info", str(output)]).output.splitlines()[-1])
    assert CliRunner().invoke(main, again[1:]).exit_code == 0
    assert output.read_bytes() == drawn


def test_the_web_user_interface_is_told_of_an_enlarged_image(tmp_path):
    job = Job(prompt="a cat", seed=0, upscale=2, strength=0.5)
    jobs.png.save_png(Image.new("RGB", (96, 64)), tmp_path / "x.png", job, {})
    with Image.open(tmp_path / "x.png") as image:
        assert (
            "Size: 48x32" in image.text[INFOTEXT] and "Hires upscale: 2, Hires upscaler: Latent" in image.text[INFOTEXT]
        )
    assert read_infotext(tmp_path / "x.png")["strength"] == 0.5


def test_only_the_part_around_a_mask_is_drawn_and_put_back_into_the_picture(pipe, key, files, tmp_path):
    words = ["generate", "a cat", "--image", str(files / "large.png"), "--mask", str(files / "spot.png")]
    words += ["--padding-mask-crop", "4", "--mask-fill", "blur", "--strength", "0.7", "--width", "64", "--height", "64"]
    words += [word for name, value in key.items() for word in (f"--{name}", str(value))]
    result = CliRunner().invoke(main, [*words, "-o", str(tmp_path / "x.png")])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "x.png") as file, Image.open(files / "large.png") as original:
        drawn, before = np.asarray(file, np.float32), np.asarray(original, np.float32)
    inside = np.asarray(Image.open(files / "spot.png")) > 0
    np.testing.assert_array_equal(drawn[~inside], before[~inside])
    assert np.abs(drawn - before)[inside].mean() > 1
    job = read_job(tmp_path / "x.png")
    np.testing.assert_array_equal(pixels(draw(pipe, job)), drawn)


def test_strength_0_takes_the_last_step_of_as_many_as_the_model_takes(pipe, key, files):
    start = {**key, "image": str(files / "photo.png"), "scheduler": "euler"}
    last = pixels(draw(pipe, Job(prompt="a cat", **start, strength=0)))
    np.testing.assert_array_equal(pixels(draw(pipe, Job(prompt="a cat", **start, strength=0.34))), last)
    seen = []
    del start["steps"]
    draw(pipe, Job(prompt="a cat", **start, strength=0), lambda pipe, step, timestep, tensors: seen.append(step))
    assert seen == [0]


@pytest.mark.parametrize("size", [(32, 16), (128, 256)])
def test_a_mask_of_another_size_is_stretched_over_the_picture(files, size):
    spot = Image.new("L", (64, 64))
    spot.paste(255, (16, 8, 48, 56))
    spot.resize(size, Image.Resampling.NEAREST).save(files / "other.png")
    read = read_pictures(Job(prompt="a cat", image=str(files / "photo.png"), mask=str(files / "other.png")))
    np.testing.assert_array_equal(np.asarray(read.mask.convert("L")), np.asarray(spot))


# ---- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, message",
    [
        ("--mask mask.png", "mask needs image"),
        ("--strength 0.5", "strength needs image"),
        ("--image photo.png --mask-fill noise", "mask_fill needs mask"),
        ("--image photo.png --padding-mask-crop 8", "padding_mask_crop needs mask"),
        (
            "--image photo.png --strength 0.05 --steps 10",
            "strength 0.05 of 10 steps leaves none; use at least 20",
        ),
        ("--image photo.png --mask mask.png --upscale 2", "upscale enlarges images generated from noise, not image"),
        ("--image photo.png --upscale 2", "upscale enlarges images generated from noise, not image"),
        ("--control canny=photo.png", "control and controlnet go in pairs, one picture for each network: got 1 and 0"),
        (
            "--controlnet a --controlnet b --control canny=photo.png",
            "one picture for each network: got 1 and 2",
        ),
        ("--controlnet a --control depth=photo.png", "control must be canny=FILE or image=FILE, got 'depth=photo.png'"),
        ("--controlnet a --control canny=photo.png --control-scale 1 --control-scale 2", "one number for each control"),
        ("--image photo.png --mask black.png", "mask black.png is all black"),
        ("--image text.png", "text.png is no image in a known format"),
        ("--image missing.png", "no image 'missing.png'"),
        ("--controlnet a --control canny=missing.png", "no image 'missing.png'"),
    ],
)
def test_pictures_that_do_not_fit_are_told_in_one_line_before_anything_is_loaded(words, message, files, monkeypatch):
    monkeypatch.chdir(files)
    monkeypatch.setattr(jobs, "load", lambda job: pytest.fail("loaded a pipeline"))
    result = CliRunner().invoke(main, ["generate", "a cat", *words.split()])
    assert result.exit_code == 1 and message in result.output and len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words, message",
    [
        ("--image photo.png --strength -0.1", "-0.1 is not in the range 0<=x<=1"),
        ("--image photo.png --strength 1.5", "1.5 is not in the range 0<=x<=1"),
        ("--upscale 1", "1.0 is not in the range 1<x<=8"),
        ("--image photo.png -o photo.png", "--output photo.png is an input picture"),
    ],
)
def test_wrong_options_are_refused(words, message, files, monkeypatch):
    monkeypatch.chdir(files)
    result = CliRunner().invoke(main, ["generate", "a cat", *words.split()])
    assert result.exit_code == 2 and message in " ".join(result.output.split())


def test_a_size_that_the_network_cannot_draw_is_refused(pipe, key, files):
    with pytest.raises(ValueError, match="height must be a multiple of 8, got 60"):
        draw(pipe, Job(prompt="a cat", **key, image=str(files / "photo.png"), height=60))


def test_a_controlnet_of_another_base_is_refused(pipe, key, files):
    controlled = AutoPipelineForText2Image.from_pipe(pipe, controlnet=controlnets("sdxl"))
    job = Job(prompt="a cat", **key, control=(f"image={files / 'photo.png'}",), controlnet=("sdxl",))
    with pytest.raises(ValueError, match="the ControlNet is for another base: its text has"):
        draw(controlled, job)
