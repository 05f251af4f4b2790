"""What is under a mask before it is drawn anew: each fill is the run that starts from the picture filled beforehand."""

import numpy as np
import pytest

from image_pipelines import inpainting_checkpoint, load, mask, photo
from mindone.diffusers.pipelines.regions import filled_from_around
from mindone.diffusers.schedulers.base import draw_noise
from tiny_pipelines import checkpoint

OPTIONS = {"num_inference_steps": 4, "strength": 0.75, "output_type": "np"}


@pytest.fixture(scope="module")
def pipe():
    return load("StableDiffusionInpaintPipeline", checkpoint("bk_sdm"))


def draw(pipe, **options) -> np.ndarray:
    source = [np.random.Generator(np.random.PCG64(3))]
    return np.asarray(pipe("a cat", mask_image=mask(), generator=source, **{**OPTIONS, **options}).images, np.float32)


def latent_mask() -> np.ndarray:
    """The mask in latents, (1, 1, 8, 8): every eighth pixel of every eighth row, as nearest neighbours are taken."""
    return (np.asarray(mask(), np.float32)[None, None, ::8, ::8] >= 128).astype(np.float32)


def test_noise_and_nothing_are_put_into_the_latents(pipe):
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    noise = draw_noise(np.empty((1, 4, 8, 8), np.float32), [np.random.Generator(np.random.PCG64(3))])
    white = latent_mask()
    for fill, under in (("nothing", 0 * noise), ("noise", noise), ("original", latents)):
        expected = draw(pipe, image=(1 - white) * latents + white * under)
        np.testing.assert_allclose(draw(pipe, image=latents, mask_fill=fill), expected, atol=1e-6)


@pytest.mark.parametrize("family", ["four channels", "nine channels"])
def test_blurred_colours_are_put_into_the_picture(pipe, family):
    if family == "nine channels":
        pipe = load("StableDiffusionInpaintPipeline", inpainting_checkpoint("bk_sdm"))
    expected = draw(pipe, image=filled_from_around(photo(), mask()))
    np.testing.assert_array_equal(draw(pipe, image=photo(), mask_fill="blur"), expected)
    assert np.abs(draw(pipe, image=photo()) - expected).mean() > 1e-3


def test_blurred_colours_fill_what_is_cut_out_and_not_what_it_is_put_back_into(pipe):
    drawn = draw(pipe, image=photo(), mask_fill="blur", padding_mask_crop=4, output_type="pil")[0]
    outside = np.asarray(mask()) == 0
    np.testing.assert_array_equal(drawn[outside], np.asarray(photo(), np.float32)[outside])


def test_at_full_strength_nothing_shows_through(pipe):
    plain = draw(pipe, image=photo(), strength=1.0)
    for fill in ("noise", "nothing"):
        np.testing.assert_array_equal(draw(pipe, image=photo(), strength=1.0, mask_fill=fill), plain)


def test_another_fill_and_arrays_are_refused(pipe):
    with pytest.raises(ValueError, match="mask_fill must be one of original, blur, noise, nothing, got 'white'"):
        draw(pipe, image=photo(), mask_fill="white")
    with pytest.raises(ValueError, match='mask_fill "blur" needs image and mask_image as PIL images'):
        draw(pipe, image=np.zeros((64, 64, 3), np.float32), mask_fill="blur")
