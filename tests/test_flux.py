"""FLUX.1: images against the reference's, what stacks with them, and what they refuse."""

import json

import numpy as np
import pytest

import mindone.diffusers
from golden.make_flux import CASES, GOLDEN, GUIDED, HOLE, PICTURE, SMALL
from golden.make_pipelines import generators, stored
from mindone.diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    CLIPTextModel,
    FirstBlockCacheConfig,
    FluxImg2ImgPipeline,
    FluxInpaintPipeline,
    FluxPipeline,
    GuidanceCacheConfig,
    Int8Config,
    SpectrumConfig,
    TaylorSeerCacheConfig,
    engines,
    jobs,
)
from mindone.diffusers.engines.base import is_quantized
from mindone.diffusers.engines.binding import stored as stored_values
from mindone.diffusers.loading.clip_image_processor import CLIPImageProcessor
from mindone.diffusers.models.packed_latents import packed, unpacked
from mindone.diffusers.pipelines.callbacks import OwnCallback
from mindone.diffusers.server.preview import Estimate
from tiny_flux import checkpoint, dev_checkpoint
from tiny_pipelines import load

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1], and of latents: a tenth of what is asked for."""


@pytest.fixture(scope="module")
def pipe() -> FluxPipeline:
    return load(dev_checkpoint())


@pytest.fixture(scope="module")
def schnell() -> FluxPipeline:
    return load(checkpoint())


def draw(pipe, **options) -> np.ndarray:
    asked = {**SMALL, "output_type": "np", **options}
    return pipe(**asked, generator=np.random.default_rng(0)).images


def with_caches(pipe, *caches):
    view = pipe.view()
    view.caches = caches
    return view


def psnr(images: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((images - reference) ** 2)))


@pytest.mark.parametrize("name", CASES)
def test_images_are_the_references(name, pipe, schnell):
    kind, pipeline, arguments = CASES[name]
    made = getattr(mindone.diffusers, pipeline).from_pipe(pipe if kind == "dev" else schnell)
    made.set_progress_bar_config(disable=True)
    images = made(**{"output_type": "np", **arguments}, generator=generators(1)).images
    with np.load(GOLDEN) as golden:
        if arguments.get("output_type") == "latent":
            expected, given = golden[name], images
        else:
            expected, given = golden[name] / 65535, stored(images) / 65535
        assert float(np.abs(given - expected).mean()) <= TOLERANCE


def test_patches_are_packed_and_unpacked():
    latents = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    tokens = packed(latents, 2)
    assert tokens.shape == (2, 6, 12)
    np.testing.assert_array_equal(tokens[1, 5], latents[1, :, 2:, 4:].ravel())
    np.testing.assert_array_equal(unpacked(tokens, 2, 3, 2), latents)
    with pytest.raises(ValueError, match=r"latents of 4×8 must be 8 tokens of a multiple of 4 channels, got the shape"):
        unpacked(tokens, 2, 4, 2)


def test_noise_of_ones_own_may_be_tokens_or_a_picture(schnell):
    noise = np.random.default_rng(1).standard_normal((1, 16, 8, 12)).astype(np.float32)
    as_picture, as_tokens = (draw(schnell, latents=each) for each in (noise, packed(noise, 2)))
    np.testing.assert_array_equal(as_picture, as_tokens)


def test_each_branch_of_guidance_is_a_row_of_its_own(pipe):
    """A negative prompt equal to the prompt changes nothing, whatever the scale."""
    plain, same = draw(pipe), draw(pipe, negative_prompt=SMALL["prompt"], true_cfg_scale=5.0)
    np.testing.assert_allclose(same, plain, atol=1e-4)
    assert psnr(draw(pipe, **GUIDED), plain) < 50


def test_a_negative_prompt_that_has_no_effect_is_said(pipe, caplog):
    draw(pipe, negative_prompt="blue")
    assert "negative_prompt has no effect at true_cfg_scale 1" in caplog.text
    caplog.clear()
    draw(pipe, negative_prompt_2="blue", true_cfg_scale=4.0)
    assert caplog.messages == ["negative_prompt_2 has no effect without negative_prompt"]


def test_the_run_says_its_scales(pipe):
    seen = []

    def look(pipe, step, timestep, tensors):
        seen.append((pipe.guidance_scale, pipe.true_cfg_scale, tensors["latents"].shape))

    draw(pipe, **GUIDED, guidance_scale=2.5, callback_on_step_end=look)
    assert seen[0] == (2.5, 3.0, (1, 24, 64))


# ---- loading ---------------------------------------------------------------------------------------------------------


def test_it_is_saved_and_loaded(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["text_encoder_2"] == ["transformers", "T5EncoderModel"]
    np.testing.assert_array_equal(draw(load(tmp_path)), draw(pipe))


def test_auto_pipelines_find_the_tasks(pipe):
    assert type(AutoPipelineForText2Image.from_pretrained(checkpoint())) is FluxPipeline
    assert type(AutoPipelineForImage2Image.from_pipe(pipe)) is FluxImg2ImgPipeline
    assert type(AutoPipelineForInpainting.from_pipe(pipe)) is FluxInpaintPipeline


# ---- what stacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [TaylorSeerCacheConfig(2), SpectrumConfig()])
def test_a_forecast_stays_close(cache, pipe):
    whole, forecast = (draw(each, num_inference_steps=24) for each in (pipe, with_caches(pipe, cache)))
    assert np.inf > psnr(forecast, whole) > 33  # 36.0 and 35.5


def test_guidance_for_half_of_the_steps_or_forecast_stays_closer_than_none(pipe):
    plain, none = (draw(pipe, num_inference_steps=16, **options) for options in (GUIDED, {}))
    halves = draw(pipe, num_inference_steps=16, **GUIDED, guidance_interval=(0.0, 0.5))
    cached = draw(with_caches(pipe, GuidanceCacheConfig()), num_inference_steps=16, **GUIDED)
    assert min(psnr(cached, plain), psnr(halves, plain)) > psnr(none, plain)
    with pytest.raises(ValueError, match=r"guidance_interval says .* this run has none; .*a true_cfg_scale above 1"):
        draw(pipe, guidance_interval=(0.0, 0.5))
    with pytest.raises(ValueError, match=r"for FLUX.1 a negative_prompt and a true_cfg_scale above 1"):
        draw(with_caches(pipe, GuidanceCacheConfig()), num_inference_steps=16)


@pytest.mark.parametrize("options", [{}, GUIDED], ids=["plain", "guided"])
def test_the_first_block_cache_skips_the_blocks_of_both_kinds(options, pipe):
    plain = draw(pipe, num_inference_steps=12, **options)
    never, often = (
        draw(with_caches(pipe, FirstBlockCacheConfig(each)), num_inference_steps=12, **options) for each in (0.0, 0.5)
    )
    np.testing.assert_allclose(never, plain, atol=1e-4)
    assert np.inf > psnr(often, plain) > 25


def test_the_last_block_multiplies_the_texts_tokens_for_keys_and_values_alone():
    """The other two blocks of one stream also do for queries, the feed-forward layer and its output."""
    transformer, words, tokens, rows = load(checkpoint()).transformer, 5, 4 * 6, []
    transformer.passes.append(
        lambda graph, _: rows.extend(
            node.get_output_shape(0)[1] for node in graph.get_ops() if node.get_type_name() == "MatMul"
        )
    )
    shapes = (1, 16, 8, 12), (1,), (1, words, 40), (1, 16)
    engines.get("openvino").run(transformer, *[np.zeros(shape, np.float32) for shape in shapes])
    assert rows.count(words + tokens) == 5 * 2 + 2


@pytest.mark.heavy
def test_int8_stays_close(pipe):
    config = Int8Config(("a red cat",), 2, components_to_quantize=("transformer", "vae"))
    in_int8 = load(dev_checkpoint(), quantization_config=config)
    assert np.inf > psnr(draw(in_int8, num_inference_steps=8), draw(pipe, num_inference_steps=8)) > 30
    transformer = in_int8.transformer
    single = transformer.single_transformer_blocks[0]
    alone = [stored_values(each.linear.weight) for each in (transformer.transformer_blocks[0].norm1, single.norm)]
    assert all(is_quantized(each) and each.input_range is None for each in alone)  # whose products are not in int8
    decoded = in_int8.vae.decoder.mid_block.resnets[0].conv1
    assert all(stored_values(each.weight).input_range is not None for each in (single.proj_out, decoded))
    assert not is_quantized(stored_values(transformer.proj_out.weight))


def test_one_network_at_a_time_draws_the_same(pipe):
    expected, view = draw(pipe), pipe.view()
    view.enable_model_cpu_offload()
    view.release()
    np.testing.assert_array_equal(draw(view), expected)


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_takes_the_published_numbers_and_draws(pipe):
    job = jobs.Job(prompt="a cat", model=str(dev_checkpoint()), height=64, width=96)
    settled = jobs.settled(pipe, job)
    assert (settled.steps, settled.guidance_scale, settled.true_cfg_scale) == (28, 3.5, 1.0)
    (picture,) = jobs.draw(pipe, job.changed(steps=2))
    assert picture.size == (96, 64)


@pytest.mark.heavy
def test_an_enlarged_image_is_drawn_again_at_its_own_size(schnell):
    job = jobs.Job(prompt="a cat", model=str(checkpoint()), height=64, width=80, steps=2, upscale=1.5)
    assert [jobs.draw(schnell, each)[0].size for each in (job, job.changed(strength=0.5))] == [(128, 96), (128, 96)]


# ---- what is refused -------------------------------------------------------------------------------------------------

EMBEDS, POOLED = np.zeros((1, 24, 40), np.float32), np.zeros((1, 16), np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 100}, "height must be a multiple of 16, got 100; the nearest are 96 and 112"),
        ({"sigmas": [2.0, 0.5]}, r"sigmas must be descending numbers above 0, at most 1; got \[2.0, 0.5\]"),
        (
            {"num_inference_steps": 0},
            "num_inference_steps must be a whole number from 1 to .*, got 0",
        ),
        ({"max_sequence_length": 513}, "max_sequence_length must be at most 512, got 513"),
        ({"true_cfg_scale": None}, "true_cfg_scale must be a finite number, got None"),
        ({"prompt_2": 3}, "prompt_2 must be a string or a list of strings, got int"),
        ({"prompt": None, "prompt_embeds": EMBEDS}, "prompt_embeds and pooled_prompt_embeds go together"),
        (
            {"prompt": None, "prompt_embeds": EMBEDS[..., 1:], "pooled_prompt_embeds": POOLED},
            "prompt_embeds must have the 40 channels that the transformer reads",
        ),
        ({"latents": np.zeros((1, 23, 64), np.float32)}, r"latents of 8×12 must be 24 tokens .* got the shape \(1, 23"),
        ({"latents": np.zeros((1, 24, 32), np.float32)}, r"latents must have the shape \(1, 16, 8, 12\)"),
        ({"ip_adapter_image": PICTURE}, "FluxPipeline takes no IP-Adapters: FLUX.1 has none here; leave out ip_"),
        ({"negative_ip_adapter_image": PICTURE}, "FluxPipeline takes no IP-Adapters"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(options, message, pipe):
    with pytest.raises(ValueError, match=message) as error:
        draw(pipe, **options)
    assert "\n" not in str(error.value)


def test_components_for_ip_adapters_are_refused_also_when_set_later(pipe):
    with pytest.raises(ValueError, match=r"FluxPipeline takes no IP-Adapters: FLUX.1 has none here; leave out im"):
        FluxPipeline.from_pipe(pipe, image_encoder=object())
    with pytest.raises(ValueError, match=r"FluxPipeline takes no IP-Adapters: .*; leave out feature_extractor"):
        pipe.view().feature_extractor = CLIPImageProcessor()


def test_text_encoders_of_another_checkpoint_are_refused(pipe):
    wrong = CLIPTextModel(**{**pipe.text_encoder.config, "hidden_size": 32})
    with pytest.raises(ValueError, match=r"pooled texts of 16 channels .* text_encoder makes 32 \(hidden_size\)"):
        draw(FluxPipeline.from_pipe(pipe, text_encoder=wrong))


def test_a_network_says_which_guidance_it_misses(pipe, schnell):
    inputs = np.zeros((1, 24, 64), np.float32), np.zeros((1, 5, 40), np.float32), np.zeros((1, 16), np.float32)
    places = {"img_ids": np.zeros((24, 3), np.float32), "txt_ids": np.zeros((5, 3), np.float32)}
    with pytest.raises(ValueError, match="guidance is missing: the network's config has guidance_embeds true"):
        pipe.transformer(*inputs, 0.5, **places)
    with pytest.raises(ValueError, match="guidance must be None for a network whose config has guidance_embeds false"):
        schnell.transformer(*inputs, 0.5, **places, guidance=3.5)


def test_inpainting_keeps_what_is_outside_the_mask(schnell):
    made = FluxInpaintPipeline.from_pipe(schnell)
    made.set_progress_bar_config(disable=True)
    latents = np.random.default_rng(2).standard_normal((1, 16, 8, 12)).astype(np.float32)
    drawn = unpacked(draw(made, image=latents, mask_image=HOLE, output_type="latent"), 4, 6, 2)
    assert np.abs(drawn - latents).max() > 0.1
    np.testing.assert_allclose(drawn[..., 0], latents[..., 0], atol=1e-5)


def test_a_preview_shows_the_picture_of_a_run(schnell):
    """The server's callbacks see latents as runs have them; published ones see tokens."""
    seen = []

    def look(pipe, step, timestep, tensors):
        seen.append((tensors["latents"].shape, Estimate(pipe, tensors["latents"]).picture().size))

    draw(schnell, callback_on_step_end=OwnCallback(look), num_inference_steps=1)
    assert seen == [((1, 16, 8, 12), (96, 64))]
