"""PixArt-α and PixArt-Σ: images against the reference's, what stacks with them, and what they refuse."""

import json
import shutil

import numpy as np
import pytest

import mindone.diffusers
from checkpoints import TINY_AUTOENCODER
from golden.make_pipelines import generators, stored
from golden.make_pixart import CASES, GOLDEN, SMALL
from mindone.diffusers import (
    AutoencoderTiny,
    AutoPipelineForText2Image,
    DeepCacheConfig,
    FirstBlockCacheConfig,
    FlowMatchEulerDiscreteScheduler,
    GuidanceCacheConfig,
    Int8Config,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    TaylorSeerCacheConfig,
    bench,
    jobs,
)
from mindone.diffusers.bench.shapes import SHAPES
from mindone.diffusers.bench.tables import make_plan
from mindone.diffusers.families import captions
from mindone.diffusers.jobs.profile import Settings
from mindone.diffusers.tune.costs import Costs
from mindone.diffusers.tune.stacks import Stacks
from t5_files import CONFIG
from tiny_pipelines import load, tiny_autoencoder_folder
from tiny_pixart import CHANNELS, TRANSFORMER, checkpoint

TOLERANCE = 1e-4
"""Of the mean difference of pixels in [0, 1]: a tenth of what is asked for."""


@pytest.fixture(scope="module")
def alpha() -> PixArtAlphaPipeline:
    return load(checkpoint("pixart-alpha"))


@pytest.fixture(scope="module")
def sigma() -> PixArtSigmaPipeline:
    return load(checkpoint("pixart-sigma"))


def draw(pipe, **options) -> np.ndarray:
    asked = {**SMALL, "output_type": "np", **options}
    return pipe(**asked, generator=np.random.default_rng(0)).images


@pytest.fixture(scope="module")
def plain(sigma) -> np.ndarray:
    return draw(sigma, num_inference_steps=8)


def psnr(images: np.ndarray, reference: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((images - reference) ** 2)))


@pytest.mark.parametrize("name", CASES)
def test_images_are_the_references(name, alpha, sigma):
    family, arguments = CASES[name]
    pipe = alpha if family == "pixart-alpha" else sigma
    images = pipe(**arguments, output_type="np", generator=generators(1)).images
    with np.load(GOLDEN) as golden:
        assert float(np.abs(stored(images) / 65535 - golden[name] / 65535).mean()) <= TOLERANCE


@pytest.mark.parametrize("lost", ["text_encoder", "tokenizer"])
def test_a_job_names_the_file_that_lacks_what_reads_its_prompt(lost, tmp_path):
    folder = shutil.copytree(checkpoint("pixart-sigma"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({name: each for name, each in index.items() if name != lost}))
    with pytest.raises(ValueError, match=f"/model has no {lost}: its model_index.json names none, and then nothing"):
        jobs.load(jobs.PipelineKey(model=folder))


def test_components_are_taken_in_the_published_order(sigma):
    parts = (sigma.tokenizer, sigma.text_encoder, sigma.vae, sigma.transformer, sigma.scheduler)
    assert PixArtSigmaPipeline(*parts).components == sigma.components


# ---- what is read ----------------------------------------------------------------------------------------------------


def test_alpha_tells_its_transformer_the_size_that_is_generated(alpha):
    tensors = {}
    alpha(**SMALL, num_inference_steps=1, callback_on_step_end=lambda pipe, *_: tensors.update(pipe.runs.own().tensors))
    assert tensors["resolution"].tolist() == [[64, 96]]
    np.testing.assert_allclose(tensors["aspect_ratio"], [[64 / 96]], rtol=1e-6)


def test_texts_are_cleaned_where_that_can_be_and_is_not_forbidden(sigma, monkeypatch):
    monkeypatch.setattr(captions, "is_there", lambda package: True)
    monkeypatch.setattr("mindone.diffusers.families.masked_texts.cleaned", lambda text: "a cat")
    few = {"num_inference_steps": 1, "guidance_scale": 1.0}
    cat, other = (draw(sigma, prompt=text, clean_caption=False, **few) for text in ("a cat", "mars"))
    for asked, expected in ((None, cat), (True, cat), (False, other)):
        np.testing.assert_array_equal(draw(sigma, prompt="mars", clean_caption=asked, **few), expected)
    monkeypatch.setattr(captions, "is_there", lambda package: False)
    np.testing.assert_array_equal(draw(sigma, prompt="mars", clean_caption=None, **few), other)
    with pytest.raises(ValueError, match="clean_caption=True needs bs4 and ftfy: pip install beautifulsoup4 ftfy"):
        draw(sigma, clean_caption=True)


def test_embeddings_that_encode_prompt_gives_draw_what_their_texts_do(alpha, plain):
    texts = ["a cat", "mars"]
    expected = draw(alpha, prompt=texts, negative_prompt="horse", num_inference_steps=2)
    names = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
    given = dict(zip(names, alpha.encode_prompt(texts, negative_prompt="horse")))
    assert given["prompt_embeds"].shape == (2, 120, CHANNELS)
    view = alpha.view()
    view.text_encoder = view.tokenizer = None
    np.testing.assert_allclose(draw(view, prompt=None, **given, num_inference_steps=2), expected, atol=1e-6)


def test_a_prompt_beyond_the_limit_keeps_its_end_and_is_said_once_to_be_cut(sigma, caplog):
    embeds, mask, *_ = sigma.encode_prompt(["a cat " * 40] * 2, False, max_sequence_length=10)
    assert caplog.text.count("The prompt is longer than the 10 tokens") == 1
    assert embeds.shape == (2, 10, CHANNELS) and mask.sum() == 20


# ---- what stacks -----------------------------------------------------------------------------------------------------


def test_a_forecast_stays_closer_than_as_few_steps(sigma):
    whole, half = (draw(sigma, num_inference_steps=steps, guidance_scale=1.0) for steps in (24, 12))
    view = sigma.view()
    view.caches = (TaylorSeerCacheConfig(2),)
    assert psnr(draw(view, num_inference_steps=24, guidance_scale=1.0), whole) > psnr(half, whole)


def test_a_first_block_cache_that_skips_nothing_changes_nothing_and_one_that_skips_stays_close(alpha):
    few = {"num_inference_steps": 8}
    whole = draw(alpha, **few)
    view = alpha.view()
    view.caches = (FirstBlockCacheConfig(threshold=0),)
    np.testing.assert_allclose(draw(view, **few), whole, atol=1e-4)
    view.caches = (FirstBlockCacheConfig(threshold=0.3),)
    assert np.inf > psnr(draw(view, **few), whole) > psnr(draw(alpha, num_inference_steps=4), whole)


def test_guidance_for_half_of_the_steps_or_kept_for_the_next_stays_closer_than_none(alpha):
    few = {"num_inference_steps": 8}
    whole, unguided = draw(alpha, **few), draw(alpha, **few, guidance_scale=1.0)
    view = alpha.view()
    view.caches = (GuidanceCacheConfig(2),)
    for images in (draw(alpha, **few, guidance_interval=(0.0, 0.5)), draw(view, **few)):
        assert psnr(images, whole) > psnr(unguided, whole)


@pytest.mark.heavy
def test_int8_stays_close(sigma):
    """Without guidance, which makes rounding 4.5 times as large."""
    in_int8 = load(checkpoint("pixart-sigma"), quantization_config=Int8Config(("a cat",), 2))
    few = {"num_inference_steps": 8, "guidance_scale": 1.0}
    assert np.inf > psnr(draw(in_int8, **few), draw(sigma, **few)) > 30


def test_a_lora_of_peft_changes_it_fuses_and_comes_off(sigma, plain):
    random = np.random.default_rng(0)
    layers = ("transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn2.to_out.0")
    tensors = {
        f"base_model.model.{layer}.lora_{side}.weight": random.standard_normal(shape).astype(np.float32)
        for layer in layers
        for side, shape in (("A", (2, 24)), ("B", (24, 2)))
    }
    sigma.load_lora_weights(tensors, adapter_name="a")
    changed = draw(sigma, num_inference_steps=8)
    without = draw(sigma, num_inference_steps=8, cross_attention_kwargs={"scale": 0.0})
    np.testing.assert_allclose(without, plain, atol=1e-5)
    sigma.fuse_lora()
    assert psnr(plain, changed) < 30 < 60 < psnr(draw(sigma, num_inference_steps=8), changed)
    sigma.unfuse_lora()
    sigma.unload_lora_weights()
    np.testing.assert_allclose(draw(sigma, num_inference_steps=8), plain, atol=1e-5)


def test_a_tiny_autoencoder_and_offloading_draw_images_of_the_same_size(sigma):
    pipe = PixArtSigmaPipeline.from_pipe(sigma, vae=AutoencoderTiny.from_pretrained(tiny_autoencoder_folder()))
    pipe.enable_model_cpu_offload()
    assert draw(pipe, num_inference_steps=2).shape == (1, 64, 96, 3)


def test_it_is_saved_under_todays_name_and_loaded(alpha, tmp_path):
    alpha.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["transformer"] == ["diffusers", "PixArtTransformer2DModel"]
    few = {"num_inference_steps": 2}
    np.testing.assert_array_equal(draw(load(tmp_path), **few), draw(alpha, **few))


@pytest.mark.parametrize(("family", "side"), [("pixart-alpha", 1024), ("pixart-sigma", 256)])
def test_auto_pipelines_and_jobs_find_both(family, side):
    pipe = AutoPipelineForText2Image.from_pretrained(checkpoint(family))
    assert pipe.family.name == family
    job = jobs.Job(prompt="a cat", model=str(checkpoint(family)), height=64, width=96)
    assert (jobs.settled(pipe, job).steps, jobs.settled(pipe, job).guidance_scale) == (20, 4.5)
    (picture,) = jobs.draw(pipe, job.changed(steps=2, negative_prompt="horse"))
    assert picture.size == (96, 64)
    with pytest.raises(ValueError, match="width must be a multiple of 16, got 100"):
        jobs.draw(pipe, job.changed(height=None, width=100))
    (warning,) = jobs.warnings_of(pipe, job.changed(width=2048))
    assert warning == f"the network generates at most about {side}×{side}, and the image is enlarged to 2048×64"


def test_bench_leaves_out_what_its_network_cannot_do(tmp_path):
    options = bench.Options(model=str(checkpoint("pixart-sigma")), table="3")
    names = [each.name for each in make_plan(options, tmp_path).tables[0].setups if each.rival_of is None]
    assert names == ["baseline", "+ TaylorSeer 2", "+ half the steps guided", "+ int8"]


def test_tune_counts_the_calls_of_a_network_that_reads_a_text_once(sigma):
    costs = Costs(Stacks(sigma), {"prompt": "a cat", "height": 64, "width": 64})
    calls = costs.rehearsal(Settings(steps=3)).calls
    counts = {(call.method, call.rows): count for call, count in calls.items() if call.role == "denoiser"}
    assert counts == {("read_text", 1): 1, ("construct", 2): 3}


def test_shapes_have_as_many_parameters_as_published():
    for name, millions in {"pixart-sigma": 610.9, "pixart-alpha": 611.4}.items():
        shapes = PixArtTransformer2DModel(**SHAPES[name].config("transformer")).published_shapes()
        assert sum(map(np.prod, shapes.values())) / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.heavy
def test_a_shape_is_a_checkpoint_like_any_other(monkeypatch, tmp_path):
    shape = SHAPES["pixart-sigma"]
    vae = {"block_out_channels": [4, 4, 4, 4], "norm_num_groups": 4, "layers_per_block": 1}
    small = shape.changed(
        {
            "transformer": {**TRANSFORMER, "sample_size": 128, "use_additional_conditions": False},
            "text_encoder": {**CONFIG, "vocab_size": 256},
            "vae": {**shape.config("vae"), **vae},
        },
        tiny_vae=TINY_AUTOENCODER,
    )
    monkeypatch.setattr("mindone.diffusers.families.pixart.shapes.SIGMA", small)
    plan = make_plan(bench.Options(shape="pixart-sigma", engine="openvino", table="2"), tmp_path)
    baseline, _ = plan.tables[0].setups
    assert (baseline.steps, baseline.job.scheduler, baseline.model.image_size()) == (20, "dpm++", (1024, 1024))
    assert draw(load(tmp_path / "pixart-sigma"), num_inference_steps=1, height=16, width=16).shape == (1, 16, 16, 3)


# ---- what is refused -------------------------------------------------------------------------------------------------

EMBEDS = np.zeros((1, 4, CHANNELS), np.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 72}, "height must be a multiple of 16, got 72; the nearest are 64 and 80"),
        ({"max_sequence_length": 0}, "max_sequence_length must be a whole number of at least 1, got 0"),
        ({"max_sequence_length": 10**9}, "max_sequence_length=1000000000 exceeds the text encoder's limit"),
        ({"prompt": None, "prompt_embeds": EMBEDS}, "prompt_embeds and prompt_attention_mask go together"),
        (
            {"prompt": None, "prompt_embeds": EMBEDS[..., 1:], "prompt_attention_mask": EMBEDS[..., 0]},
            "prompt_embeds must have the 24 channels that the transformer reads, got 23",
        ),
        ({"use_resolution_binning": "a"}, "use_resolution_binning must be True or False, got 'a'"),
        ({"clean_caption": []}, r"clean_caption must be True or False, got \[\]"),
        ({"use_resolution_binning": True, "height": 10**9, "width": 10**9}, "of memory and this machine has"),
        ({"guidance_scale": "5"}, "guidance_scale must be a finite number or None, got '5'"),
        ({"prompt": None}, "nothing to generate: pass prompt"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(options, message, sigma):
    with pytest.raises(ValueError, match=message) as error:
        draw(sigma, **options)
    assert "\n" not in str(error.value)


def test_sigma_refuses_a_transformer_that_reads_sizes_and_alpha_takes_either(alpha, sigma):
    wrong = PixArtSigmaPipeline(**{**sigma.components, "transformer": alpha.transformer})
    with pytest.raises(ValueError, match="use PixArtAlphaPipeline"):
        draw(wrong)
    either = PixArtAlphaPipeline(**{**alpha.components, "transformer": sigma.transformer})
    assert draw(either, num_inference_steps=1).shape == (1, 64, 96, 3)


def test_what_needs_skip_connections_or_other_noise_is_refused(sigma):
    view = sigma.view()
    view.caches = (DeepCacheConfig(),)
    with pytest.raises(ValueError, match="skip connections, and this one has none"):
        draw(view, num_inference_steps=5)
    with pytest.raises(ValueError, match="PixArtSigmaPipeline takes no IP-Adapters"):
        sigma.load_ip_adapter("anything")
    with pytest.raises(ValueError, match="PixArt"):
        view.scheduler = FlowMatchEulerDiscreteScheduler()


def test_a_single_file_is_refused_in_one_line(tmp_path):
    file = tmp_path / "PixArt-Sigma-XL-2-1024-MS.safetensors"
    save = mindone.diffusers.loading.safetensors.save_file
    save({"blocks.0.attn.qkv.weight": np.zeros((72, 24), np.float32)}, file)
    with pytest.raises(ValueError, match=r"\.safetensors") as error:
        PixArtSigmaPipeline.from_single_file(file)
    assert "\n" not in str(error.value)
