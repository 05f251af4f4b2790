"""Stable Diffusion 3 live against diffusers, on the same tiny checkpoint and the same noise."""

import functools

import diffusers
import numpy as np
import pytest
from PIL import Image

import mindone.diffusers
from golden.make_pipelines import draw, generators, reference
from golden.make_sd3 import HOLE, PICTURE, SMALL, WITHOUT_T5
from mindone.diffusers import FlowMatchEulerDiscreteScheduler
from tiny_pipelines import load
from tiny_sd3 import checkpoint, inpainting_checkpoint, tiny_autoencoder

pytestmark = pytest.mark.oracle

TOLERANCE = 1e-5
"""Of the mean difference of pixels in [0, 1], and of latents: a hundredth of what is asked for."""
_random = np.random.default_rng(1)
EMBEDS = _random.standard_normal((2, 1, 90, 40)).astype(np.float32)
POOLED = _random.standard_normal((2, 1, 24)).astype(np.float32)
LATENTS = _random.standard_normal((1, 16, 8, 12)).astype(np.float32)
PICTURES = [PICTURE, Image.fromarray(_random.integers(0, 256, (64, 64, 3), np.uint8))]

TEXTS = {
    "defaults": {},
    "no guidance": {"guidance_scale": 1.0},
    "a negative prompt": {"negative_prompt": "on the moon", "guidance_scale": 4.0},
    "three prompts": {"prompt_2": "red", "prompt_3": "a mat on mars"},
    "negative prompts": {"negative_prompt": "blue", "negative_prompt_2": "red", "negative_prompt_3": "a mat"},
    "a long text cut": {"prompt": "a red cat " * 60, "max_sequence_length": 20},
    "a short limit": {"max_sequence_length": 4},
    "several prompts": {"prompt": ["a cat", "red mat"], "negative_prompt": ["blue", "cat"]},
    "several images": {"num_images_per_prompt": 2},
    "clip_skip": {"clip_skip": 1, "negative_prompt": "blue"},
    "sigmas": {"sigmas": [1.0, 0.7, 0.4, 0.1]},
    "latents": {"latents": LATENTS},
    "embeddings": {
        "prompt": None,
        "prompt_embeds": EMBEDS[0],
        "negative_prompt_embeds": EMBEDS[1],
        "pooled_prompt_embeds": POOLED[0],
        "negative_pooled_prompt_embeds": POOLED[1],
    },
    "a layer skipped": {"skip_guidance_layers": [1], "num_inference_steps": 10},
    "layers skipped longer": {
        "skip_guidance_layers": [0, 2],
        "skip_layer_guidance_scale": 1.5,
        "skip_layer_guidance_start": 0.3,
        "skip_layer_guidance_stop": 0.8,
        "num_images_per_prompt": 2,
    },
}
IMAGES = {
    "defaults": {},
    "half": {"strength": 0.5, "num_inference_steps": 5},
    "whole": {"strength": 1.0},
    "no guidance": {"guidance_scale": 1.0},
    "pictures": {"image": PICTURES, "num_images_per_prompt": 2},
    "latents for a picture": {"image": LATENTS},
    "noisy latents": {"latents": LATENTS},
    "negative prompts": {"negative_prompt": "blue", "clip_skip": 1},
}
MASKS = {
    "defaults": {},
    "from noise": {"strength": 1.0},
    "half": {"strength": 0.5, "num_inference_steps": 5},
    "no guidance": {"guidance_scale": 1.0},
    "several pictures": {"image": PICTURES, "mask_image": [HOLE, HOLE], "num_images_per_prompt": 2},
    "noise of one's own": {"latents": LATENTS},
}


@functools.cache
def ours(engine: str, inpainting: bool = False):
    return load(inpainting_checkpoint() if inpainting else checkpoint(), engine=engine)


@functools.cache
def theirs(inpainting: bool = False):
    return reference(inpainting_checkpoint() if inpainting else checkpoint())


def both(kind, options, engine="openvino", inpainting=False, **components):
    """Images of the reference and ours, with the same noise; ``components`` are pairs of theirs and ours."""
    asked = {**SMALL, **options}
    prompts = len(asked["prompt"]) if isinstance(asked["prompt"], list) else 1
    images = prompts * asked.get("num_images_per_prompt", 1)
    replaced = [{name: pair[i] for name, pair in components.items()} for i in (0, 1)]
    name = f"StableDiffusion3{kind}Pipeline"
    reference_pipe = getattr(diffusers, name)(**{**theirs(inpainting).components, **replaced[0]})
    pipe = getattr(mindone.diffusers, name).from_pipe(ours(engine, inpainting), **replaced[1])
    for each in (reference_pipe, pipe):
        each.set_progress_bar_config(disable=True)
    expected = draw(reference_pipe, generators(images), **asked)
    return expected, pipe(**{"output_type": "np", **asked}, generator=generators(images)).images


def assert_same(expected, images):
    assert expected.shape == images.shape
    assert float(np.abs(expected - images).mean()) <= TOLERANCE


@pytest.mark.parametrize("name", TEXTS)
def test_text_to_image(name):
    assert_same(*both("", TEXTS[name]))


@pytest.mark.parametrize("name", IMAGES)
def test_from_a_picture(name):
    assert_same(*both("Img2Img", {"image": PICTURE, **IMAGES[name]}))


@pytest.mark.parametrize("name", MASKS)
def test_inpainting(name):
    """Latents: the reference forgets the autoencoder's shift when it decodes them."""
    options = {"image": PICTURE, "mask_image": HOLE, "output_type": "latent", **MASKS[name]}
    assert_same(*both("Inpaint", options))


@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_inpainting_with_a_network_for_it(strength):
    options = {"image": PICTURE, "mask_image": HOLE, "output_type": "latent", "strength": strength}
    assert_same(*both("Inpaint", options, inpainting=True))


@pytest.mark.parametrize("options", [{}, {"negative_prompt": "blue"}], ids=["plain", "negative"])
def test_without_t5(options):
    assert_same(*both("", options, **dict.fromkeys(WITHOUT_T5, (None, None))))


def test_a_tiny_autoencoder():
    pair = diffusers.AutoencoderTiny, mindone.diffusers.AutoencoderTiny
    vae = [kind.from_pretrained(tiny_autoencoder()) for kind in pair]
    assert_same(*both("", {}, vae=vae))
    assert_same(*both("Img2Img", {"image": PICTURE}, vae=vae))


@pytest.mark.parametrize("options", [{}, {"mu": 1.3}], ids=["of the size", "of one's own"])
@pytest.mark.parametrize("kind", ["", "Img2Img"])
def test_a_dynamic_shift(kind, options):
    pair = diffusers.FlowMatchEulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
    more = {"image": PICTURE} if kind else {}
    schedulers = [each(shift=3.0, use_dynamic_shifting=True) for each in pair]
    assert_same(*both(kind, {**options, **more}, scheduler=schedulers))


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_other_schedulers_of_flows(name):
    config = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    pair = [getattr(each, name)(**config) for each in (diffusers, mindone.diffusers)]
    assert_same(*both("", {}, scheduler=pair))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("", {"negative_prompt": "blue", "prompt_3": "a mat"}),
        ("", {"skip_guidance_layers": [1], "num_inference_steps": 10}),
        ("Img2Img", {"image": PICTURE}),
        ("Inpaint", {"image": PICTURE, "mask_image": HOLE, "output_type": "latent"}),
    ],
)
def test_the_other_engine(kind, options):
    assert_same(*both(kind, options, "mindspore"))


def test_several_images_of_several_prompts_are_those_of_each():
    """The reference gives images the pooled texts of other prompts here; each prompt alone is right."""
    prompts, noise = ["a cat", "red mat on mars"], _random.standard_normal((4, 16, 8, 12)).astype(np.float32)
    pipe = ours("openvino")
    asked = {**SMALL, "prompt": prompts, "num_images_per_prompt": 2, "latents": noise, "output_type": "np"}
    images = pipe(**asked).images
    for row, prompt in enumerate(prompts):
        rows = slice(2 * row, 2 * row + 2)
        alone = {**SMALL, "prompt": prompt, "num_images_per_prompt": 2, "latents": noise[rows]}
        assert_same(draw(theirs(), generators(2), **alone), images[rows])


def test_callbacks_see_the_same_tensors():
    seen = [], []

    def look(into):
        def callback(pipe, step, timestep, tensors):
            into.append((step, float(timestep), {name: np.asarray(x) for name, x in tensors.items()}))
            return tensors

        return callback

    names = ["latents", "prompt_embeds", "pooled_prompt_embeds"]
    asked = {**SMALL, "callback_on_step_end_tensor_inputs": names}
    draw(theirs(), generators(1), **asked, callback_on_step_end=look(seen[0]))
    ours("openvino")(**asked, callback_on_step_end=look(seen[1]), output_type="np", generator=generators(1))
    for (step, timestep, expected), (our_step, our_timestep, tensors) in zip(*seen, strict=True):
        assert step == our_step and timestep == pytest.approx(our_timestep, abs=1e-4)
        for name in names:
            np.testing.assert_allclose(tensors[name], expected[name], atol=1e-4)


def test_embeddings_of_prompts():
    texts = {"prompt": ["a cat", "red"], "prompt_2": ["on a mat", "a"], "prompt_3": "mars", "negative_prompt": "blue"}
    expected = theirs().encode_prompt(**{**texts, "prompt_3": ["mars", "mars"], "negative_prompt": ["blue"] * 2})
    given = ours("openvino").encode_prompt(**texts)
    for theirs_, ours_ in zip(expected, given, strict=True):
        np.testing.assert_allclose(ours_, theirs_.detach().numpy(), atol=1e-4)
