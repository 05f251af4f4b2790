"""Pipelines live against diffusers, on the same tiny checkpoints and the same noise."""

import numpy as np
import pytest

from golden.make_pipelines import draw, generators, reference
from mindone.diffusers import AutoPipelineForText2Image, schedulers
from published_api import OURS_ALONE
from tiny_pipelines import PROMPT, checkpoint, load, put_scheduler

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for. Most runs differ by 1e-6; random networks
amplify rounding now and then."""

EMBEDS = np.random.default_rng(1).standard_normal((1, 77, 16)).astype(np.float32)
EMBEDS_XL = np.random.default_rng(2).standard_normal((1, 77, 32)).astype(np.float32)
POOLED = np.random.default_rng(3).standard_normal((1, 12)).astype(np.float32)

SD_OPTIONS = {
    "defaults": {},
    "ten steps": {"num_inference_steps": 10},
    "a list of prompts": {"prompt": ["a cat", "red mat"], "num_images_per_prompt": 2},
    "negative prompt": {"negative_prompt": "blue"},
    "negative prompts": {"prompt": ["a cat", "red mat"], "negative_prompt": ["blue", "on the moon"]},
    "guidance scale": {"guidance_scale": 2.5},
    "no guidance": {"guidance_scale": 1.0},
    "guidance rescale": {"guidance_rescale": 0.7},
    "clip skip 1": {"clip_skip": 1},
    "clip skip 2, negative prompt": {"clip_skip": 2, "negative_prompt": "blue"},
    "embeddings": {"prompt": None, "prompt_embeds": EMBEDS},
    "both embeddings": {"prompt": None, "prompt_embeds": EMBEDS, "negative_prompt_embeds": -EMBEDS},
    "repeated embeddings": {"prompt": None, "prompt_embeds": EMBEDS, "num_images_per_prompt": 2},
    "size": {"height": 40, "width": 88},
    "long prompt": {"prompt": "a red cat sitting on a mat, " * 9},
}
XL_OPTIONS = {
    "defaults": {},
    "second prompts": {"prompt_2": "blue", "negative_prompt": "on the moon", "negative_prompt_2": "x"},
    "an empty negative prompt": {"negative_prompt": ""},
    "sizes and crops": {"original_size": (1024, 900), "crops_coords_top_left": (10, 20), "target_size": (512, 256)},
    "negative sizes": {
        "negative_original_size": (100, 200),
        "negative_crops_coords_top_left": (1, 2),
        "negative_target_size": (30, 40),
    },
    "clip skip": {"clip_skip": 1, "negative_prompt": "blue"},
    "a list of prompts": {"prompt": ["a cat", "red mat"], "num_images_per_prompt": 2, "negative_prompt": ["x", "y"]},
    "stop half-way": {"num_inference_steps": 8, "denoising_end": 0.5},
    "custom timesteps": {"timesteps": [900, 500, 100]},
    "custom sigmas": {"sigmas": [10.0, 3.0, 1.0, 0.0]},
    "guidance rescale": {"guidance_rescale": 0.5},
    "no guidance": {"guidance_scale": 1.0},
    "embeddings": {"prompt": None, "prompt_embeds": EMBEDS_XL, "pooled_prompt_embeds": POOLED, "guidance_scale": 1.0},
}


def draw_both(theirs, ours, **options):
    """Images of both, with the same noise."""
    arguments = {"prompt": PROMPT, "num_inference_steps": 4, **options}
    if "timesteps" in options or "sigmas" in options:
        del arguments["num_inference_steps"]
    prompts = len(arguments["prompt"]) if isinstance(arguments["prompt"], list) else 1
    count = prompts * arguments.get("num_images_per_prompt", 1)
    expected = draw(theirs, generators(count), **arguments)
    return expected, ours(**{"output_type": "np", **arguments}, generator=generators(count)).images


def difference(expected, images) -> float:
    return float(np.abs(expected - images).mean())


def assert_same(theirs, ours, **options):
    expected, images = draw_both(theirs, ours, **options)
    assert expected.shape == images.shape
    assert difference(expected, images) <= TOLERANCE


@pytest.fixture(scope="module")
def sd():
    return reference(checkpoint("sd1")), load(checkpoint("sd1"))


@pytest.fixture(scope="module")
def xl():
    return reference(checkpoint("sdxl")), load(checkpoint("sdxl"))


@pytest.fixture(scope="module")
def plain(sd, xl):
    """Images of both families' pipelines without any options."""
    return {id(pipes): draw_both(*pipes)[1] for pipes in (sd, xl)}


def assert_same_and_unlike(plain, pipes, options):
    # Without the second, agreement could mean that the tiny networks ignore what they are given.
    expected, images = draw_both(*pipes, **options)
    assert expected.shape == images.shape
    assert difference(expected, images) <= TOLERANCE
    if options:
        rows = images[: len(plain)]
        assert rows.shape != plain.shape or difference(rows, plain) > 10 * TOLERANCE


@pytest.mark.parametrize("name", SD_OPTIONS)
def test_stable_diffusion_options(name, sd, plain):
    assert_same_and_unlike(plain[id(sd)], sd, SD_OPTIONS[name])


@pytest.mark.parametrize("name", XL_OPTIONS)
def test_stable_diffusion_xl_options(name, xl, plain):
    assert_same_and_unlike(plain[id(xl)], xl, XL_OPTIONS[name])


@pytest.mark.parametrize("family", ["sd2", "bk_sdm", "lcm"])
def test_other_families(family):
    assert_same(reference(checkpoint(family)), load(checkpoint(family)), num_inference_steps=10)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "bk_sdm", "lcm"])
def test_families_on_mindspore(family):
    assert_same(reference(checkpoint(family)), load(checkpoint(family), engine="mindspore"), num_inference_steps=2)


OTHER_LEVELS = {
    "EDMEulerScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "SCMScheduler",
}
"""For checkpoints trained on other noise levels; they refuse these."""


@pytest.mark.parametrize("name", sorted(set(schedulers.SCHEDULERS) - {*OURS_ALONE, *OTHER_LEVELS}))
def test_schedulers_in_a_pipeline(name, sd, monkeypatch):
    put_scheduler(monkeypatch, sd, name)
    # Five reach the highest order of every solver. With more, DDIM's clipping of a random network's predictions lets
    # rounding grow until the reference on one thread differs by half of the tolerance from itself on two.
    assert_same(*sd, num_inference_steps=5)


def test_eta_draws_the_same_noise():
    pipes = reference(checkpoint("sd2")), load(checkpoint("sd2"))
    for eta in (0.3, 1.0):
        assert_same(*pipes, eta=eta, num_images_per_prompt=2)


def test_one_generator_for_a_batch(sd):
    theirs, ours = sd
    expected = draw(theirs, np.random.default_rng(4), prompt=PROMPT, num_inference_steps=2, num_images_per_prompt=2)
    images = ours(
        PROMPT, num_inference_steps=2, num_images_per_prompt=2, generator=np.random.default_rng(4), output_type="np"
    ).images
    assert difference(expected, images) <= TOLERANCE


def test_callback_gets_and_gives_the_same_tensors(sd):
    def callback(pipe, step, timestep, tensors):
        # What the documentation of the reference shows for dynamic guidance.
        if step == 2:
            tensors["prompt_embeds"] = tensors["prompt_embeds"][1:]
            pipe._guidance_scale = 0.0
        return {"latents": tensors["latents"] * 0.9, "prompt_embeds": tensors["prompt_embeds"]}

    wanted = ["latents", "prompt_embeds", "negative_prompt_embeds"]
    theirs, ours = sd
    ours.scheduler, theirs.scheduler = (type(s).from_config(s.config) for s in (ours.scheduler, theirs.scheduler))
    assert_same(theirs, ours, callback_on_step_end=callback, callback_on_step_end_tensor_inputs=wanted)


def test_interrupt_decodes_what_there_is(sd):
    def callback(pipe, step, timestep, tensors):
        pipe._interrupt = step == 1
        return {}

    assert_same(*sd, callback_on_step_end=callback)


def test_latents_come_out_the_same(xl):
    assert_same(*xl, output_type="latent", denoising_end=0.8)


@pytest.mark.parametrize("flagged", [False, True])
def test_safety_checker_judges_alike(flagged):
    theirs, ours = reference(checkpoint("sd1", safety_checker=True)), load(checkpoint("sd1", safety_checker=True))
    thresholds = np.linspace(-1.0 if flagged else 0.9, 1.0, 17, dtype=np.float32)
    theirs.safety_checker.concept_embeds_weights.data = torch_tensor(thresholds)
    stored = ours.safety_checker.array
    ours.safety_checker.array = lambda name: thresholds if name == "concept_embeds_weights" else stored(name)
    noise = np.random.default_rng(6).standard_normal((2, 4, 8, 8)).astype(np.float32)
    arguments = {"num_inference_steps": 2, "num_images_per_prompt": 2, "output_type": "np"}
    expected = theirs(PROMPT, latents=torch_tensor(noise), **arguments)
    output = ours(PROMPT, latents=noise, **arguments)
    assert output.nsfw_content_detected == expected.nsfw_content_detected == [flagged, flagged]
    assert difference(expected.images, output.images) <= TOLERANCE


def torch_tensor(array):
    import torch

    return torch.from_numpy(array)


@pytest.mark.parametrize("width, height", [(64, 64), (100, 60), (48, 80)])
def test_image_processor_gives_the_same_pixels(width, height):
    from PIL import Image
    from transformers import CLIPImageProcessor as Reference

    from mindone.diffusers.loading.clip_image_processor import CLIPImageProcessor

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    config = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    expected = Reference(**config)([picture], return_tensors="np").pixel_values
    np.testing.assert_allclose(CLIPImageProcessor(**config)([picture]), expected, atol=1e-5)


# ---- folders that one library writes and the other reads -------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd1", "sdxl", "lcm"])
def test_folders_go_both_ways(family, tmp_path):
    theirs = reference(checkpoint(family))
    theirs.save_pretrained(tmp_path / "theirs", safe_serialization=True)
    ours = load(tmp_path / "theirs")
    assert_same(theirs, ours)
    ours.save_pretrained(tmp_path / "ours")
    again = reference(tmp_path / "ours")
    assert type(again) is type(theirs)
    assert_same(again, ours)


def test_variants_and_shards_of_the_reference_load(tmp_path):
    theirs = reference(checkpoint("sd1", safety_checker=True))
    theirs.save_pretrained(tmp_path, variant="fp16", max_shard_size="20KB")
    assert list((tmp_path / "unet").glob("*.fp16-0*.safetensors"))
    ours = load(tmp_path, variant="fp16")
    ours.set_progress_bar_config(disable=True)
    assert_same(theirs, ours)


def test_our_variants_and_shards_load_in_the_reference(tmp_path):
    ours = load(checkpoint("sd1"))
    ours.save_pretrained(tmp_path, variant="fp16", max_shard_size="20KB")
    assert list((tmp_path / "unet").glob("*.fp16-0*.safetensors"))
    assert_same(reference(tmp_path, variant="fp16"), ours)


def test_latent_consistency_pipeline_saved_by_the_reference(tmp_path):
    from diffusers import LatentConsistencyModelPipeline

    parts = reference(checkpoint("lcm")).components
    theirs = LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path)
    ours = AutoPipelineForText2Image.from_pretrained(tmp_path, engine="openvino")
    ours.set_progress_bar_config(disable=True)
    expected = draw(theirs, generators(1), prompt=PROMPT)
    images = ours(PROMPT, generator=generators(1), output_type="np").images
    assert difference(expected, images) <= TOLERANCE
