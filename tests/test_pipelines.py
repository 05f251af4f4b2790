"""Whole pipelines on tiny random checkpoints: the reference's images, and what a user can do between text and image."""

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image

from golden.make_pipelines import CASES, GOLDEN, generators, stored
from mindone.diffusers import (
    AutoencoderTiny,
    AutoPipelineForText2Image,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from mindone.diffusers.loading.clip_image_processor import CLIPImageProcessor
from mindone.diffusers.pipelines.safety import find_unsafe
from mindone.diffusers.schedulers import by_name
from tiny_pipelines import PROMPT, checkpoint, images_of, load, tiny_autoencoder_folder


@pytest.fixture(scope="module")
def shared_pipe():
    return load(checkpoint("sd1"))


@pytest.fixture
def pipe(shared_pipe):
    """A Stable Diffusion 1 pipeline; a test may replace its components, and the compiled networks serve them all."""
    components = dict(shared_pipe.components)
    fresh = StableDiffusionPipeline(**components, engine="openvino")
    fresh.set_progress_bar_config(disable=True)
    return fresh


@pytest.fixture(scope="module")
def pipe_xl():
    return load(checkpoint("sdxl"))


# ---- the reference's numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_images_match_the_reference(case):
    assert_matches_golden(case, "openvino")


def test_images_match_the_reference_on_mindspore():
    # One family and two steps: MindSpore's CPU kernels are slow, and each network has its own tests on this engine.
    assert_matches_golden("bk_sdm_short", "mindspore")


def assert_matches_golden(case, engine):
    family, arguments = CASES[case]
    pipe = load(checkpoint(family), engine=engine)
    if case == "tiny_autoencoder":
        pipe.vae = AutoencoderTiny.from_pretrained(tiny_autoencoder_folder())
    images = pipe(
        PROMPT, generator=generators(arguments.get("num_images_per_prompt", 1)), output_type="np", **arguments
    ).images
    with np.load(GOLDEN) as golden:
        expected = golden[case] / 65535
    # A tenth of what is asked for: float32 networks agree to 1e-6, and the file keeps 16 bits.
    difference = float(np.abs(stored(images) / 65535 - expected).mean())
    assert difference <= 1e-4


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_output_is_named_and_indexed(pipe):
    output = pipe(PROMPT, num_inference_steps=1)
    assert output.images is output[0]
    assert isinstance(output[0][0], Image.Image) and output[0][0].size == (64, 64)
    assert output.nsfw_content_detected is None
    images, unsafe = pipe(PROMPT, num_inference_steps=1, return_dict=False)
    assert len(images) == 1 and unsafe is None


def test_output_types(pipe):
    generator = lambda: np.random.default_rng(3)  # noqa: E731
    array = pipe(PROMPT, num_inference_steps=1, generator=generator(), output_type="np").images
    picture = pipe(PROMPT, num_inference_steps=1, generator=generator()).images[0]
    latents = pipe(PROMPT, num_inference_steps=1, generator=generator(), output_type="latent").images
    assert array.shape == (1, 64, 64, 3) and array.dtype == np.float32 and array.min() >= 0 and array.max() <= 1
    assert np.abs(np.asarray(picture) - array[0] * 255).max() <= 0.501
    assert latents.shape == (1, 4, 8, 8)


def test_prompts_times_images_per_prompt(pipe):
    images = images_of(pipe, prompt=["a cat", "a mat"], num_images_per_prompt=2)
    assert images.shape == (4, 64, 64, 3)


def test_size_follows_height_and_width(pipe):
    assert images_of(pipe, height=72, width=48).shape == (1, 72, 48, 3)


# ---- noise -----------------------------------------------------------------------------------------------------------


def test_an_image_does_not_depend_on_its_batch(pipe):
    together = images_of(pipe, num_images_per_prompt=3, generator=generators(3))
    alone = images_of(pipe, generator=generators(3)[2:])
    # The engine may order a sum differently for another batch size.
    np.testing.assert_allclose(together[2:], alone, atol=1e-5)


def test_one_generator_draws_all_images_in_order(pipe):
    latents = np.random.default_rng(5).standard_normal((2, 4, 8, 8))
    drawn = images_of(pipe, seed=5, num_images_per_prompt=2)
    given = images_of(pipe, num_images_per_prompt=2, latents=latents)
    np.testing.assert_array_equal(drawn, given)


def test_without_a_generator_every_run_differs(pipe):
    first, second = (images_of(pipe, generator=None) for _ in range(2))
    assert np.abs(first - second).mean() > 0.01


# ---- text ------------------------------------------------------------------------------------------------------------


def test_embeddings_serve_as_well_as_the_prompt(pipe):
    embeds, negative = pipe.encode_prompt(PROMPT, negative_prompt="blue")
    given = images_of(pipe, prompt=None, prompt_embeds=embeds, negative_prompt_embeds=negative)
    np.testing.assert_array_equal(given, images_of(pipe, negative_prompt="blue"))


def test_embeddings_serve_as_well_as_the_prompt_xl(pipe_xl):
    embeds, negative, pooled, negative_pooled = pipe_xl.encode_prompt(PROMPT, negative_prompt="blue")
    given = images_of(
        pipe_xl,
        prompt=None,
        prompt_embeds=embeds,
        negative_prompt_embeds=negative,
        pooled_prompt_embeds=pooled,
        negative_pooled_prompt_embeds=negative_pooled,
    )
    np.testing.assert_array_equal(given, images_of(pipe_xl, negative_prompt="blue"))


def test_a_single_negative_prompt_serves_all_prompts(pipe):
    one = images_of(pipe, prompt=["a cat", "a mat"], negative_prompt="red")
    each = images_of(pipe, prompt=["a cat", "a mat"], negative_prompt=["red", "red"])
    np.testing.assert_array_equal(one, each)


def test_negative_prompt_for_the_second_encoder_alone_counts(pipe_xl):
    assert np.abs(images_of(pipe_xl, negative_prompt_2="red") - images_of(pipe_xl)).max() > 1e-4


def test_the_part_of_a_long_prompt_that_is_cut_off_is_named(pipe, caplog):
    with caplog.at_level(logging.WARNING):
        images_of(pipe, prompt="cat " * 80 + "mat")
    assert "77 tokens" in caplog.text and caplog.text.rstrip().endswith("mat")


# ---- steps -----------------------------------------------------------------------------------------------------------


def test_guidance_off_runs_a_single_batch(pipe, monkeypatch):
    rows, run = set(), pipe.engine.run

    def watched(model, *inputs, **options):
        outputs = run(model, *inputs, **options)
        if model is pipe.unet:
            rows.add((len(inputs[0]), len(options["encoder_hidden_states"]), len(outputs)))
        return outputs

    monkeypatch.setattr(pipe.engine, "run", watched)
    images_of(pipe, guidance_scale=1.0)
    assert rows == {(1, 1, 1)}
    rows.clear()
    images_of(pipe, guidance_scale=1.5)
    assert rows == {(1, 2, 2)}  # the latents once, the texts of both halves


def test_a_second_call_compiles_nothing(pipe):
    images_of(pipe)
    graphs = {name: set(part.graphs) for name, part in pipe.components.items() if hasattr(part, "graphs")}
    images_of(pipe, prompt="another", guidance_scale=3.0, seed=9, num_inference_steps=3)
    assert {name: set(getattr(pipe, name).graphs) for name in graphs} == graphs


def test_callback_sees_every_step_and_replaces_latents(pipe):
    seen = []

    def callback(owner, step, timestep, tensors):
        assert owner is pipe
        seen.append((step, int(timestep), sorted(tensors)))
        return {"latents": np.zeros_like(tensors["latents"])}

    latents = images_of(
        pipe,
        output_type="latent",
        callback_on_step_end=callback,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
    )
    assert [step for step, *_ in seen] == list(range(len(pipe.scheduler.timesteps)))
    assert [timestep for _, timestep, _ in seen] == pipe.scheduler.timesteps.tolist()
    assert seen[0][2] == ["latents", "prompt_embeds"]
    assert not latents.any()


def test_callback_interrupts(pipe):
    steps = []

    def callback(owner, step, timestep, tensors):
        steps.append(step)
        owner.interrupt = step == 1

    images_of(pipe, num_inference_steps=5, callback_on_step_end=callback)
    assert steps == [0, 1]


def test_callback_switches_guidance_off(pipe):
    def callback(owner, step, timestep, tensors):
        if step > 0:
            return {}
        owner.guidance_scale = 0.0
        return {"prompt_embeds": tensors["prompt_embeds"][1:]}

    options = {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": ["prompt_embeds"]}
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert images_of(pipe, num_inference_steps=4, **options).shape == (1, 64, 64, 3)


def test_callback_that_leaves_the_text_of_both_halves_is_told(pipe):
    def callback(owner, step, timestep, tensors):
        owner.guidance_scale = 0.0

    with pytest.raises(ValueError, match="prompt_embeds has 2 rows, but 1 are needed"):
        images_of(pipe, num_inference_steps=2, callback_on_step_end=callback)


def test_progress_bar_counts_steps_and_can_be_turned_off(pipe, capfd):
    pipe.set_progress_bar_config(desc="drawing")
    images_of(pipe, num_inference_steps=4)
    err = capfd.readouterr().err
    assert "drawing" in err and "4/4" in err  # PNDM calls the network five times for four steps
    pipe.set_progress_bar_config(disable=True)
    images_of(pipe)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "options", "done"),
    [
        ("pndm", {}, [0, 1, 2, 3, 4]),  # calls the network once more than it has steps
        ("heun", {}, [0, 1, 1, 2, 2, 3, 4]),  # twice a step, but for the last
        ("dpm2-ancestral", {}, [0, 1, 1, 2, 2, 3, 4]),
        ("euler", {}, [1, 2, 3, 4]),
        ("heun", {"denoising_end": 0.5}, [0, 1, 2]),
        ("heun", {"timesteps": [999, 600, 300]}, [0, 1, 1, 2, 3]),
    ],
)
def test_steps_are_counted_as_the_user_counts_them(name, options, done):
    pipe = load(checkpoint("sdxl"))
    pipe.scheduler = by_name(name, {**pipe.scheduler.config, "skip_prk_steps": True})
    seen = []

    def callback(pipe, step, timestep, tensors):
        seen.append((pipe.steps_done, pipe.num_inference_steps, pipe.num_timesteps))
        return {}

    number = {} if "timesteps" in options else {"num_inference_steps": 4}
    images_of(pipe, callback_on_step_end=callback, **number, **options)
    assert [each[0] for each in seen] == done
    assert {each[1:] for each in seen} == {(done[-1], len(done))}


def test_custom_timesteps_take_the_place_of_a_number(pipe):
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    images_of(pipe, timesteps=[900, 500, 100])
    assert pipe.scheduler.timesteps.tolist() == [900, 500, 100]


# ---- components ------------------------------------------------------------------------------------------------------


def test_a_replaced_scheduler_is_used(pipe):
    before = images_of(pipe)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert np.abs(images_of(pipe) - before).mean() > 1e-3


def test_components_can_be_passed_in_and_shared(pipe):
    vae = AutoencoderTiny.from_pretrained(tiny_autoencoder_folder())
    passed = load(checkpoint("sd1"), vae=vae, scheduler=pipe.scheduler)
    assert passed.vae is vae and passed.scheduler is pipe.scheduler
    shared = StableDiffusionPipeline(**pipe.components)
    assert shared.unet is pipe.unet


def test_outdated_scheduler_configs_are_brought_up_to_date(pipe):
    old = EulerDiscreteScheduler.from_config({**pipe.scheduler.config, "steps_offset": 0})
    assert StableDiffusionPipeline(**{**pipe.components, "scheduler": old}).scheduler.config.steps_offset == 1


def test_engine_is_set_by_name(pipe):
    pipe.engine = "mindspore"
    assert pipe.engine.name == "mindspore"
    with pytest.raises(ValueError, match="engine must be one of auto, openvino, mindspore, got 'cuda'"):
        pipe.engine = "cuda"


def test_vae_switches_reach_the_autoencoder(pipe):
    whole = images_of(pipe, num_images_per_prompt=2)
    pipe.enable_vae_slicing()
    np.testing.assert_allclose(images_of(pipe, num_images_per_prompt=2), whole, atol=1e-5)
    pipe.disable_vae_slicing()
    pipe.enable_vae_tiling()
    assert pipe.vae.use_tiling
    pipe.disable_vae_tiling()
    assert not pipe.vae.use_tiling and not pipe.vae.use_slicing


def test_attention_switches_reach_every_network():
    pipe = load(checkpoint("bk_sdm"))
    pipe.enable_flash_sdp(False)
    pipe.set_flash_attention_force_cast_dtype(None)
    with pytest.raises(ValueError, match="float16 or bfloat16"):
        pipe.set_flash_attention_force_cast_dtype("float32")


def test_saved_pipeline_loads_and_draws_the_same(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "saved")
    index = json.loads((tmp_path / "saved" / "model_index.json").read_text())
    assert index["text_encoder"] == ["transformers", "CLIPTextModel"] and index["safety_checker"] == [None, None]
    again = load(tmp_path / "saved")
    np.testing.assert_array_equal(images_of(again), images_of(pipe))


def test_a_checkpoint_may_suggest_its_guidance_scale(pipe, tmp_path):
    assert pipe.choose_guidance_scale(None) == 7.5
    pipe.save_pretrained(tmp_path / "silent")
    assert not (tmp_path / "silent" / "generation_config.json").exists()

    (tmp_path / "silent" / "generation_config.json").write_text('{"guidance_scale": 2}')
    load(tmp_path / "silent").save_pretrained(tmp_path / "suggesting")
    suggesting = load(tmp_path / "suggesting")
    images_of(suggesting)
    assert suggesting.guidance_scale == 2
    images_of(suggesting, guidance_scale=1.5)
    assert suggesting.guidance_scale == 1.5

    pipe.save_pretrained(tmp_path / "suggesting")
    assert load(tmp_path / "suggesting").choose_guidance_scale(None) == 7.5


def test_a_checkpoint_may_suggest_its_steps(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"num_inference_steps": 3}')
    suggesting = load(tmp_path)
    assert (pipe.usual("num_inference_steps"), suggesting.usual("num_inference_steps")) == (50, 3)
    assert suggesting("a cat", output_type="np") is not None and suggesting.num_timesteps == 4  # PNDM's fourth
    suggesting("a cat", num_inference_steps=2, output_type="np")
    assert suggesting.num_timesteps == 3


def test_a_guidance_scale_that_is_no_number_is_refused(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"guidance_scale": "high"}')
    with pytest.raises(ValueError, match=r"generation_config.json: guidance_scale must be a valid number, got 'high'"):
        load(tmp_path)


def test_xl_autoencoder_that_overflows_in_half_precision_stays_in_float32():
    pipe = load(checkpoint("sdxl"), mindspore_dtype="float16")
    assert (pipe.dtype, pipe.vae.dtype, pipe.text_encoder_2.dtype) == ("float16", "float32", "float16")
    assert load(checkpoint("sdxl"), mindspore_dtype="bfloat16").vae.dtype == "bfloat16"


def test_pipelines_are_picked_by_name(tmp_path):
    assert type(load(checkpoint("sdxl"))) is StableDiffusionXLPipeline
    folder = shutil.copytree(checkpoint("bk_sdm"), tmp_path / "c")
    rename_pipeline(folder, "StableDiffusionImg2ImgPipeline")
    assert type(AutoPipelineForText2Image.from_pretrained(folder, engine="openvino")) is StableDiffusionPipeline
    assert type(load(folder)) is StableDiffusionImg2ImgPipeline
    rename_pipeline(folder, "StableDiffusionUpscalePipeline")
    with pytest.raises(ValueError, match="StableDiffusionUpscalePipeline, which is not supported; supported: Stable"):
        load(folder)


def rename_pipeline(folder, name):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))


# ---- safety checker --------------------------------------------------------------------------------------------------


def test_unsafe_images_are_black(caplog):
    pipe = load(checkpoint("sd1", safety_checker=True))
    weights = dict.fromkeys(("concept_embeds_weights", "special_care_embeds_weights"))
    arrays = {name: np.full_like(pipe.safety_checker.array(name), 2.0) for name in weights}
    original = pipe.safety_checker.array
    pipe.safety_checker.array = lambda name: arrays[name] if name in arrays else original(name)
    output = pipe(PROMPT, num_inference_steps=1, output_type="np", num_images_per_prompt=2)
    assert output.nsfw_content_detected == [False, False] and output.images.std() > 0.01
    arrays["concept_embeds_weights"][:] = -2.0
    with caplog.at_level(logging.WARNING):
        output = pipe(PROMPT, num_inference_steps=1, output_type="np", num_images_per_prompt=2)
    assert output.nsfw_content_detected == [True, True] and not output.images.any()
    assert "made them black" in caplog.text
    pipe.safety_checker = None
    assert pipe(PROMPT, num_inference_steps=1).nsfw_content_detected is None


def test_special_care_makes_the_verdict_stricter():
    class Checker:
        def __init__(self, special_threshold):
            self.arrays = {
                "concept_embeds": np.eye(2)[:1],
                "concept_embeds_weights": np.array([1.005]),
                "special_care_embeds": np.eye(2)[:1],
                "special_care_embeds_weights": np.array([special_threshold]),
            }

        def array(self, name):
            return self.arrays[name]

    embeds = np.array([[3.0, 0.0]])
    assert find_unsafe(embeds, Checker(1.5)) == [False]  # a cosine of 1 lies 0.005 below the threshold
    assert find_unsafe(embeds, Checker(0.5)) == [True]


def test_image_processor_crops_the_middle_and_reads_old_configs():
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[:, 5:15] = 255
    plain = {"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}
    pixels = CLIPImageProcessor(size=10, crop_size=10, **plain)([Image.fromarray(picture)])
    assert pixels.shape == (1, 3, 10, 10) and pixels.dtype == np.float32 and (pixels == 1).all()
