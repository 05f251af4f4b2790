"""Sana and SANA-Sprint: images against the reference's, what stacks with them, and what they refuse."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import mindone.diffusers
from golden.make_pipelines import generators, stored
from golden.make_sana import CASES, GOLDEN, PICTURE, SMALL
from mindone.diffusers import (
    AutoencoderTiny,
    AutoPipelineForImage2Image,
    AutoPipelineForText2Image,
    DeepCacheConfig,
    DPMSolverMultistepScheduler,
    Int8Config,
    SanaPipeline,
    SanaSprintImg2ImgPipeline,
    SanaSprintPipeline,
    TaylorSeerCacheConfig,
    bench,
    cli,
    jobs,
)
from mindone.diffusers.bench.shapes import SHAPES
from mindone.diffusers.bench.tables import make_plan
from mindone.diffusers.families.captions import check_cleaning
from mindone.diffusers.jobs.run import _warn_once
from tiny_pipelines import load
from tiny_sana import AUTOENCODER, SPRINT, TEXT_ENCODER, checkpoint, tiny_autoencoder

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for."""


@pytest.fixture(scope="module")
def sana() -> SanaPipeline:
    return load(checkpoint("sana"))


@pytest.fixture(scope="module")
def sprint() -> SanaSprintPipeline:
    return load(checkpoint("sana-sprint"))


def draw(pipe, **options) -> np.ndarray:
    asked = {**SMALL, "output_type": "np", **options}
    return pipe(**asked, generator=np.random.default_rng(0)).images


@pytest.fixture(scope="module")
def plain(sana) -> np.ndarray:
    return draw(sana, num_inference_steps=8)


def psnr(images: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((images - reference) ** 2)))


@pytest.mark.parametrize("name", CASES)
def test_images_are_the_references(name, sana, sprint):
    family, kind, arguments = CASES[name]
    pipe = getattr(mindone.diffusers, kind).from_pipe(sana if family == "sana" else sprint)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(**arguments, output_type="np", generator=generators(1)).images
    with np.load(GOLDEN) as golden:
        assert float(np.abs(stored(images) / 65535 - golden[name] / 65535).mean()) <= TOLERANCE


# ---- what stacks -----------------------------------------------------------------------------------------------------


def test_a_forecast_stays_closer_than_as_few_steps(sana):
    whole, half = (draw(sana, num_inference_steps=steps, guidance_scale=1.0) for steps in (24, 12))
    view = sana.view()
    view.caches = (TaylorSeerCacheConfig(2),)
    assert psnr(draw(view, num_inference_steps=24, guidance_scale=1.0), whole) > psnr(half, whole)


def test_guidance_for_half_of_the_steps_stays_closer_than_none(sana, plain):
    halves = draw(sana, num_inference_steps=8, guidance_interval=(0.0, 0.5))
    assert psnr(halves, plain) > psnr(draw(sana, num_inference_steps=8, guidance_scale=1.0), plain)


@pytest.mark.heavy
def test_int8_stays_close(plain):
    in_int8 = load(checkpoint("sana"), quantization_config=Int8Config(("a red cat",), 2))
    assert np.inf > psnr(draw(in_int8, num_inference_steps=8), plain) > 30


def test_a_lora_of_diffusers_changes_it_fuses_and_comes_off(sana, plain):
    random = np.random.default_rng(0)
    layers = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn2.to_out.0")
    tensors = {
        f"transformer.{layer}.lora_{side}.weight": random.standard_normal(shape).astype(np.float32)
        for layer in layers
        for side, shape in (("A", (2, 24)), ("B", (24, 2)))
    }
    sana.load_lora_weights(tensors, adapter_name="a")
    changed = draw(sana, num_inference_steps=8)
    nothing = draw(sana, num_inference_steps=8, attention_kwargs={"scale": 0.0})
    np.testing.assert_allclose(nothing, plain, atol=1e-5)  # what is compiled with room for a LoRA rounds otherwise
    sana.fuse_lora()
    assert psnr(plain, changed) < 30 < 60 < psnr(draw(sana, num_inference_steps=8), changed)
    sana.unfuse_lora()
    sana.unload_lora_weights()
    np.testing.assert_array_equal(draw(sana, num_inference_steps=8), plain)


def test_a_callback_changes_a_lora_of_what_the_text_says(sana, monkeypatch):
    """The text's keys and values are read once, and again when a LoRA of them counts otherwise."""
    random = np.random.default_rng(0)
    tensors = {
        f"transformer.transformer_blocks.0.attn2.to_k.lora_{side}.weight": random.standard_normal(shape)
        for side, shape in (("A", (2, 24)), ("B", (24, 2)))
    }
    sana.load_lora_weights({name: x.astype(np.float32) for name, x in tensors.items()}, adapter_name="a")

    def weaken(pipe, step, timestep, shown):
        pipe.set_adapters("a", 0.5 - step)
        return shown

    def changed(**options) -> np.ndarray:
        sana.set_adapters("a", 1.0)
        return draw(sana, num_inference_steps=3, **options)

    full, weaker = changed(), changed(callback_on_step_end=weaken)
    with monkeypatch.context() as patched:
        patched.setattr(SanaPipeline, "family", replace(SanaPipeline.family, read_once={}))
        at_every_step = changed(callback_on_step_end=weaken)
    sana.unload_lora_weights()
    assert psnr(weaker, full) < 40
    np.testing.assert_allclose(weaker, at_every_step, atol=1e-5)


def test_a_tiny_autoencoder_decodes_images_of_the_same_size(sprint):
    pipe = SanaSprintPipeline.from_pipe(sprint, vae=AutoencoderTiny.from_pretrained(tiny_autoencoder()))
    assert draw(pipe).shape == (1, 64, 96, 3)


def test_it_is_saved_and_loaded(sana, plain, tmp_path):
    sana.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["tokenizer"] == ["transformers", "GemmaTokenizerFast"]
    np.testing.assert_array_equal(draw(load(tmp_path), num_inference_steps=8), plain)


def test_auto_pipelines_find_both(sprint):
    assert type(AutoPipelineForText2Image.from_pretrained(checkpoint("sana"))) is SanaPipeline
    assert type(AutoPipelineForImage2Image.from_pipe(sprint)) is SanaSprintImg2ImgPipeline


def test_a_job_without_steps_takes_two_and_others_are_spaced_evenly(sprint):
    job = jobs.Job(prompt="a cat", model=str(checkpoint("sana-sprint")), height=64, width=96)
    assert (jobs.settled(sprint, job).steps, jobs.settled(sprint, job).guidance_scale) == (2, 4.5)
    (picture,) = jobs.draw(sprint, job.changed(steps=3, negative_prompt="blue"))
    assert picture.size == (96, 64)


def test_timesteps_of_ones_own_and_suggested_numbers_of_steps_leave_out_angles(sprint):
    angles = [1.5708, 1.3, 0.0]
    np.testing.assert_allclose(draw(sprint, timesteps=angles), draw(sprint), atol=1e-6)
    view = sprint.view()
    view.call_defaults = {"num_inference_steps": 1}
    np.testing.assert_array_equal(draw(view), draw(sprint, num_inference_steps=1))


def test_latents_of_a_picture_are_gone_on_from(sprint):
    pipe = SanaSprintImg2ImgPipeline.from_pipe(sprint)
    encoded = pipe.vae.encode_with(pipe.engine, pipe.image_processor.preprocess(PICTURE, 64, 128))
    latents = encoded * (pipe.vae.config["scaling_factor"] * pipe.scheduler.config["sigma_data"])
    from_latents, from_picture = (draw(pipe, image=image, width=128) for image in (latents, PICTURE))
    np.testing.assert_allclose(from_latents, from_picture, atol=1e-5)


def test_bench_leaves_out_what_its_networks_cannot_do(tmp_path):
    names = {
        family: [
            setup.name
            for setup in make_plan(bench.Options(model=str(checkpoint(family)), table="3"), tmp_path).tables[0].setups
            if setup.rival_of is None
        ]
        for family in ("sana", "sana-sprint")
    }
    assert names["sana"] == ["baseline", "+ TaylorSeer 2", "+ half the steps guided", "+ int8"]
    assert names["sana-sprint"] == ["baseline", "+ int8"]


def test_shapes_have_as_many_parameters_as_published():
    from mindone.diffusers import SanaTransformer2DModel

    counts = {"sana-1.6b": 1.60, "sana-sprint-0.6b": 0.59}
    for name, billions in counts.items():
        config = SHAPES[name].config("transformer")
        count = sum(np.prod(shape) for shape in SanaTransformer2DModel(**config).published_shapes().values())
        assert count / 1e9 == pytest.approx(billions, abs=0.01)


def test_the_command_line_weighs_no_words(tmp_path, caplog):
    def run(*words) -> str:
        words = ("generate", *words, "--model", checkpoint("sana-sprint"), "--height", 64, "--width", 64)
        words += ("--dtype", "float32")  # some CPUs warn about half precision
        return CliRunner().invoke(cli.main, [str(word) for word in (*words, "-o", tmp_path / "x.png")]).output

    _warn_once.cache_clear()
    refused = run("a cat", "--prompt-weights")
    assert "Error: SANA-Sprint supports no weighted words; leave out --prompt-weights" in refused
    run("a (cat)")
    assert not caplog.messages
    run("a (cat:1.2)")
    assert caplog.messages == ["weights such as (cat:1.3) in prompt are read as text: SANA-Sprint supports no weights"]


# ---- what is refused -------------------------------------------------------------------------------------------------

EMBEDS = np.zeros((1, 4, 24), np.float32)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("sana", {"height": 100}, "height must be a multiple of 32, got 100; the nearest are 96 and 128"),
        ("sana", {"max_sequence_length": 0}, "max_sequence_length must be a whole number of at least 1, got 0"),
        ("sana", {"prompt": None, "prompt_embeds": EMBEDS}, "prompt_embeds and prompt_attention_mask go together"),
        (
            "sana",
            {"prompt": None, "prompt_embeds": EMBEDS, "prompt_attention_mask": EMBEDS[..., 0].T},
            r"prompt_attention_mask must have the shape \(1, 4\)",
        ),
        (
            "sana-sprint",
            {"num_inference_steps": 5, "intermediate_timesteps": 1.3},
            "intermediate_timesteps=1.3 is for num_inference_steps=2, got 5",
        ),
        (
            "sana",
            {"max_sequence_length": 10**9},
            "max_sequence_length=1000000000 exceeds the text encoder's limit",
        ),
        ("sana", {"use_resolution_binning": True, "height": 10**9, "width": 10**9}, "of memory and this machine has"),
        ("sana", {"guidance_scale": float("nan")}, "guidance_scale must be a finite number or None, got nan"),
        ("sana", {"guidance_scale": "5"}, "guidance_scale must be a finite number or None, got '5'"),
        ("sana", {"complex_human_instruction": "Draw: "}, "complex_human_instruction must be None or a list of lines"),
        ("sana", {"attention_kwargs": 3}, "must be {'scale': number}, got 3"),
        ("sana", {"prompt": "a \ud800 cat"}, r"valid Unicode, got '.*a \\ud800 cat'"),
        (
            "sana",
            {"prompt": None, "prompt_embeds": EMBEDS[..., 1:], "prompt_attention_mask": EMBEDS[..., 0]},
            "prompt_embeds must have the 24 channels that the transformer reads, got 23",
        ),
        ("sana", {"prompt": None, "prompt_embeds": [[[0.0]]], "prompt_attention_mask": [[1]]}, "got list"),
        ("sana-sprint", {"num_inference_steps": "2"}, "num_inference_steps must be a whole number"),
        ("sana-sprint", {"max_timesteps": "1"}, "max_timesteps must be a finite number or None, got '1'"),
        ("sana-sprint", {"max_timesteps": None}, "max_timesteps is None"),
        (
            "sana-sprint",
            {"max_timesteps": 1.0},
            "intermediate_timesteps must be between 0 and max_timesteps=1, got 1.3; pass one in between, or None",
        ),
        ("sana-sprint", {"timesteps": [1.5, 0.0], "max_timesteps": 1.5}, "timesteps replace max_timesteps"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(family, options, message, sana, sprint):
    with pytest.raises(ValueError, match=message) as error:
        draw(sana if family == "sana" else sprint, **options)
    assert "\n" not in str(error.value)


def test_what_needs_skip_connections_or_pixel_attention_is_refused(sana):
    view = sana.view()
    view.caches = (DeepCacheConfig(),)
    with pytest.raises(ValueError, match="skip connections, and this one has none"):
        draw(view, num_inference_steps=5)
    with pytest.raises(ValueError, match="FreeU changes skip connections, and SanaTransformer2DModel has none"):
        sana.enable_freeu(1, 1, 1, 1)
    with pytest.raises(ValueError, match="SanaTransformer2DModel has no self-attention over pixels"):
        sana.transformer.enable_token_downsampling(2)
    with pytest.raises(ValueError, match="SanaPipeline takes no IP-Adapters"):
        sana.load_ip_adapter("anything")


def test_each_pipeline_is_for_its_own_transformer(sana, sprint):
    wrong = SanaPipeline(**{**sana.components, "transformer": sprint.transformer})
    with pytest.raises(ValueError, match="use SanaSprintPipeline"):
        draw(wrong)
    wrong = SanaSprintPipeline(**{**sprint.components, "transformer": sana.transformer})
    with pytest.raises(ValueError, match="use SanaPipeline"):
        draw(wrong)


def test_a_checkpoint_without_its_text_encoder_is_refused_or_takes_embeddings(tmp_path):
    root = shutil.copytree(checkpoint("sana"), tmp_path / "sana", ignore=shutil.ignore_patterns("text_encoder"))
    index = json.loads((root / "model_index.json").read_text())
    (root / "model_index.json").write_text(json.dumps({**index, "text_encoder": [None, None]}))
    with pytest.raises(ValueError, match=r"model_index.json has no text_encoder; pass one: from_pretrained\(…, text_"):
        load(root)
    pipe = load(root, text_encoder=None)
    with pytest.raises(ValueError, match="text_encoder is None, so it reads no texts; pass prompt_embeds and"):
        draw(pipe)


def test_a_scheduler_of_the_right_class_and_other_levels_is_refused_with_how_to_make_it(sana):
    view = sana.view()
    with pytest.raises(ValueError, match=r"make it with DPMSolverMultistepScheduler\.from_config\(pipe\.scheduler"):
        view.scheduler = DPMSolverMultistepScheduler()


def test_a_ratio_beyond_any_network_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match="mlp_ratio must be less than or equal to 64, got 1e"):
        mindone.diffusers.SanaTransformer2DModel(mlp_ratio=1e300)


def test_warnings_name_what_a_network_was_not_distilled_for(sprint, caplog):
    draw(sprint, guidance_scale=9.0, num_inference_steps=5)
    assert "distilled with guidance scales from 4.0 to 5.0, got 9" in caplog.text
    assert "distilled to generate in 1 to 4 steps, got 5" in caplog.text


def test_a_prompt_beyond_the_limit_is_said_once_to_be_cut(sprint, caplog):
    draw(sprint, prompt=["a red cat " * 40] * 2, max_sequence_length=20)
    assert caplog.text.count("The prompt is longer than the 20 tokens") == 1


def test_cleaning_captions_needs_two_packages(monkeypatch):
    monkeypatch.setattr("mindone.diffusers.families.captions.is_there", lambda package: package == "bs4")
    with pytest.raises(ValueError, match="clean_caption=True needs ftfy: pip install beautifulsoup4 ftfy"):
        check_cleaning("clean_caption", True)


def test_a_size_of_ones_own_is_drawn_at_a_trained_one_and_cut(sana):
    image = sana("a cat", height=100, width=130, num_inference_steps=1, guidance_scale=1.0).images[0]
    assert isinstance(image, Image.Image) and image.size == (130, 100)


@pytest.mark.heavy
def test_a_shape_is_a_checkpoint_like_any_other(monkeypatch, tmp_path):
    small = SHAPES["sana-sprint-0.6b"].changed(
        {"transformer": SPRINT, "text_encoder": {**TEXT_ENCODER, "vocab_size": 300}, "vae": AUTOENCODER},
        tiny_vae=json.loads((tiny_autoencoder() / "config.json").read_text()),
    )
    monkeypatch.setattr("mindone.diffusers.families.sana.shapes.SPRINT_600M", small)
    plan = make_plan(bench.Options(shape="sana-sprint-0.6b", engine="openvino", table="2"), tmp_path)
    baseline, tiny_vae = plan.tables[0].setups
    assert (baseline.steps, baseline.job.scheduler, baseline.model.image_size()) == (2, "scm", (512, 512))
    pipe = load(baseline.model.folder, vae=AutoencoderTiny.from_pretrained(tiny_vae.tiny_vae.folder))
    assert np.isfinite(draw(pipe)).all()
