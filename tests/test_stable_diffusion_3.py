"""Stable Diffusion 3: images against the reference's, what stacks with them, and what they refuse."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import mindone.diffusers
from executed import executed
from golden.make_pipelines import generators, stored
from golden.make_sd3 import CASES, GOLDEN, HOLE, PICTURE, SMALL, WITHOUT_T5
from mindone.diffusers import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
    CLIPTextModelWithProjection,
    DDIMScheduler,
    DeepCacheConfig,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    GuidanceCacheConfig,
    Int8Config,
    SpectrumConfig,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3InpaintPipeline,
    StableDiffusion3Pipeline,
    TaylorSeerCacheConfig,
    jobs,
)
from mindone.diffusers.acceleration.int8 import quantize_pipeline
from mindone.diffusers.engines.base import is_quantized
from mindone.diffusers.engines.binding import stored as stored_values
from mindone.diffusers.engines.openvino.observing import ObservingEngine
from mindone.diffusers.loading.clip_image_processor import CLIPImageProcessor
from mindone.diffusers.pipelines import loop
from mindone.diffusers.pipelines.padding import without_repeats
from tiny_pipelines import load
from tiny_sd3 import checkpoint, tiny_autoencoder

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1], and of latents: a tenth of what is asked for."""


@pytest.fixture(scope="module")
def pipe() -> StableDiffusion3Pipeline:
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
def test_images_are_the_references(name, pipe):
    kind, arguments = CASES[name]
    made = getattr(mindone.diffusers, kind).from_pipe(pipe, **(WITHOUT_T5 if name == "without T5" else {}))
    made.set_progress_bar_config(disable=True)
    images = made(**{"output_type": "np", **arguments}, generator=generators(1)).images
    with np.load(GOLDEN) as golden:
        if arguments.get("output_type") == "latent":
            expected, given = golden[name], images
        else:
            expected, given = golden[name] / 65535, stored(images) / 65535
        assert float(np.abs(given - expected).mean()) <= TOLERANCE


def test_several_images_of_several_prompts_are_those_of_each(pipe):
    noise = np.random.default_rng(1).standard_normal((4, 16, 8, 12)).astype(np.float32)
    prompts = ["a cat", "red mat on mars"]
    images = draw(pipe, prompt=prompts, num_images_per_prompt=2, latents=noise, num_inference_steps=2)
    for row, prompt in enumerate(prompts):
        for i in (2 * row, 2 * row + 1):
            alone = draw(pipe, prompt=prompt, latents=noise[i : i + 1], num_inference_steps=2)
            np.testing.assert_allclose(alone[0], images[i], atol=1e-4)


def test_the_zeros_in_place_of_t5_are_read_once(pipe, monkeypatch):
    without, seen = StableDiffusion3Pipeline.from_pipe(pipe, **WITHOUT_T5), []
    without.set_progress_bar_config(disable=True)
    run = type(pipe.engine).run

    def noted(engine, network, *inputs, **options):
        if network is pipe.transformer:
            seen.append((options["encoder_hidden_states"].shape[1], options.get("last_counts")))
        return run(engine, network, *inputs, **options)

    monkeypatch.setattr(type(pipe.engine), "run", noted)
    short = draw(without)
    monkeypatch.setattr(loop, "without_repeats", lambda engine, text: (text, 1))
    long = draw(without)
    of_clip = pipe.tokenizer.model_max_length
    assert set(seen) == {(of_clip + 1, 77), (of_clip + 77, None)}
    np.testing.assert_allclose(short, long, atol=1e-5)


@pytest.mark.parametrize(
    "rows, length, times",
    [
        ([[1, 2, 0, 0]], 3, 2),
        ([[1, 2, 0, 0], [1, 0, 0, 0]], 3, 2),
        ([[1, 1], [2, 2]], 1, 2),
        ([[0, 1]], 2, 1),
        ([[1]], 1, 1),
    ],
)
def test_equal_tokens_at_the_end_of_all_texts_become_one(pipe, rows, length, times):
    text = np.array(rows, np.float32)[..., None].repeat(4, axis=-1)
    short, found = without_repeats(pipe.engine, text)
    assert (short.shape[1], found) == (length, times) and np.array_equal(short, text[:, :length])


def test_inpainted_latents_are_decoded_with_the_shift(pipe):
    inpaint = StableDiffusion3InpaintPipeline.from_pipe(pipe)
    inpaint.set_progress_bar_config(disable=True)
    picture = {"image": PICTURE, "mask_image": HOLE}
    latents, images = (draw(inpaint, **picture, output_type=kind) for kind in ("latent", "np"))
    pixels = pipe.engine.numpy(pipe.vae.decode_with(pipe.engine, latents / 1.5305 + 0.0609))
    np.testing.assert_allclose((pixels.transpose(0, 2, 3, 1) / 2 + 0.5).clip(0, 1), images, atol=1e-5)


def test_only_what_no_text_encoder_reads_is_said_to_be_ignored(pipe, caplog):
    long = "a red cat sitting on a mat " * 40
    without = StableDiffusion3Pipeline.from_pipe(pipe, **WITHOUT_T5)
    said = []
    for each, texts in ((pipe, {}), (pipe, {"prompt_3": "a mat"}), (without, {}), (pipe, {"max_sequence_length": 20})):
        caplog.clear()
        each.encode_prompt(long, **texts, do_classifier_free_guidance=False)
        said.append([int(record.getMessage().split("the ")[1].split()[0]) for record in caplog.records])
    assert said == [[256], [77, 77], [77, 77], [20]]


# ---- loading ---------------------------------------------------------------------------------------------------------


def test_nothing_of_t5_is_loaded_without_it(tmp_path):
    folder = shutil.copytree(checkpoint(), tmp_path / "sd3")
    for name in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(folder / name)
    made = load(folder, **WITHOUT_T5)
    assert (made.text_encoder_3, made.tokenizer_3) == (None, None)
    made.save_pretrained(tmp_path / "saved")
    index = json.loads((tmp_path / "saved" / "model_index.json").read_text())
    assert index["text_encoder_3"] == [None, None]
    np.testing.assert_array_equal(draw(load(tmp_path / "saved")), draw(made))


def test_it_is_saved_and_loaded(pipe, tmp_path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["tokenizer_3"] == ["transformers", "T5TokenizerFast"]
    np.testing.assert_array_equal(draw(load(tmp_path)), draw(pipe))


def test_auto_pipelines_find_the_tasks(pipe):
    assert type(AutoPipelineForText2Image.from_pretrained(checkpoint())) is StableDiffusion3Pipeline
    assert type(AutoPipelineForImage2Image.from_pipe(pipe)) is StableDiffusion3Img2ImgPipeline
    assert type(AutoPipelineForInpainting.from_pipe(pipe)) is StableDiffusion3InpaintPipeline


def test_a_checkpoint_without_a_text_encoder_says_what_to_pass(tmp_path):
    folder = shutil.copytree(checkpoint(), tmp_path / "sd3")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "text_encoder_2": [None, None]}))
    with pytest.raises(ValueError, match=r"no text_encoder_2; pass one: from_pretrained\(…, text_encoder_2=…\)$"):
        load(folder)
    made = load(folder, text_encoder_2=None)
    with pytest.raises(ValueError, match="text_encoder_2 is None, so it reads no texts; pass prompt_embeds"):
        draw(made)


# ---- what stacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [TaylorSeerCacheConfig(2), SpectrumConfig()])
def test_a_forecast_stays_closer_than_as_few_steps(cache, pipe):
    whole, half = (draw(pipe, num_inference_steps=steps, guidance_scale=1.0) for steps in (24, 12))
    forecast = draw(with_caches(pipe, cache), num_inference_steps=24, guidance_scale=1.0)
    assert psnr(forecast, whole) > psnr(half, whole)


def test_guidance_for_half_of_the_steps_or_forecast_stays_closer_than_none(pipe):
    plain, none = draw(pipe, num_inference_steps=24), draw(pipe, num_inference_steps=24, guidance_scale=1.0)
    halves = draw(pipe, num_inference_steps=24, guidance_interval=(0.0, 0.5))
    cached = draw(with_caches(pipe, GuidanceCacheConfig()), num_inference_steps=24)
    assert psnr(cached, plain) > psnr(halves, plain) > psnr(none, plain)


SKIPPED = {"num_inference_steps": 12, "skip_guidance_layers": [1], "skip_layer_guidance_stop": 0.8}


@pytest.mark.parametrize("cache", [GuidanceCacheConfig(), TaylorSeerCacheConfig(2)], ids=["guidance", "steps"])
def test_a_cache_costs_no_more_with_skipped_layers_than_without(cache, pipe):
    view = with_caches(pipe, cache)
    (plain, skipped), (cached, both) = (
        (draw(each, num_inference_steps=12), draw(each, **SKIPPED)) for each in (pipe, view)
    )
    assert psnr(both, skipped) > psnr(cached, plain) - 1
    assert psnr(both, cached) == pytest.approx(psnr(skipped, plain), abs=2)


def test_skipped_layers_stack_with_the_first_block_cache(pipe):
    both = draw(with_caches(pipe, FirstBlockCacheConfig(0.6)), **SKIPPED)
    assert np.inf > psnr(both, draw(pipe, **SKIPPED)) > 33  # 36.8


def test_skipped_layers_cost_calls_in_their_part_alone(pipe, monkeypatch):
    calls, run = [], type(pipe.engine).run

    def count(engine, network, *inputs, **options):
        if network is pipe.transformer:
            calls.append(options.get("skip_layers"))
        return run(engine, network, *inputs, **options)

    monkeypatch.setattr(type(pipe.engine), "run", count)
    draw(pipe, **{**SKIPPED, "num_inference_steps": 10})
    assert calls.count((1,)) == 7 and len(calls) == 17


def test_loras_count_as_much_as_a_call_says():
    pipe, random = load(checkpoint()), np.random.default_rng(0)
    plain, (embeds, *_) = draw(pipe), pipe.encode_prompt("a red cat")
    layers = {"transformer.transformer_blocks.0.attn.to_q": 24, "text_encoder.text_model.encoder.layers.0.mlp.fc2": 16}
    for layer, width in layers.items():
        read = 32 if layer.endswith("fc2") else width
        tensors = {
            f"{layer}.lora_{side}.weight": random.standard_normal(shape).astype(np.float32)
            for side, shape in (("A", (2, read)), ("B", (width, 2)))
        }
        pipe.load_lora_weights(tensors, adapter_name=layer.partition(".")[0])
    pipe.set_adapters(["transformer", "text_encoder"])
    assert psnr(draw(pipe), plain) < 40
    np.testing.assert_array_equal(draw(pipe, joint_attention_kwargs={"scale": 0.0}), plain)
    changed, same = (pipe.encode_prompt("a red cat", lora_scale=scale)[0] for scale in (1.0, 0.0))
    assert np.abs(changed - embeds).max() > 0.1
    np.testing.assert_array_equal(same, embeds)


@pytest.mark.heavy
def test_int8_stays_close(pipe):
    in_int8 = load(checkpoint(), quantization_config=Int8Config(("a red cat",), 2))
    assert np.inf > psnr(draw(in_int8, num_inference_steps=8), draw(pipe, num_inference_steps=8)) > 30
    block = in_int8.transformer.transformer_blocks[0]
    weights = [stored_values(cell.linear.weight) for cell in (block.norm1, block.norm1_context)]
    assert all(is_quantized(each) and each.input_range is None for each in weights)  # whose products are not in int8
    assert stored_values(block.attn.to_q.weight).input_range is not None


def test_a_job_may_do_without_t5():
    key = jobs.PipelineKey(model=checkpoint(), without=("text_encoder_3",))
    made = jobs.load(key)
    assert made.text_encoder_3 is made.tokenizer_3 is None and made.text_encoder_2 is not None
    with pytest.raises(ValueError, match="StableDiffusion3Pipeline needs vae, got None"):
        jobs.load(key.changed(without=("vae",)))


@pytest.mark.heavy
def test_calibrating_reads_all_prompts_first_and_holds_one_network_at_a_time(monkeypatch):
    pipe, calls, run = load(checkpoint()), [], ObservingEngine.run

    def observed(engine, network, *inputs, **options):
        result = run(engine, network, *inputs, **options)
        held = [name for name in pipe.family.networks if len(pipe.components[name].graphs)]
        calls.append((type(network).__name__, held, np.shape(inputs[0])))
        if network is pipe.transformer:  # what is observed is let go at once
            kinds = executed(pipe.transformer)
            assert "FullyConnected" in kinds[kinds.index("Reduce") :]
        return result

    monkeypatch.setattr(ObservingEngine, "run", observed)
    plan = dataclasses.replace(pipe.family.int8, drawn={"height": 32, "width": 32, "max_sequence_length": 8})
    monkeypatch.setattr(type(pipe), "family", dataclasses.replace(pipe.family, int8=plan))
    quantize_pipeline(pipe, Int8Config(("a red cat", "a mat"), 2))
    assert [name for name, _, _ in calls[-2:]] == ["SD3Transformer2DModel"] * 2
    assert all(held == ["transformer"] and shape == (2, 16, 4, 4) for _, held, shape in calls[-2:])
    assert not any("transformer" in held for _, held, _ in calls[:-2])
    assert not any(len(pipe.components[name].graphs) for name in pipe.family.networks)
    weight = pipe.text_encoder_3.published_parameters()["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"]
    assert is_quantized(stored_values(weight))


def test_one_network_at_a_time_draws_the_same(pipe, monkeypatch):
    expected, view, held, encode = draw(pipe), pipe.view(), [], type(pipe.text_encoder_3).encode_with

    def look(network, *arguments):
        held.extend(name for name, part in pipe.components.items() if len(getattr(part, "graphs", ())))
        return encode(network, *arguments)

    monkeypatch.setattr(type(pipe.text_encoder_3), "encode_with", look)
    view.enable_model_cpu_offload()
    view.release()
    np.testing.assert_array_equal(draw(view), expected)
    assert held == []  # the CLIPs have gone when T5 comes


# ---- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_takes_the_published_numbers_and_draws(pipe):
    job = jobs.Job(prompt="a cat", model=str(checkpoint()), height=64, width=96)
    assert (jobs.settled(pipe, job).steps, jobs.settled(pipe, job).guidance_scale) == (28, 7.0)
    (picture,) = jobs.draw(pipe, job.changed(steps=2, negative_prompt="blue"))
    assert picture.size == (96, 64)


def test_a_job_from_a_picture_takes_its_size(tmp_path):
    PICTURE.save(tmp_path / "picture.png")
    job = jobs.Job(
        prompt="a cat",
        model=str(checkpoint()),
        image=str(tmp_path / "picture.png"),
        steps=2,
        tiny_vae=str(tiny_autoencoder()),
    )
    (picture,) = jobs.draw(jobs.load(job), job)
    assert picture.size == (64, 48)


@pytest.mark.heavy
def test_an_enlarged_image_is_drawn_again_at_its_own_size(pipe):
    job = jobs.Job(prompt="a cat", model=str(checkpoint()), height=64, width=80, steps=2, upscale=1.5)
    assert [jobs.draw(pipe, each)[0].size for each in (job, job.changed(strength=0.5))] == [(128, 96), (128, 96)]


# ---- what is refused -------------------------------------------------------------------------------------------------

EMBEDS, POOLED = np.zeros((1, 90, 40), np.float32), np.zeros((1, 24), np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 100}, "height must be a multiple of 16, got 100; the nearest are 96 and 112"),
        ({"width": 104}, "width must be a multiple of 16, got 104; the nearest are 96 and 112"),
        ({"width": 208}, r"width must be at most 192, got 208: the transformer has places for 12 tokens along a side"),
        ({"sigmas": [2.0, 0.5]}, r"sigmas must be descending numbers above 0, at most 1; got \[2.0, 0.5\]"),
        ({"sigmas": ["a"]}, r"sigmas must be descending numbers above 0, at most 1; got \['a'\]"),
        ({"sigmas": [None]}, r"sigmas must be descending numbers above 0, at most 1; got \[None\]"),
        ({"max_sequence_length": 513}, "max_sequence_length must be at most 512, got 513"),
        ({"max_sequence_length": 0}, "max_sequence_length must be a whole number of at least 1, got 0"),
        ({"prompt_3": 3}, "prompt_3 must be a string or a list of strings, got int"),
        ({"prompt": ["a"] * 2, "prompt_3": ["a"] * 3}, "prompt_3 must hold one text for each of the 2 prompts, got 3"),
        ({"prompt": None, "prompt_embeds": EMBEDS, "pooled_prompt_embeds": "a"}, "must be an array or None, got 'a'"),
        ({"prompt": None, "prompt_embeds": EMBEDS}, "prompt_embeds and pooled_prompt_embeds go together"),
        ({"prompt_embeds": EMBEDS, "pooled_prompt_embeds": POOLED}, "prompt and prompt_embeds were both given"),
        (
            {"prompt": None, "prompt_embeds": EMBEDS[..., 1:], "pooled_prompt_embeds": POOLED},
            "prompt_embeds must have the 40 channels that the transformer reads",
        ),
        (
            {"prompt": None, "prompt_embeds": EMBEDS, "pooled_prompt_embeds": POOLED[:, 1:]},
            "pooled_prompt_embeds must have the 24 channels that the transformer reads",
        ),
        (
            {"prompt": None, "prompt_embeds": EMBEDS, "pooled_prompt_embeds": POOLED},
            "prompt_embeds has 90 tokens but the text encoder gives 333",
        ),
        (
            {"negative_prompt_embeds": EMBEDS, "negative_pooled_prompt_embeds": POOLED},
            "^negative_prompt_embeds has 90 tokens but the text encoder gives 333; pass prompt_embeds",
        ),
        ({"mu": 1.0}, r"mu=1 is for schedulers with use_dynamic_shifting, and this .* has a fixed shift \(3"),
        ({"clip_skip": 9}, "clip_skip must be a whole number from 0 to 2, got 9"),
        ({"joint_attention_kwargs": 3}, "must be {'scale': number}, got 3"),
        (
            {"skip_guidance_layers": [3]},
            r"skip_guidance_layers must be .* from 0 to 2, such as \[1\], or None; got \[3\]",
        ),
        ({"skip_guidance_layers": []}, r"skip_guidance_layers must be numbers of layers from 0 to 2, .* got \[\]"),
        ({"skip_guidance_layers": 1}, "skip_guidance_layers must be numbers of layers .* got 1"),
        ({"skip_guidance_layers": [1], "guidance_scale": 1}, "skip_guidance_layers needs guidance, and guidance_scale"),
        ({"skip_guidance_layers": [1]}, "skip_guidance_layers applies to none of 4 steps"),
        ({"skip_guidance_layers": [1], "num_inference_steps": "4"}, "num_inference_steps must be a whole number"),
        ({"skip_layer_guidance_scale": None}, "skip_layer_guidance_scale must be a finite number, got None"),
        ({"ip_adapter_image": PICTURE}, "StableDiffusion3Pipeline takes no IP-Adapters"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(options, message, pipe):
    with pytest.raises(ValueError, match=message) as error:
        draw(pipe, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["prompt_3", "negative_prompt_3"])
def test_a_third_prompt_without_t5_is_refused(name, pipe):
    without = StableDiffusion3Pipeline.from_pipe(pipe, **WITHOUT_T5)
    with pytest.raises(ValueError, match=f"^{name} is for the third text encoder, T5, .*; leave {name} out, or load"):
        draw(without, **{name: "a mat"})


def test_schedulers_of_other_noise_levels_are_refused_with_those_that_serve(pipe):
    with pytest.raises(ValueError, match=r"DDIMScheduler .*FlowMatchEulerDiscreteScheduler") as error:
        StableDiffusion3Pipeline.from_pipe(pipe, scheduler=DDIMScheduler())
    assert "\n" not in str(error.value)


def test_text_encoders_of_another_checkpoint_are_refused(pipe):
    wrong = CLIPTextModelWithProjection(**{**pipe.text_encoder.config, "projection_dim": 8})
    made = StableDiffusion3Pipeline.from_pipe(pipe, text_encoder=wrong)
    with pytest.raises(ValueError, match=r"pooled texts of 24 channels .* make 20 \(projection_dim\)"):
        draw(made)


def test_what_needs_skip_connections_or_adapters_is_refused(pipe):
    with pytest.raises(ValueError, match="skip connections, and this one has none"):
        draw(with_caches(pipe, DeepCacheConfig()), num_inference_steps=5)
    with pytest.raises(ValueError, match="StableDiffusion3Pipeline takes no IP-Adapters"):
        pipe.load_ip_adapter("anything")
    with pytest.raises(ValueError, match=r"takes no IP-Adapters: .* has none here; leave out image_"):
        StableDiffusion3Pipeline.from_pipe(pipe, image_encoder=object())
    with pytest.raises(ValueError, match=r"StableDiffusion3Pipeline takes no IP-Adapters: .*; leave out feature_ex"):
        pipe.feature_extractor = CLIPImageProcessor()


def test_a_dynamic_shift_takes_mu(pipe):
    dynamic = FlowMatchEulerDiscreteScheduler.from_config(pipe.scheduler.config, use_dynamic_shifting=True)
    made = StableDiffusion3Pipeline.from_pipe(pipe, scheduler=dynamic)
    made.set_progress_bar_config(disable=True)
    assert psnr(draw(made, mu=0.5), draw(made)) > psnr(draw(made, mu=3.0), draw(made))


def test_the_run_says_which_layers_it_skips(pipe):
    seen = []
    draw(pipe, **SKIPPED, callback_on_step_end=lambda pipe, *rest: seen.append(pipe.skip_guidance_layers))
    assert seen[0] == [1]
