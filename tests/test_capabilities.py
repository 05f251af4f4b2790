"""A component of a wrong kind is refused when it is set; what does the right things is taken, whatever its class."""

import numpy as np
import pytest
from PIL import Image

import mindone.diffusers as ours
from image_pipelines import controlnet_folder, load as load_class
from mindone.diffusers.pipelines.capabilities import CAPABILITIES
from tiny_pipelines import PROMPT, checkpoint, images_of, load, sharing

SD_COMPONENTS = ("vae", "text_encoder", "tokenizer", "unet", "scheduler", "feature_extractor", "image_encoder")


@pytest.fixture
def checked():
    return load(checkpoint("bk_sdm", safety_checker=True))


def draw(pipe):
    options = {"num_inference_steps": 2, "generator": np.random.default_rng(0), "output_type": "np"}
    return pipe(PROMPT, **options)


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "LatentConsistencyModelPipeline"])
def test_a_function_stands_in_for_a_safety_checker(name, checked):
    expected = images_of(sharing("bk_sdm")) if name == "StableDiffusionPipeline" else None
    pipe = getattr(ours, name).from_pipe(checked)
    pipe.set_progress_bar_config(disable=True)
    pipe.safety_checker = lambda images, **kwargs: (images, [False] * len(images))
    output = draw(pipe)
    assert output.nsfw_content_detected == [False]
    if expected is not None:
        np.testing.assert_array_equal(output.images, expected)


def test_a_function_sees_pixels_and_clips_input_and_flags_images(checked):
    seen = {}

    def darken(images, clip_input):
        seen.update(low=images.min(), high=images.max(), shape=images.shape, clip=clip_input.shape)
        images[:] = 0.25
        return images, [True]

    checked.safety_checker = darken
    output = draw(checked)
    assert seen["shape"] == (1, 3, 64, 64) and seen["clip"] == (1, 3, 32, 32) and -1 <= seen["low"] < 0
    assert output.nsfw_content_detected == [True] and np.all(output.images == np.float32(0.25))
    images, verdicts = checked.run_safety_checker(np.full((1, 64, 64, 3), 0.5, np.float32))
    assert verdicts == [True] and np.all(images == np.float32(0.25))


@pytest.mark.parametrize("verdicts, expected", [(False, [False]), (None, [False]), (np.array([True]), [True])])
def test_a_function_may_answer_for_all_images_at_once(verdicts, expected, checked):
    checked.feature_extractor = None
    checked.safety_checker = lambda images, clip_input: (images, verdicts)
    assert draw(checked).nsfw_content_detected == expected


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda images: images, "must return images and a list of verdicts, got a ndarray"),
        (lambda images: (images[:, 0], [False]), r"images of the given shape \(1, 3, 64, 64\)"),
        (lambda images: (images, [False, True]), "and 2 verdicts"),
    ],
)
def test_a_function_with_another_answer_is_refused(answer, message, checked):
    checked.safety_checker = lambda images, clip_input: answer(images)
    with pytest.raises(ValueError, match=message):
        draw(checked)


def test_a_pipeline_with_a_function_cannot_be_saved(checked, tmp_path):
    checked.safety_checker = lambda images, **kwargs: (images, [False])
    with pytest.raises(ValueError, match="safety_checker is a function, which cannot be saved; set pipe"):
        checked.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("name", SD_COMPONENTS)
@pytest.mark.parametrize("wrong", ["a text", Image.new("RGB", (8, 8)), ours.DDIMScheduler])
def test_what_is_no_component_is_refused_when_it_is_set(name, wrong):
    pipe = sharing("bk_sdm")
    before = getattr(pipe, name)
    with pytest.raises(ValueError, match=rf"StableDiffusionPipeline\.{name} must be an? .*; got") as error:
        setattr(pipe, name, wrong)
    assert "\n" not in str(error.value) and getattr(pipe, name) is before
    with pytest.raises(ValueError, match=rf"\.{name} must be"):
        pipe.register_modules(**{name: wrong})
    with pytest.raises(ValueError, match=rf"\.{name} must be"):
        load(checkpoint("bk_sdm"), **{name: wrong})


def test_no_component_of_a_checkpoint_passes_for_another():
    pipe = load_class(
        "StableDiffusionControlNetPipeline",
        checkpoint("bk_sdm", safety_checker=True),
        controlnet=ours.ControlNetModel.from_pretrained(controlnet_folder("bk_sdm")),
    )
    # Tokenizers, networks and image processors can all be called: of those only the function's own answer tells.
    strict = [name for name in pipe.components if name not in ("feature_extractor",)]
    for name in strict:
        for other, component in pipe.components.items():
            called_alone = name == "safety_checker" and other in ("tokenizer", "feature_extractor")
            if component is None or other == name or called_alone:
                continue
            with pytest.raises(ValueError, match=rf"\.{name} must be"):
                setattr(pipe, name, component)


def test_what_does_the_right_things_is_taken_whatever_its_class():
    class Recording:
        def __init__(self, inner):
            self.inner, self.steps = inner, 0

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(self.inner, name)

        def step(self, *arguments, **options):
            return self.inner.step(*arguments, **options)

    pipe = sharing("sd2")
    expected = images_of(pipe)
    pipe.scheduler = Recording(pipe.scheduler)
    pipe.vae = Recording(pipe.vae)
    np.testing.assert_array_equal(images_of(pipe), expected)


def test_a_list_of_controlnets_can_be_set_later():
    net = ours.ControlNetModel.from_pretrained(controlnet_folder("bk_sdm"))
    pipe = ours.StableDiffusionControlNetPipeline.from_pipe(sharing("bk_sdm"), controlnet=net)
    pipe.controlnet = [net, net]
    assert pipe.controlnet.nets == (net, net)
    with pytest.raises(ValueError, match="needs a controlnet"):
        pipe.controlnet = None
    with pytest.raises(ValueError, match=r"controlnet must be a ControlNetModel.*got UNet2DConditionModel"):
        pipe.controlnet = pipe.unet


@pytest.mark.parametrize("name", ["unet", "vae", "scheduler"])
def test_a_run_without_what_it_needs_does_not_begin(name):
    pipe = sharing("bk_sdm")
    setattr(pipe, name, None)
    with pytest.raises(ValueError, match=f"the pipeline's {name} is None"):
        images_of(pipe)


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_a_pipeline_without_text_encoders_draws_from_embeddings(family):
    pipe = sharing(family)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    embeds = dict(zip(names, pipe.encode_prompt(PROMPT)))
    expected = images_of(pipe, prompt=None, **embeds)
    for name in pipe.components:
        if name.startswith(("text_encoder", "tokenizer")):
            setattr(pipe, name, None)
    np.testing.assert_array_equal(images_of(pipe, prompt=None, **embeds), expected)
    with pytest.raises(ValueError, match="text_encoder is None, so it reads no texts; pass prompt_embeds"):
        images_of(pipe)


def test_a_safety_checker_that_nobody_prepares_pictures_for_is_refused_before_the_first_step(checked):
    checked.feature_extractor = None
    with pytest.raises(ValueError, match="a safety_checker needs a feature_extractor"):
        draw(checked)


def test_every_component_of_every_pipeline_has_its_capability():
    from mindone.diffusers.pipelines.auto import pipelines

    for pipeline in pipelines().values():
        known = {*CAPABILITIES, *pipeline.family.capabilities}
        assert {*pipeline.required_components, *pipeline.optional_components} <= known


@pytest.mark.parametrize("function", [lambda: 1, lambda images: images, lambda images, clip_input, strength: images])
def test_a_safety_checker_that_cannot_take_what_it_is_called_with_is_refused_when_it_is_set(checked, function):
    before = checked.safety_checker
    with pytest.raises(ValueError, match=r"got function, which lacks a call with images=…, clip_input=…$"):
        checked.safety_checker = function
    assert checked.safety_checker is before
