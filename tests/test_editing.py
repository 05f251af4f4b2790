"""InstructPix2Pix and Depth2Img draw what the reference draws; masks and control pictures of other shapes are taken."""

import functools

import numpy as np
import pytest

import mindone.diffusers as ours
from editing_cases import CASES, DEPTH, EDIT, EDIT_XL, FOLDERS, depths
from golden.make_editing import GOLDEN
from golden.make_pipelines import stored
from image_pipelines import controlnet_folder, draw, load, mask, photo
from mindone.diffusers import DeepCacheConfig, GuidanceCacheConfig, TaylorSeerCacheConfig
from mindone.diffusers.jobs import Job, draw as draw_job, load as load_job
from mindone.diffusers.pipelines.image_processor import resize_bicubic
from tiny_pipelines import PROMPT, checkpoint


@functools.cache
def pipeline(name, engine="openvino"):
    return load(name, FOLDERS[name](), engine=engine)


@pytest.fixture
def edit():
    pipe = ours.StableDiffusionInstructPix2PixPipeline.from_pipe(pipeline(EDIT))
    pipe.set_progress_bar_config(disable=True)
    return pipe


HEAVY = ("edit a size that is rounded", "edit two of each", "edit xl", "edit xl sized", "depth two of each")


@pytest.mark.parametrize("name", [pytest.param(x, marks=[pytest.mark.heavy] * (x in HEAVY)) for x in CASES])
def test_images_match_the_reference(name):
    assert_matches_golden(name, "openvino")


@pytest.mark.heavy
def test_images_match_the_reference_on_mindspore():
    assert_matches_golden("edit", "mindspore")


def assert_matches_golden(name, engine):
    chosen, options = CASES[name]
    images = stored(draw(pipeline(chosen, engine), **options)) / 65535
    with np.load(GOLDEN) as golden:
        expected = golden[name] / 65535
    # A tenth of what is asked for: float32 networks agree to 1e-6, and the file keeps 16 bits.
    assert images.shape == expected.shape and np.abs(images - expected).mean() <= 1e-4


@pytest.mark.parametrize("name", FOLDERS)
def test_a_checkpoint_names_its_pipeline(name, tmp_path):
    pipe = ours.DiffusionPipeline.from_pretrained(FOLDERS[name](), engine="openvino")
    assert type(pipe).__name__ == name
    pipe.save_pretrained(tmp_path / "saved")
    again = load(name, tmp_path / "saved")
    assert again.config.keys() == pipe.config.keys() and again.unet.config.in_channels == pipe.unet.config.in_channels


def test_guidance_can_be_switched_off_in_the_middle(edit):
    """From step 2 on as with a picture's scale below 1, which guides nothing."""

    def switch(pipe, step, timestep, tensors):
        assert pipe.image_guidance_scale == (1.5 if step < 2 else 0.0)
        if step == 1:
            pipe.image_guidance_scale = 0.0
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(3)[-1]
        return tensors

    options = {"image": photo(), "callback_on_step_end": switch}
    edit.scheduler = ours.DDIMScheduler.from_config(edit.scheduler.config)
    switched = draw(edit, **options, callback_on_step_end_tensor_inputs=["prompt_embeds"])
    guided, plain = draw(edit, image=photo()), draw(edit, image=photo(), image_guidance_scale=0.5)
    assert np.abs(switched - guided).max() > 1e-3 and np.abs(switched - plain).max() > 1e-3


def test_a_feature_cache_that_computes_everything_changes_no_edit(edit):
    expected = draw(edit, image=photo())
    edit.caches = [DeepCacheConfig(cache_interval=1)]
    np.testing.assert_allclose(draw(edit, image=photo()), expected, atol=1e-5)
    edit.caches = [TaylorSeerCacheConfig(cache_interval=1)]
    np.testing.assert_allclose(draw(edit, image=photo()), expected, atol=1e-5)
    edit.caches = [GuidanceCacheConfig()]
    with pytest.raises(
        ValueError, match="GuidanceCacheConfig forecasts one difference, and a run that edits a picture"
    ):
        draw(edit, image=photo())


@pytest.mark.parametrize(
    "name, arguments, message",
    [
        (EDIT, {}, "needs image: a PIL image, an array, or latents"),
        (EDIT, {"image": photo(), "latents": np.zeros((1, 4, 9, 8))}, r"latents must have the shape \(1, 4, 8, 8\)"),
        (
            EDIT_XL,
            {"image": photo(), "height": 50},
            "height must be a multiple of 8, got 50; the nearest are 48 and 56",
        ),
        (
            DEPTH,
            {"image": photo()},
            r"needs depth_map, an array \(pictures, height, width\): no depth estimator is included",
        ),
        (DEPTH, {"image": photo(), "depth_map": np.ones((8, 8))}, r"depth_map must have the shape \(pictures, height"),
        (DEPTH, {"image": photo(), "depth_map": np.ones((1, 8, 8))}, "must hold finite values that differ"),
        (DEPTH, {"image": photo(), "depth_map": depths(2)}, "depth_map holds 2 pictures, which cannot be divided"),
    ],
)
def test_what_cannot_be_is_refused_before_any_network_runs(name, arguments, message, monkeypatch):
    pipe = pipeline(name)
    monkeypatch.setattr(pipe.engine, "run", None)
    with pytest.raises(ValueError, match=message):
        draw(pipe, **arguments)


@pytest.mark.parametrize("name", [EDIT, DEPTH])
def test_a_network_of_other_channels_is_refused(name):
    pipe = getattr(ours, name).from_pipe(load("StableDiffusionPipeline", checkpoint("sd1")))
    with pytest.raises(ValueError, match=f"{name} needs a denoiser of [58] channels, 4 of them for the latents, got 4"):
        draw(pipe, image=photo(), **({"depth_map": depths()} if name == DEPTH else {}))
    kind = "InstructPix2Pix" if name == EDIT else "Depth2Img"
    with pytest.raises(ValueError, match=f"this is a model of {kind}, whose own pipeline takes an image"):
        draw(ours.StableDiffusionPipeline.from_pipe(pipeline(name), **{"requires_safety_checker": True}))


def test_a_depth_estimator_of_ones_own_is_asked():
    pipe = ours.StableDiffusionDepth2ImgPipeline.from_pipe(
        pipeline(DEPTH),
        feature_extractor=lambda pictures: np.stack([np.asarray(one, np.float32) for one in pictures]),
        depth_estimator=lambda pixels: pixels.mean(axis=-1),
    )
    pipe.set_progress_bar_config(disable=True)
    grey = np.asarray(photo(), np.float32).mean(axis=-1)[None]
    np.testing.assert_array_equal(draw(pipe, image=photo()), draw(pipe, image=photo(), depth_map=grey))


@pytest.mark.parametrize("name", [EDIT, EDIT_XL])
def test_a_job_edits_its_picture(name, tmp_path):
    photo(80, 48).save(tmp_path / "photo.png")
    job = Job(prompt=PROMPT, model=str(FOLDERS[name]()), image=str(tmp_path / "photo.png"), seed=3, steps=2)
    pipe = load_job(job)
    [image] = draw_job(pipe, job)
    options = {"image": photo(80, 48), "num_inference_steps": 2, "generator": np.random.Generator(np.random.PCG64(3))}
    expected = draw(pipe, output_type="pil", **options, **({"height": 48, "width": 80} if name == EDIT_XL else {}))
    assert image.size == (80, 48)
    np.testing.assert_array_equal(np.asarray(image), expected[0])
    with pytest.raises(ValueError, match=f"{name} takes no strength; leave it out"):
        draw_job(pipe, job.changed(strength=0.5))


@pytest.mark.oracle
@pytest.mark.parametrize("size", [(8, 8), (5, 13), (20, 3)])
def test_depths_are_resized_as_by_the_reference(size):
    import torch

    x = np.random.default_rng(0).standard_normal((2, 1, 11, 9)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), size=size, mode="bicubic", align_corners=False)
    np.testing.assert_allclose(resize_bicubic(x, *size), expected.numpy(), atol=2e-6)


# ---- pictures of other sizes and values ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, family", [("StableDiffusionInpaintPipeline", "sd1"), ("StableDiffusionXLInpaintPipeline", "sdxl")]
)
def test_a_mask_of_another_size_is_brought_to_the_pictures(name, family):
    pipe = load(name, checkpoint(family))
    small = mask(32, 32)
    expected = draw(pipe, image=photo(), mask_image=pipe.mask_processor.resize(small, 64, 64))
    np.testing.assert_array_equal(draw(pipe, image=photo(), mask_image=small), expected)
    options = {"image": photo(), "padding_mask_crop": 4, "output_type": "pil"}
    cropped = draw(pipe, mask_image=small, **options)
    np.testing.assert_array_equal(cropped, draw(pipe, mask_image=small.resize((64, 64)), **options))


def make_inpaint_condition(image, image_mask):
    image = np.array(image.convert("RGB")).astype(np.float32) / 255.0
    image_mask = np.array(image_mask.convert("L")).astype(np.float32) / 255.0
    image[image_mask > 0.5] = -1.0
    return np.expand_dims(image, 0).transpose(0, 3, 1, 2)


def controlled(name):
    net = ours.ControlNetModel.from_pretrained(controlnet_folder("sd1"))
    return load(name, checkpoint("sd1"), controlnet=net)


@pytest.mark.heavy
def test_the_published_condition_for_inpainting_with_a_controlnet_is_taken():
    pipe = controlled("StableDiffusionControlNetInpaintPipeline")
    condition = make_inpaint_condition(photo(), mask())
    options = {"image": photo(), "mask_image": mask(), "eta": 1.0}
    masked = draw(pipe, control_image=condition, **options)
    assert np.abs(masked - draw(pipe, control_image=np.abs(condition), **options)).max() > 1e-3
    plain = controlled("StableDiffusionControlNetPipeline")
    assert draw(plain, image=condition).shape == (1, 64, 64, 3)  # the size is the picture's, whatever the axes' order
    with pytest.raises(ValueError, match=r"values from -1 to 1 .*, got -2 to"):
        draw(plain, image=condition * 2)


@pytest.mark.heavy
def test_latents_to_start_from_may_be_an_array_on_either_engine():
    images = []
    for engine in ("openvino", "mindspore"):
        pipe = ours.StableDiffusionXLImg2ImgPipeline.from_pretrained(checkpoint("sdxl"), engine=engine)
        latents = np.ones((1, pipe.vae.config["latent_channels"], 8, 8), np.float32)
        asked = {"latents": latents, "num_inference_steps": 2, "strength": 1.0, "output_type": "np"}
        images.append(pipe("a rocket", image=photo(), **asked)[0])
    assert np.abs(images[0] - images[1]).max() < 1e-3
