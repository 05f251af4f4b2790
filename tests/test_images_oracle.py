"""Image-to-image, inpainting and ControlNet live against diffusers, on the same tiny checkpoints and the same noise."""

import numpy as np
import pytest

from image_pipelines import (
    controlnets,
    difference,
    draw,
    inpainting_checkpoint,
    load,
    mask,
    photo,
    reference,
    refiner_checkpoint,
)
from tiny_pipelines import checkpoint, put_scheduler

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for."""

IMG2IMG = {
    "defaults": {},
    "strength 1": {"strength": 1.0},
    "little strength": {"strength": 0.3, "num_inference_steps": 7},
    "two of each": {"num_images_per_prompt": 2},
    "two prompts, two pictures": {"prompt": ["a cat", "red mat"], "image": [photo(seed=1), photo(seed=2)]},
    "one generator": {"num_images_per_prompt": 2, "generator": 4},
    "a size that is rounded": {"image": photo(91, 50)},
    "custom timesteps": {"timesteps": [900, 700, 500, 100]},
    "latents": {"image": np.random.default_rng(5).standard_normal((1, 4, 8, 8)).astype(np.float32)},
    "no guidance": {"guidance_scale": 1.0},
    "latents out": {"output_type": "latent"},
}


def assert_same(theirs, ours, **arguments):
    seed = arguments.pop("generator", None)
    expected, images = (
        draw(pipe, **arguments, **({} if seed is None else {"generator": np.random.default_rng(seed)}))
        for pipe in (theirs, ours)
    )
    assert difference(expected, images) <= TOLERANCE


def pair(name, folder, **options):
    return reference(name, folder), load(name, folder, **options)


@pytest.fixture(scope="module")
def img2img():
    return pair("StableDiffusionImg2ImgPipeline", checkpoint("sd2"))


@pytest.mark.parametrize("name", IMG2IMG)
def test_image_to_image(name, img2img, monkeypatch):
    options = {"image": photo(), **IMG2IMG[name]}
    if "timesteps" in options:
        put_scheduler(monkeypatch, img2img, "DDPMScheduler")
    assert_same(*img2img, **options)


INPAINT = {
    "defaults": {},
    "strength": {"strength": 0.6},
    "two of each": {"num_images_per_prompt": 2},
    "one generator": {"num_images_per_prompt": 2, "generator": 4, "strength": 0.7},
    "a size": {"height": 48, "width": 80},
    "only around the mask": {"padding_mask_crop": 4, "output_type": "pil"},
    "a picture that is not square": {
        "image": photo(100, 80),
        "mask_image": mask(100, 80),
        "padding_mask_crop": 2,
        "output_type": "pil",
    },
    "noise of one's own": {"latents": np.random.default_rng(5).standard_normal((1, 4, 8, 8)).astype(np.float32)},
}


@pytest.fixture(scope="module", params=["four channels", "nine channels"])
def inpaint(request):
    folder = checkpoint("sd2") if request.param == "four channels" else inpainting_checkpoint("sd2")
    return pair("StableDiffusionInpaintPipeline", folder)


@pytest.mark.parametrize("name", INPAINT)
def test_inpainting(name, inpaint):
    assert_same(*inpaint, **{"image": photo(), "mask_image": mask(), **INPAINT[name]})


XL_IMG2IMG = {
    "defaults": {"strength": 0.6},
    "sizes": {
        "strength": 1.0,
        "original_size": (1024, 900),
        "crops_coords_top_left": (10, 20),
        "target_size": (512, 256),
    },
    "negative sizes": {
        "strength": 0.6,
        "negative_original_size": (100, 200),
        "negative_crops_coords_top_left": (1, 2),
        "negative_target_size": (30, 40),
    },
    "half the way": {"num_inference_steps": 8, "denoising_start": 0.3, "denoising_end": 0.8},
    "two of each": {"strength": 0.6, "num_images_per_prompt": 2, "prompt_2": "blue", "negative_prompt": "on the moon"},
}
XL_INPAINT = {
    "defaults": {},
    "strength 1": {"strength": 1.0},
    "half the way": {"num_inference_steps": 8, "denoising_start": 0.3, "denoising_end": 0.8},
    "only around the mask": {"padding_mask_crop": 4, "output_type": "pil"},
}


@pytest.fixture(scope="module")
def xl_img2img():
    return pair("StableDiffusionXLImg2ImgPipeline", checkpoint("sdxl"))


@pytest.mark.parametrize("name", XL_IMG2IMG)
def test_image_to_image_xl(name, xl_img2img):
    assert_same(*xl_img2img, **{"image": photo(), **XL_IMG2IMG[name]})


@pytest.fixture(scope="module", params=["four channels", "nine channels"])
def xl_inpaint(request):
    folder = checkpoint("sdxl") if request.param == "four channels" else inpainting_checkpoint("sdxl")
    return pair("StableDiffusionXLInpaintPipeline", folder)


@pytest.mark.parametrize("name", XL_INPAINT)
def test_inpainting_xl(name, xl_inpaint):
    assert_same(*xl_inpaint, **{"image": photo(), "mask_image": mask(), **XL_INPAINT[name]})


def test_base_and_refiner():
    theirs, ours = pair("StableDiffusionXLPipeline", checkpoint("sdxl"))
    base = {"num_inference_steps": 8, "denoising_end": 0.6, "output_type": "latent"}
    expected, latents = draw(theirs, **base), draw(ours, **base)
    theirs, ours = pair("StableDiffusionXLImg2ImgPipeline", refiner_checkpoint())
    refine = {"num_inference_steps": 8, "denoising_start": 0.6, "aesthetic_score": 7.0, "negative_prompt": "blue"}
    assert difference(draw(theirs, image=expected, **refine), draw(ours, image=latents, **refine)) <= TOLERANCE


def control_pair(name, family, count=1, order="rgb", folder=None, **options):
    folder = folder or checkpoint(family)
    theirs = reference(name, folder, controlnet=controlnets(family, count, order, theirs=True))
    return theirs, load(name, folder, controlnet=controlnets(family, count, order), **options)


CONTROL = {
    "defaults": {},
    "scale": {"controlnet_conditioning_scale": 0.4},
    "guess mode": {"guess_mode": True},
    "guess mode without guidance": {"guess_mode": True, "guidance_scale": 1.0},
    "an interval": {"control_guidance_start": 0.25, "control_guidance_end": 0.75},
    "two prompts, a picture": {"prompt": ["a cat", "red mat"], "num_images_per_prompt": 2},
    "two prompts, two pictures": {
        "prompt": ["a cat", "red mat"],
        "num_images_per_prompt": 2,
        "image": [photo(seed=1), photo(seed=2)],
    },
    "a size": {"height": 48, "width": 80},
}


@pytest.fixture(scope="module")
def control():
    return control_pair("StableDiffusionControlNetPipeline", "sd2")


@pytest.mark.parametrize("name", CONTROL)
def test_controlnet(name, control):
    assert_same(*control, **{"image": photo(), **CONTROL[name]})


def test_controlnet_that_wants_blue_first():
    assert_same(*control_pair("StableDiffusionControlNetPipeline", "sd1", order="bgr"), image=photo())


def test_two_controlnets():
    pipes = control_pair("StableDiffusionControlNetPipeline", "sd1", count=2)
    options = {"controlnet_conditioning_scale": [0.5, 0.9], "control_guidance_end": [0.5, 1.0]}
    assert_same(*pipes, image=[photo(seed=1), photo(seed=2)], **options)


def test_controlnet_xl():
    pipes = control_pair("StableDiffusionXLControlNetPipeline", "sdxl")
    assert_same(*pipes, image=photo(), guess_mode=True)
    assert_same(*pipes, image=photo())


def test_controlnet_from_a_picture():
    pipes = control_pair("StableDiffusionControlNetImg2ImgPipeline", "sd1")
    assert_same(*pipes, image=photo(), control_image=photo(seed=3))


@pytest.mark.parametrize("crop", [{}, {"padding_mask_crop": 4, "output_type": "pil"}])
def test_controlnet_inpainting(crop):
    pipes = control_pair("StableDiffusionControlNetInpaintPipeline", "sd1")
    assert_same(*pipes, image=photo(), mask_image=mask(), control_image=photo(seed=3), strength=0.9, **crop)


def test_controlnet_inpainting_with_a_network_made_for_it():
    pipes = control_pair("StableDiffusionControlNetInpaintPipeline", "sd1", folder=inpainting_checkpoint("sd1"))
    assert_same(*pipes, image=photo(), mask_image=mask(), control_image=photo(seed=3))


def test_the_other_engine():
    options = {"num_inference_steps": 2, "image": photo(), "strength": 1.0}
    assert_same(*pair("StableDiffusionImg2ImgPipeline", checkpoint("sd1"), engine="mindspore"), **options)
    assert_same(*pair("StableDiffusionXLImg2ImgPipeline", checkpoint("sdxl"), engine="mindspore"), **options)
    inpainting = pair("StableDiffusionInpaintPipeline", checkpoint("sd2"), engine="mindspore")
    assert_same(*inpainting, mask_image=mask(), **options)
    control = control_pair("StableDiffusionControlNetPipeline", "sd1", engine="mindspore")
    assert_same(*control, image=photo(), num_inference_steps=2)


@pytest.fixture(scope="module")
def sd1_from_a_picture():
    return [pair(f"StableDiffusion{task}Pipeline", checkpoint("sd1")) for task in ("Img2Img", "Inpaint")]


@pytest.mark.parametrize(
    "name",
    [
        "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler",
        "LCMScheduler",
        "DPMSolverMultistepScheduler",
        "UniPCMultistepScheduler",
        "EulerDiscreteScheduler",
        "DEISMultistepScheduler",
        "DPMSolverSinglestepScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "KDPM2DiscreteScheduler",
    ],
)
def test_schedulers_that_begin_in_the_middle(name, sd1_from_a_picture, monkeypatch):
    for pipes, more in zip(sd1_from_a_picture, ({}, {"mask_image": mask()})):
        put_scheduler(monkeypatch, pipes, name)
        assert_same(*pipes, image=photo(), strength=0.7, num_inference_steps=6, **more)
