"""PixArt-α and PixArt-Σ live against diffusers, on the same tiny checkpoints and the same noise."""

import functools

import numpy as np
import pytest

from golden.make_pipelines import draw, generators, reference
from golden.make_pixart import SMALL
from mindone.diffusers.pipelines.binning import binned
from tiny_pipelines import load, put_scheduler
from tiny_pixart import CHANNELS, checkpoint

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1], as of other families: a tenth of what is asked for."""
_random = np.random.default_rng(1)
EMBEDS = _random.standard_normal((2, 1, 9, CHANNELS)).astype(np.float32)
MASK = (np.arange(9) < np.array([5, 2])[:, None, None]).astype(np.float32)
LATENTS = _random.standard_normal((1, 4, 8, 12)).astype(np.float32)
CASES = {
    "defaults": {},
    "no guidance": {"guidance_scale": 1.0},
    "guidance": {"guidance_scale": 7.0},
    "a negative prompt": {"negative_prompt": "A horse"},
    "a short limit": {"max_sequence_length": 4},
    "several prompts": {"prompt": ["a cat", "Red mars"], "negative_prompt": ["horse", "of"]},
    "several images": {"num_images_per_prompt": 2},
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
FAMILIES = ("pixart-alpha", "pixart-sigma")


@functools.cache
def ours(family: str, engine: str):
    return load(checkpoint(family), engine=engine)


@functools.cache
def theirs(family: str):
    return reference(checkpoint(family))


def both(family: str, engine: str = "openvino", **options):
    """Images of the reference and ours, with the same noise."""
    asked = {**SMALL, "num_inference_steps": 3, **options}
    prompts = len(asked["prompt"]) if isinstance(asked["prompt"], list) else 1
    images = prompts * asked.get("num_images_per_prompt", 1)
    expected = draw(theirs(family), generators(images), **asked)
    return expected, ours(family, engine)(**asked, output_type="np", generator=generators(images)).images


def assert_same(expected, images):
    assert expected.shape == images.shape
    assert float(np.abs(expected - images).mean()) <= TOLERANCE
    assert expected.std() > 0.05 and np.mean((expected > 0) & (expected < 1)) > 0.8  # few pixels are clipped


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("family", FAMILIES)
def test_images(family, name):
    assert_same(*both(family, **CASES[name]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_other_engine(family):
    assert_same(*both(family, "mindspore", num_inference_steps=2))


def test_sizes_are_binned_and_cut():
    size = {"height": 100, "width": 70, "use_resolution_binning": True, "num_inference_steps": 1}
    assert_same(*both("pixart-sigma", **size))


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "EulerDiscreteScheduler", "LCMScheduler"])
@pytest.mark.parametrize("steps", [1, 2])
def test_other_schedulers(scheduler, steps, monkeypatch):
    """A single step of PixArt-α ends with the scheduler's estimate of the clean latents."""
    put_scheduler(monkeypatch, (theirs("pixart-alpha"), ours("pixart-alpha", "openvino")), scheduler)
    assert_same(*both("pixart-alpha", num_inference_steps=steps))


def test_a_network_distilled_for_one_step_is_asked_at_a_timestep_of_its_own(monkeypatch):
    put_scheduler(monkeypatch, (theirs("pixart-alpha"), ours("pixart-alpha", "openvino")), "DDPMScheduler")
    assert_same(*both("pixart-alpha", timesteps=[400], guidance_scale=1.0))


@pytest.mark.parametrize("family", FAMILIES)
def test_several_images_of_several_prompts_are_those_of_each(family):
    """The reference pairs prompts with the masks of others here; each prompt alone is right."""
    prompts, noise = ["a cat", "a photo of an astronaut"], _random.standard_normal((4, 4, 8, 12)).astype(np.float32)
    asked = {**SMALL, "num_inference_steps": 2, "num_images_per_prompt": 2}
    images = ours(family, "openvino")(**{**asked, "prompt": prompts, "latents": noise}, output_type="np").images
    for row, prompt in enumerate(prompts):
        rows = slice(2 * row, 2 * row + 2)
        alone = {**asked, "prompt": prompt, "latents": noise[rows]}
        assert_same(draw(theirs(family), generators(2), **alone), images[rows])


@pytest.mark.parametrize("side", [256, 512, 1024, 2048])
def test_the_sizes_of_checkpoints_are_the_references(side, monkeypatch):
    from diffusers.image_processor import PixArtImageProcessor
    from diffusers.pipelines.pixart_alpha import pipeline_pixart_sigma

    pipe = ours("pixart-sigma", "openvino").view()
    table = getattr(pipeline_pixart_sigma, f"ASPECT_RATIO_{side}_BIN")
    monkeypatch.setattr(pipe.transformer, "config", {**pipe.transformer.config, "sample_size": side // 8})
    for ratio in np.geomspace(0.2, 5, 60):
        expected = PixArtImageProcessor.classify_height_width_bin(1000 * ratio, 1000.0, table)
        assert binned(pipe, 1000 * ratio, 1000.0) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_encoded_as_the_references_are(family):
    texts = ["A photo of an Astronaut ", "cat"]
    ours_, theirs_ = (
        pipe.encode_prompt(texts, True, "Horse", 2) for pipe in (ours(family, "openvino"), theirs(family))
    )
    for mine, masks, expected in zip(ours_[::2], ours_[1::2], theirs_[::2]):
        words = masks[..., None] > 0
        assert np.abs((mine - expected.detach().numpy()) * words).max() <= 1e-5
