"""Weights in 4 and 8 bits by group: the rounding, the files, what computes with them, and what is refused."""

import functools
import json

import numpy as np
import pytest

import tiny_flux
import tiny_pixart
import tiny_sana
import tiny_sd3
from lora_cases import kohya, layers
from mindone.diffusers import (
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    GuidanceCacheConfig,
    Int8Config,
    UNet2DConditionModel,
    WeightOnlyConfig,
)
from mindone.diffusers.acceleration.weights import quantize_weights
from mindone.diffusers.acceleration.weights.choice import Rounding, by_group
from mindone.diffusers.engines import group_rounding
from mindone.diffusers.engines.base import is_grouped, is_quantized
from mindone.diffusers.engines.binding import InMemory, bound
from mindone.diffusers.engines.group_rounding import round_to_groups
from mindone.diffusers.loading.groups import GroupedTensor
from mindone.diffusers.loading.safetensors import SafetensorsFile, save_file
from mindone.diffusers.models.text_model import TextModel
from tiny_pipelines import checkpoint, images_of, load

FOUR = WeightOnlyConfig(group_size=8)
FAMILIES = {
    "sdxl": lambda: checkpoint("sdxl"),
    "latent consistency": lambda: checkpoint("lcm"),
    "sana": lambda: tiny_sana.checkpoint("sana"),
    "pixart": lambda: tiny_pixart.checkpoint("pixart-sigma"),
    "stable diffusion 3": tiny_sd3.checkpoint,
    "flux": tiny_flux.checkpoint,
}
QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
WEIGHTS = "diffusion_pytorch_model.safetensors"


def normal(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def restored(weight, size, bits, symmetric=False):
    packed, scale, zero_point = round_to_groups(InMemory(weight), "the weight", size, bits, symmetric)
    return GroupedTensor(weight.shape, bits, zero_point is None, packed, scale, zero_point).numpy()


def decibels(approximate, exact):
    return -10 * np.log10(((approximate - exact) ** 2).mean() / (exact**2).mean())


# ---- rounding --------------------------------------------------------------------------------------------------------


def test_8_bits_are_off_by_half_a_step_of_their_group_at_most():
    weight = normal(6, 96) * np.logspace(-6, 3, 6, dtype=np.float32)[:, None]
    off = np.abs(restored(weight, 32, 8) - weight).reshape(6, 3, 32)
    steps = np.abs(weight).reshape(6, 3, 32).max(axis=2, keepdims=True) / 127
    assert (off <= 0.501 * steps).all()


@pytest.mark.parametrize(("symmetric", "least"), [(False, 21.3), (True, 20.7)])
def test_4_bits_of_a_normal_distribution(symmetric, least):
    """In equal steps from the least to the greatest value of each group it is 20.9 dB, without zero point 19.4."""
    weight = normal(64, 512)
    assert decibels(restored(weight, 64, 4, symmetric), weight) >= least


def test_zero_points_hold_groups_that_lie_to_one_side_of_zero():
    weight = np.abs(normal(16, 64))
    gained = decibels(restored(weight, 32, 4), weight) - decibels(restored(weight, 32, 4, symmetric=True), weight)
    assert gained >= 5


@pytest.mark.parametrize("symmetric", [False, True])
def test_numbers_that_have_a_level_each_are_exact(symmetric):
    levels = np.random.default_rng(0).permuted(np.tile(np.arange(16), (5, 2)), axis=1)
    weight = ((levels - 8) * 0.25).astype(np.float32)
    np.testing.assert_allclose(restored(weight, 32, 4, symmetric), weight, atol=2e-3)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_groups_of_zeros_stay_zeros(bits, symmetric):
    weight = normal(2, 16)
    weight[0, :8] = 0
    assert not restored(weight, 8, bits, symmetric)[0, :8].any()


def test_blocks_change_nothing(monkeypatch):
    weight = normal(40, 64)
    whole = restored(weight, 16, 4)
    monkeypatch.setattr(group_rounding, "_BLOCK", 200)
    monkeypatch.setattr(group_rounding, "_AT_ONCE", 48)
    np.testing.assert_array_equal(restored(weight, 16, 4), whole)


@pytest.mark.parametrize(
    ("inputs", "bits", "size", "chosen"),
    [
        (1152, 4, 64, Rounding(4, 64)),
        (72, 4, 64, Rounding(4, 36)),
        (320, 4, 128, Rounding(4, 80)),
        (20, 4, 64, Rounding(4, 20)),
        (22, 8, 16, Rounding(8)),
        (12, 4, 64, Rounding(8)),
        (12, 4, 6, Rounding(4, 6)),
        (35, 4, 8, Rounding(8)),
    ],
)
def test_rows_that_a_group_does_not_divide(inputs, bits, size, chosen):
    assert by_group(inputs, bits, size) == chosen


# ---- checkpoints -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quantised():
    return load(checkpoint("bk_sdm"), quantization_config=FOUR)


@pytest.fixture(scope="module")
def saved(quantised, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int4")
    quantised.save_pretrained(folder)
    return folder


def test_a_checkpoint_draws_what_was_drawn_before_it_was_saved(quantised, saved):
    again = load(saved)
    assert is_grouped(bound(again.unet.published_parameters()[f"{QUERY}.weight"]))
    np.testing.assert_array_equal(images_of(again), images_of(quantised))


def test_rounding_while_writing_gives_the_same_files(saved, tmp_path):
    pipe = load(checkpoint("bk_sdm"))
    quantize_weights(pipe, FOUR, at_once=False)
    pipe.save_pretrained(tmp_path)
    for part in (f"unet/{WEIGHTS}", "unet/config.json", "text_encoder/model.safetensors"):
        assert (tmp_path / part).read_bytes() == (saved / part).read_bytes(), part


def test_what_is_sensitive_has_8_bits_and_the_autoencoder_is_as_it_was(saved):
    tensors = SafetensorsFile(saved / "unet" / WEIGHTS)
    assert tensors[f"{QUERY}.weight_packed"].dtype == "U8"
    assert tensors[f"{QUERY}.weight_scale"].dtype == tensors[f"{QUERY}.weight_zero_point"].dtype == "F16"
    assert tensors["time_embedding.linear_1.weight_packed"].dtype == "I8"
    assert tensors["down_blocks.0.resnets.0.conv1.weight"].dtype == "I8"
    assert tensors["conv_in.weight"].dtype == "F32" == tensors[f"{QUERY}.weight".replace("attn1.to_q", "norm1")].dtype
    text = SafetensorsFile(saved / "text_encoder" / "model.safetensors")
    assert text["text_model.encoder.layers.0.mlp.fc1.weight_packed"].dtype == "I8"
    assert text["text_model.embeddings.token_embedding.weight"].dtype == "I8"
    assert {tensor.dtype for tensor in SafetensorsFile(saved / "vae" / WEIGHTS).values()} == {"F32"}
    entry = json.loads((saved / "unet" / "config.json").read_text())["quantization_config"]
    assert (entry["bits"], entry["group_size"], entry["sym"]) == (4, 8, False)
    assert entry["modules_to_not_convert"] == ["conv_in", "conv_out"]
    assert "time_embedding.linear_1" in entry["modules_in_8bit"] and QUERY not in entry["modules_in_8bit"]


@pytest.mark.heavy
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_rounded(family):
    folder = FAMILIES[family]()
    plain, pipe = load(folder), load(folder, quantization_config=FOUR)
    for name in (pipe.family.denoiser, *pipe.family.text_encoders):
        kinds = [bound(each) for each in pipe.components[name].published_parameters().values()]
        assert any(map(is_grouped, kinds)), name
        is_language_model = isinstance(pipe.components[name], TextModel)
        four = [each for each in kinds if is_grouped(each) and each.bits == 4]
        assert not is_language_model or (four and all(each.zero_point is None for each in four))
    assert 12 <= decibels(images_of(pipe), images_of(plain)) < 60


def test_mindspore_widens_and_says_so(quantised, saved, caplog):
    pipe = DiffusionPipeline.from_pretrained(saved, engine="mindspore")
    np.testing.assert_allclose(images_of(pipe), images_of(quantised), atol=2e-3)
    assert "no kernels for weights in 4 or 8 bits" in caplog.text


def test_half_precision_keeps_the_rest_in_it(saved, quantised):
    half = load(saved, mindspore_dtype="bfloat16")
    assert decibels(images_of(half), images_of(quantised)) >= 30


def test_a_lora_goes_beside_compressed_weights(saved, quantised):
    pipe, plain = load(saved), images_of(quantised)
    modules = {"unet": layers("bk_sdm", "unet", ("attn1.to_q", "ff.net", "proj_in", "conv1"))}
    pipe.load_lora_weights(kohya("bk_sdm", modules), adapter_name="one")
    changed = images_of(pipe)
    assert decibels(changed, plain) < 40
    assert is_grouped(bound(pipe.unet.published_parameters()[f"{QUERY}.weight"]))
    pipe.fuse_lora()
    assert decibels(images_of(pipe), changed) >= 60
    pipe.unfuse_lora()
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(images_of(pipe), plain)


@pytest.mark.heavy
def test_caches_and_offloading_go_with_it(saved, quantised):
    pipe, caches = load(saved), [GuidanceCacheConfig(2, 1, 1)]
    for each in (pipe, quantised):
        each.unet.enable_cache(caches[0])
    pipe.enable_model_cpu_offload()
    np.testing.assert_array_equal(images_of(pipe, num_inference_steps=6), images_of(quantised, num_inference_steps=6))
    quantised.unet.disable_cache()


@pytest.mark.heavy
def test_products_in_int8_are_made_of_rounded_weights_too(saved, quantised):
    pipe = load(saved, quantization_config=Int8Config(("a red cat",), 2))
    assert is_quantized(bound(pipe.unet.published_parameters()[f"{QUERY}.weight"]))
    assert decibels(images_of(pipe), images_of(quantised)) >= 20


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"weights_dtype": "int3"},
        {"group_size": 3},
        {"group_size": 8192},
        {"group_size": 8.0},
        {"modules_to_not_convert": "ff.net"},
        {"components_to_quantize": ("tokenizer",)},
    ],
)
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be .*got"):
        WeightOnlyConfig(**wrong)


def test_a_group_that_divides_no_row_is_refused():
    with pytest.raises(ValueError, match=r"a group of 62 divides the rows of no layer of UNet2DConditionModel; .*8"):
        load(checkpoint("sd1"), quantization_config=WeightOnlyConfig(group_size=62))


def test_rounding_twice_is_refused(saved):
    with pytest.raises(ValueError, match="unet is quantised already"):
        load(saved, quantization_config=FOUR)


@pytest.mark.parametrize("at_once", [False, True])
def test_a_weight_that_is_no_number_is_named(at_once, tmp_path):
    pipe = load(checkpoint("bk_sdm"))
    weight = np.array(pipe.unet.array(f"{QUERY}.weight"))
    weight[3, 5] = np.nan
    pipe.unet.published_parameters()[f"{QUERY}.weight"].stored = InMemory(weight)
    with pytest.raises(ValueError, match=rf"the weight {QUERY}\.weight has values that are NaN"):
        quantize_weights(pipe, FOUR, at_once)
        pipe.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ({"weight_scale": None}, "weight_packed but no .*weight_scale"),
        ({"weight_scale": np.zeros((4, 1), np.float16)}, "weight does not fit its network: scale must be"),
        ({"weight_scale": "infinite"}, "the scales of .* are NaN or infinite"),
        ({"weight_packed": np.zeros((2, 3, 4), np.uint8)}, "weight does not fit its network"),
        ({"weight_packed": np.zeros((2, 3, 4), np.float16)}, "integers must be I8 or U8, got F16"),
        ({"weight": np.zeros((2, 2), np.float16)}, "or of one that has another"),
    ],
)
def test_a_broken_weight_is_named(broken, complaint, saved, tmp_path):
    (tmp_path / "config.json").write_bytes((saved / "unet" / "config.json").read_bytes())
    tensors = dict(SafetensorsFile(saved / "unet" / WEIGHTS))
    for name, values in broken.items():
        if values is None:
            del tensors[f"{QUERY}.{name}"]
        elif isinstance(values, str):
            tensors[f"{QUERY}.{name}"] = tensors[f"{QUERY}.{name}"].numpy() + np.float16(np.inf)
        else:
            tensors[f"{QUERY}.{name}"] = values
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=complaint) as caught:
        UNet2DConditionModel.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


# ---- how far pictures move -------------------------------------------------------------------------------------------


@functools.cache
def icons(config=None):
    pipe = load("icons", quantization_config=config)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    prompts, generators = ["a red apple", "a rocket on a blue background"], [np.random.default_rng(i) for i in range(2)]
    return images_of(pipe, prompt=prompts, generator=generators, num_inference_steps=10)


@pytest.mark.heavy
@pytest.mark.parametrize(("kind", "least"), [("int4", 25), ("int8", 40)])
def test_icons_stay_near_those_of_float32(kind, least):
    off = icons(WeightOnlyConfig(kind, components_to_quantize=("denoiser",))) - icons()
    assert -10 * np.log10((off**2).mean()) >= least
