"""int8: the grid that activations are rounded to, the checkpoint, and what is refused."""

import dataclasses
import json
import re
import shutil

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ov_ops

import image_pipelines
from image_pipelines import controlnets, mask, photo
from mindone.diffusers import DiffusionPipeline, DPMSolverMultistepScheduler, Int8Config, UNet2DConditionModel, jobs
from mindone.diffusers.acceleration.int8.quantize import quantize_pipeline, with_zero
from mindone.diffusers.engines.base import is_quantized
from mindone.diffusers.engines.binding import bound
from mindone.diffusers.engines.openvino import constants
from mindone.diffusers.engines.openvino.operators import Operators
from mindone.diffusers.engines.rounding import round_stored_to_int8, round_to_int8
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from tiny_pipelines import checkpoint, images_of, load

PICTURES = {
    "StableDiffusionImg2ImgPipeline": {"image": photo(16, 16)},
    "StableDiffusionInpaintPipeline": {"image": photo(16, 16), "mask_image": mask(16, 16)},
    "StableDiffusionControlNetPipeline": {"image": photo(16, 16)},
}
CONFIG = Int8Config(prompts=("a red cat",), num_inference_steps=2)


@pytest.fixture(scope="module")
def quantized():
    return load(checkpoint("sd1"), quantization_config=CONFIG)


@pytest.fixture(scope="module")
def saved(quantized, tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    quantized.save_pretrained(folder)
    return folder


def test_activations_are_rounded_to_256_levels_of_which_one_is_zero():
    low, high = with_zero(-0.3, 2.0)
    x = np.linspace(-1, 3, 4001, dtype=np.float32)
    node = ov_ops.parameter([len(x)], ov.Type.f32)
    graph = ov.Model([Operators("f32").rounded(node, (low, high)).output(0)], [node])
    rounded = ov.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]

    step = (high - low) / 255
    levels = np.rint((np.clip(x, low, high) - low) / step)
    expected = low + levels * step
    # Half-way points may go either way: float32 has them a rounding error off.
    away_from_halves = np.abs((np.clip(x, low, high) - low) / step % 1 - 0.5) > 1e-3
    np.testing.assert_allclose(rounded[away_from_halves], expected[away_from_halves], atol=1e-5)
    assert np.abs(rounded[np.abs(x) < step / 4]).max() < 1e-6
    assert len(np.unique(levels)) == 256


def test_weights_are_off_by_half_a_step_of_their_row_at_most():
    weight = np.random.default_rng(0).standard_normal((8, 5, 3, 3), np.float32)
    weight *= np.logspace(-3, 3, 8, dtype=np.float32)[:, None, None, None]
    integers, scale = round_to_int8(weight)
    error = np.abs(integers * scale[:, None, None, None] - weight).max(axis=(1, 2, 3))
    assert (error <= 0.501 * scale).all()
    assert (np.abs(integers).max(axis=(1, 2, 3)) == 127).all()


def test_a_stored_weight_rounds_in_blocks_on_threads_to_the_same_integers():
    weight = np.random.default_rng(0).standard_normal((1100, 1024), np.float32).astype(np.float16)
    for values, expected in zip(round_stored_to_int8(StoredTensor.from_numpy(weight), "w"), round_to_int8(weight)):
        np.testing.assert_array_equal(values, expected)
    weight[1000, 3] = np.nan
    with pytest.raises(ValueError, match=r"^FILE: the weight NAME has values that are NaN"):
        round_stored_to_int8(StoredTensor.from_numpy(weight), "FILE: the weight NAME")


def test_a_row_of_zeros_stays_zero():
    integers, scale = round_to_int8(np.zeros((2, 3), np.float32))
    assert not integers.any() and (scale > 0).all()


@pytest.mark.parametrize(("exact", "largest"), [(True, 127), (False, 64)])
def test_integers_leave_room_for_a_sum_where_the_device_has_16_bits_for_it(exact, largest, monkeypatch):
    monkeypatch.setattr(constants, "multiplies_bytes_exactly", lambda: exact)
    integers, scale = round_to_int8(np.random.default_rng(0).standard_normal((8, 5), np.float32))
    keeper = constants.Constants(float32=True)
    node = keeper.of_multiplied_int8(integers, scale)
    packed = node.input_value(0).get_node().input_value(0).get_node().data
    assert packed.dtype == np.int8 and np.abs(packed).max() == largest
    meant = packed * node.input_value(1).get_node().data
    assert np.abs(meant - integers * scale[:, None]).max() <= (0.0 if exact else scale.max())


def test_int8_latents_stay_near_the_float_ones(quantized):
    # Without guidance, which would multiply the difference: 1.4 % of the latents on this checkpoint.
    options = {"output_type": "latent", "guidance_scale": 1.0}
    latents = images_of(load(checkpoint("sd1")), **options)
    difference = images_of(quantized, **options) - latents
    assert 0 < difference.std() < 0.03 * latents.std()


def test_an_int8_checkpoint_loads_and_draws_the_same_images(quantized, saved):
    np.testing.assert_array_equal(images_of(load(saved)), images_of(quantized))


def test_an_int8_checkpoint_keeps_the_first_layer_and_rounds_the_second(saved):
    tensors = SafetensorsFile(saved / "unet" / "diffusion_pytorch_model.safetensors")
    assert tensors["conv_in.weight"].dtype == "F32"
    assert tensors["down_blocks.0.resnets.0.conv1.weight"].dtype == "I8"
    assert tensors["down_blocks.0.resnets.0.conv1.weight_scale"].shape == (8,)
    config = json.loads((saved / "unet" / "config.json").read_text())["quantization_config"]
    assert config["quant_method"] == "mindone_int8" and config["prompts"] == ["a red cat"]


def test_results_of_queries_and_keys_of_self_attention_are_rounded_to_signed_integers(saved):
    tensors = SafetensorsFile(saved / "unet" / "diffusion_pytorch_model.safetensors")
    attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    for name in ("to_q", "to_k"):
        low, high = (float(tensors[f"{attention}.{name}.output_{end}"].numpy()) for end in ("low", "high"))
        assert low < 0 < high == pytest.approx(-low * 127 / 128)  # so zero is one of the 256
    assert f"{attention}.to_v.output_low" not in tensors


def test_the_weights_of_text_encoder_and_autoencoder_are_int8_and_their_products_are_not(saved):
    for role, name in (
        ("text_encoder/model", "text_model.encoder.layers.0.mlp.fc1"),
        ("vae/diffusion_pytorch_model", "decoder.mid_block.resnets.0.conv1"),
    ):
        tensors = SafetensorsFile(saved / f"{role}.safetensors")
        assert tensors[f"{name}.weight"].dtype == "I8" and f"{name}.input_low" not in tensors


@pytest.mark.parametrize("components", [("text_encoders",), ("text_encoder_2",)])
def test_text_encoders_alone_have_their_weights_in_int8(components):
    """Nothing is drawn for that: prompts that no tokenizer could read are never read."""
    pipe = load(checkpoint("sdxl"))
    pipe.tokenizer = pipe.tokenizer_2 = None
    quantize_pipeline(pipe, Int8Config(components_to_quantize=components))
    both = [pipe.text_encoder, pipe.text_encoder_2]
    name = "text_model.encoder.layers.0.mlp.fc1.weight"
    expected = ["I8" if components == ("text_encoders",) else "F32", "I8"]
    assert ["I8" if is_quantized(bound(n.published_parameters()[name])) else "F32" for n in both] == expected
    assert not any(is_quantized(bound(p)) for n in (pipe.unet, pipe.vae) for p in n.published_parameters().values())


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_text_encoders_weight_that_is_no_number_is_named_with_its_file(tmp_path):
    folder = shutil.copytree(checkpoint("bk_sdm"), tmp_path / "model")
    file = folder / "text_encoder" / "model.safetensors"
    tensors, name = dict(SafetensorsFile(file)), "text_model.encoder.layers.0.mlp.fc1.weight"
    values = tensors[name].numpy().copy()
    values[0, 0] = np.nan
    save_file({**tensors, name: StoredTensor.from_numpy(values)}, file)
    message = rf"^{re.escape(str(file))}: the weight {name} has values that are NaN"
    with pytest.raises(ValueError, match=message):
        quantize_pipeline(load(folder), CONFIG)


def test_a_component_that_another_family_has_is_refused():
    with pytest.raises(ValueError, match="a Stable Diffusion pipeline quantises no transformer, but unet, "):
        quantize_pipeline(load(checkpoint("bk_sdm")), Int8Config(components_to_quantize=("transformer",)))


@pytest.mark.heavy
@pytest.mark.parametrize("components", [("vae",), ("unet", "vae")])
def test_an_autoencoder_that_decodes_in_int8_draws_the_same_images_from_its_checkpoint(components, tmp_path):
    config = dataclasses.replace(CONFIG, components_to_quantize=components)
    pipe = load(checkpoint("bk_sdm"), quantization_config=config)
    pipe.save_pretrained(tmp_path)
    tensors = SafetensorsFile(tmp_path / "vae" / "diffusion_pytorch_model.safetensors")
    assert "decoder.mid_block.resnets.0.conv1.input_low" in tensors and tensors["quant_conv.weight"].dtype == "F32"
    unet = SafetensorsFile(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert unet["down_blocks.0.resnets.0.conv1.weight"].dtype == ("I8" if "unet" in components else "F32")
    np.testing.assert_array_equal(images_of(load(tmp_path)), images_of(pipe))


def test_mindspore_refuses_an_autoencoder_that_decodes_in_int8(tmp_path):
    config = dataclasses.replace(CONFIG, components_to_quantize=("vae",))
    load(checkpoint("bk_sdm"), quantization_config=config).save_pretrained(tmp_path)
    pipe = DiffusionPipeline.from_pretrained(tmp_path, engine="mindspore")
    with pytest.raises(ValueError, match="int8 computes on the OpenVINO engine"):
        pipe("a red cat", num_inference_steps=2)


def test_a_lost_scale_is_named(saved, tmp_path):
    (tmp_path / "config.json").write_bytes((saved / "unet" / "config.json").read_bytes())
    tensors = dict(SafetensorsFile(saved / "unet" / "diffusion_pytorch_model.safetensors"))
    del tensors["up_blocks.0.upsamplers.0.conv.input_low"]
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"upsamplers\.0\.conv\.weight is int8, but .*input_low is missing"):
        UNet2DConditionModel.from_pretrained(tmp_path)


def test_another_way_of_quantising_is_named(saved, tmp_path):
    config = json.loads((saved / "unet" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = "diffusion_pytorch_model.safetensors"
    (tmp_path / weights).write_bytes((saved / "unet" / weights).read_bytes())
    with pytest.raises(ValueError, match="cannot read quant_method 'bitsandbytes'"):
        UNet2DConditionModel.from_pretrained(tmp_path)


def test_layers_can_be_kept():
    config = dataclasses.replace(CONFIG, modules_to_not_convert=("ff.net", "resnets"))
    pipe = load(checkpoint("bk_sdm"), quantization_config=config)
    assert pipe.unet.stored("down_blocks.0.resnets.0.conv1.weight").dtype == "F32"


@pytest.mark.heavy
def test_a_network_that_reads_its_guidance_scale_is_quantised_as_well():
    assert np.isfinite(images_of(load(checkpoint("lcm"), quantization_config=CONFIG))).all()


@pytest.mark.heavy
@pytest.mark.parametrize("name", PICTURES)
def test_pipelines_that_start_from_pictures_are_quantised_as_well(name):
    nets = {"controlnet": controlnets("bk_sdm")} if "ControlNet" in name else {}
    pipe = image_pipelines.load(name, checkpoint("bk_sdm"), quantization_config=CONFIG, **nets)
    assert np.isfinite(images_of(pipe, **PICTURES[name])).all()


def test_mindspore_refuses_to_quantise():
    with pytest.raises(ValueError, match=r'int8 computes on the OpenVINO engine.*pass engine="openvino"'):
        DiffusionPipeline.from_pretrained(checkpoint("bk_sdm"), engine="mindspore", quantization_config=CONFIG)


def test_mindspore_refuses_an_int8_checkpoint(saved):
    pipe = DiffusionPipeline.from_pretrained(saved, engine="mindspore")
    with pytest.raises(ValueError, match="int8 computes on the OpenVINO engine"):
        pipe("a red cat", num_inference_steps=2)


def test_quantising_twice_is_refused(saved):
    with pytest.raises(ValueError, match="in int8 already"):
        load(saved, quantization_config=CONFIG)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompts": ()},
        {"prompts": "a cat"},
        {"num_inference_steps": 0},
        {"components_to_quantize": ("tokenizer",)},
        {"components_to_quantize": "vae"},
    ],
)
def test_impossible_configs_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Int8Config(**wrong)


@pytest.mark.heavy
def test_icons_in_int8_stay_within_30_db_of_float32():
    def draw(**options):
        pipe = load("icons", **options)
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
        return images_of(pipe, prompt="a red apple", num_inference_steps=10)

    error = draw(mindspore_dtype="float16", quantization_config=Int8Config()) - draw(mindspore_dtype="float32")
    assert -10 * np.log10((error**2).mean()) >= 30


@pytest.mark.heavy
@pytest.mark.parametrize(("tiny_vae", "least"), [(None, 42), ("icons-tiny-vae", 40)])
def test_icons_decoded_in_int8_stay_near_those_decoded_in_float32(tiny_vae, least):
    key = jobs.PipelineKey(dtype="float32", tiny_vae=tiny_vae)
    plain, rounded = (jobs.load(each) for each in (key, key.changed(int8_vae=True)))
    error = images_of(rounded, num_inference_steps=4) - images_of(plain, num_inference_steps=4)
    assert -10 * np.log10((error**2).mean()) >= least
