"""Image-to-image, inpainting and ControlNet live against diffusers, on the same tiny checkpoints and the same noise."""

import numpy as np
import pytest

from image_pipelines import (
    difference,
    draw,
    inpainting_checkpoint,
    load,
    mask,
    photo,
    reference,
)
from tiny_pipelines import checkpoint

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
def test_image_to_image(name, img2img):
    options = {"image": photo(), **IMG2IMG[name]}
    if "timesteps" in options:
        import diffusers

        from mindone.diffusers import schedulers

        options["scheduler"] = None
        del options["scheduler"]
        theirs, ours = pair("StableDiffusionImg2ImgPipeline", checkpoint("sd2"))
        theirs.scheduler = diffusers.DDPMScheduler.from_config(theirs.scheduler.config)
        ours.scheduler = schedulers.DDPMScheduler.from_config(ours.scheduler.config)
        assert_same(theirs, ours, **options)
    else:
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
