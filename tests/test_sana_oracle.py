"""Sana and SANA-Sprint live against diffusers, on the same tiny checkpoints and the same noise."""

import functools

import numpy as np
import pytest
from PIL import Image

from golden.make_pipelines import draw, generators, reference
from mindone.diffusers import SanaSprintImg2ImgPipeline
from tiny_pipelines import load
from tiny_sana import checkpoint

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1], as of other families: a tenth of what is asked for."""
PROMPT = "A red cat sitting on a mat"
SMALL = {"prompt": PROMPT, "height": 64, "width": 96, "use_resolution_binning": False}
_random = np.random.default_rng(1)
EMBEDS, MASK = _random.standard_normal((2, 1, 9, 24)).astype(np.float32), np.ones((2, 1, 9), np.float32)
MASK[0, :, 5:] = MASK[1, :, 2:] = 0
LATENTS = _random.standard_normal((1, 8, 2, 3)).astype(np.float32)
PICTURE = Image.fromarray(_random.integers(0, 256, (50, 70, 3), np.uint8))

SANA = {
    "defaults": {},
    "no guidance": {"guidance_scale": 1.0},
    "guidance": {"guidance_scale": 7.0},
    "no instruction": {"complex_human_instruction": None},
    "an instruction of one's own": {"complex_human_instruction": ["Draw it:", "User Prompt: "]},
    "a negative prompt": {"negative_prompt": "Blue"},
    "a short limit": {"max_sequence_length": 6},
    "several prompts": {"prompt": ["a cat", "Red mat"], "negative_prompt": ["blue", "cat"]},
    "several images": {"num_images_per_prompt": 2},
    "sizes": {"height": 300, "width": 200, "use_resolution_binning": True, "num_inference_steps": 2},
    "latents": {"latents": LATENTS},
    "embeddings": {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": EMBEDS[0],
        "prompt_attention_mask": MASK[0],
        "negative_prompt_embeds": EMBEDS[1],
        "negative_prompt_attention_mask": MASK[1],
    },
}
SPRINT = {
    "two steps": {},
    "one step": {"num_inference_steps": 1, "intermediate_timesteps": None},
    "four steps": {"num_inference_steps": 4, "intermediate_timesteps": None},
    "angles": {"max_timesteps": 1.4, "intermediate_timesteps": 0.8},
    "guidance": {"guidance_scale": 5.0},
    "several prompts": {"prompt": ["a cat", "Red mat"]},
    "several images": {"num_images_per_prompt": 2},
    "latents": {"latents": LATENTS},
    "embeddings": {"prompt": None, "prompt_embeds": EMBEDS[0], "prompt_attention_mask": MASK[0]},
}
PICTURES = {
    "both steps": {"strength": 0.6},
    "half of the steps": {"strength": 0.5},
    "four steps": {"num_inference_steps": 4, "intermediate_timesteps": None, "strength": 0.7},
    "several images": {"num_images_per_prompt": 2},
}


@functools.cache
def ours(family: str, engine: str):
    return load(checkpoint(family), engine=engine)


@functools.cache
def theirs(family: str):
    return reference(checkpoint(family))


def both(family, options, engine, kind=None, **arguments):
    """Images of the reference and ours, with the same noise."""
    asked = {**SMALL, **arguments, **options}
    prompts = len(asked["prompt"]) if isinstance(asked["prompt"], list) else 1
    images = prompts * asked.get("num_images_per_prompt", 1)
    pipes = theirs(family), ours(family, engine)
    if kind is not None:
        import diffusers

        pipes = getattr(diffusers, kind.__name__)(**pipes[0].components), kind.from_pipe(pipes[1])
        for pipe in pipes:
            pipe.set_progress_bar_config(disable=True)
    expected = draw(pipes[0], generators(images), **asked)
    return expected, pipes[1](**asked, output_type="np", generator=generators(images)).images


def assert_same(expected, images):
    assert expected.shape == images.shape
    assert float(np.abs(expected - images).mean()) <= TOLERANCE


@pytest.mark.parametrize("name", SANA)
def test_sana(name):
    assert_same(*both("sana", SANA[name], "openvino", num_inference_steps=3))


@pytest.mark.parametrize("name", SPRINT)
def test_sprint(name):
    assert_same(*both("sana-sprint", SPRINT[name], "openvino"))


@pytest.mark.parametrize("name", PICTURES)
def test_sprint_from_a_picture(name):
    assert_same(*both("sana-sprint", PICTURES[name], "openvino", SanaSprintImg2ImgPipeline, image=PICTURE))


@pytest.mark.parametrize(
    "family, kind, arguments",
    [
        ("sana", None, {"num_inference_steps": 3}),
        ("sana-sprint", None, {}),
        ("sana-sprint", SanaSprintImg2ImgPipeline, {"image": PICTURE}),
    ],
)
def test_the_other_engine(family, kind, arguments):
    assert_same(*both(family, {}, "mindspore", kind, **arguments))


@pytest.mark.parametrize("family", ["sana", "sana-sprint"])
def test_several_images_of_several_prompts_are_those_of_each(family):
    """The reference pairs prompts with the masks of others here; each prompt alone is right."""
    prompts, noise = ["a cat", "Red mat"], _random.standard_normal((4, 8, 2, 3)).astype(np.float32)
    steps = {"num_inference_steps": 1, "output_type": "np"}
    if family == "sana-sprint":
        steps["intermediate_timesteps"] = None
    pipe = ours(family, "openvino")
    asked = {**SMALL, "prompt": prompts, "num_images_per_prompt": 2, "latents": noise}
    images = pipe(**asked, **steps).images
    for row, prompt in enumerate(prompts):
        rows = slice(2 * row, 2 * row + 2)
        alone = {**SMALL, "prompt": prompt, "num_images_per_prompt": 2, "latents": noise[rows]}
        assert_same(draw(theirs(family), generators(2), **alone, **steps), images[rows])
