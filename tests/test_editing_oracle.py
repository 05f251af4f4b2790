"""InstructPix2Pix and Depth2Img live against diffusers, on the same tiny checkpoints and the same noise."""

import functools

import numpy as np
import pytest

from editing_cases import CASES, DEPTH, EDIT, FOLDERS, WITHOUT, depths
from image_pipelines import controlnets, difference, draw, load, mask, photo, reference
from test_editing import make_inpaint_condition
from tiny_pipelines import checkpoint, put_scheduler

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for."""


@functools.cache
def pair(name):
    return reference(name, FOLDERS[name](), **WITHOUT.get(name, {})), load(name, FOLDERS[name]())


@pytest.mark.parametrize("name", CASES)
def test_images(name):
    chosen, options = CASES[name]
    expected, images = (draw(pipe, **options) for pipe in pair(chosen))
    assert difference(expected, images) <= TOLERANCE


@pytest.mark.parametrize("scheduler", ["EulerDiscrete", "DPMSolverMultistep", "HeunDiscrete"])
@pytest.mark.parametrize("name", [EDIT, DEPTH])
def test_schedulers(name, scheduler, monkeypatch):
    pipes = pair(name)
    put_scheduler(monkeypatch, pipes, f"{scheduler}Scheduler")
    options = {"image": photo(), **({"depth_map": depths()} if name == DEPTH else {})}
    expected, images = (draw(pipe, **options) for pipe in pipes)
    assert difference(expected, images) <= TOLERANCE


def test_an_inpainting_controlnet_sees_the_masked_pixels():
    name, folder = "StableDiffusionControlNetInpaintPipeline", checkpoint("sd1")
    theirs = reference(name, folder, controlnet=controlnets("sd1", theirs=True))
    ours = load(name, folder, controlnet=controlnets("sd1"))
    condition = make_inpaint_condition(photo(), mask())
    options = {"image": photo(), "mask_image": mask(), "control_image": condition}
    expected, images = (draw(pipe, **options) for pipe in (theirs, ours))
    assert difference(expected, images) <= TOLERANCE


def test_a_mask_of_another_size():
    name, folder = "StableDiffusionInpaintPipeline", checkpoint("sd2")
    expected, images = (
        draw(pipe, image=photo(), mask_image=mask(40, 30)) for pipe in (reference(name, folder), load(name, folder))
    )
    assert difference(expected, images) <= TOLERANCE


def test_a_function_in_the_safety_checkers_place_gets_and_gives_the_same():
    """The published idiom, and a function that changes what it flags."""
    name, folder = "StableDiffusionPipeline", checkpoint("sd1", safety_checker=True)
    seen = []

    def check(images, clip_input):
        images = images.clip(-1, 1)  # which ours are already
        seen.append((np.asarray(images), np.asarray(clip_input)))
        return images * 0.5, [False, True]

    outputs = []
    for pipe in (reference(name, folder), load(name, folder)):
        pipe.safety_checker = check
        outputs.append(draw(pipe, num_images_per_prompt=2))
    for theirs, ours in zip(*seen):
        assert theirs.shape == ours.shape
        np.testing.assert_allclose(ours, theirs, atol=0.05)  # clip_input is of 8 bits on both sides
        assert np.abs(ours - theirs).mean() < 1e-3
    # The reference leaves what is flagged outside [0, 1].
    assert difference(*(images.clip(0, 1) for images in outputs)) <= TOLERANCE
