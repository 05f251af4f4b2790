"""Each network gives the reference's numbers, whoever executes it."""

import errno
import functools
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

import checkpoints
from mindone.diffusers import AutoencoderDC, AutoencoderKL, Int8Config, UNet2DConditionModel, engines
from mindone.diffusers.acceleration.int8.quantize import quantize
from mindone.diffusers.engines.openvino import compiling, group_norms, half_precision, winograd
from mindone.diffusers.engines.openvino.observing import ObservingEngine
from mindone.diffusers.families.sana.family import SANA
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.weights import Weights
from mindone.diffusers.models import layers
from network_cases import CASES, Case

GOLDEN = np.load(Path(__file__).parent / "golden" / "networks.npz")
FLOAT32 = 2e-4  # of the output's scale; sums in another order differ by about 1e-5


def make(case: Case, dtype: str = "float32"):
    network = case.cls(**case.config)
    network.load(Weights.from_arrays(checkpoints.random_weights(checkpoints.shapes_of(network))), dtype)
    return network


@functools.cache
def both(name: str):
    """The network of a case, for both engines in turn."""
    return make(CASES[name])


def run(engine, case: Case, dtype: str = "float32", network=None) -> list[np.ndarray]:
    network = network or make(case, dtype)
    outputs = engine.run(network, method=case.method, **case.inputs, **case.constants)
    return [engine.numpy(x) for x in (outputs if isinstance(outputs, tuple) else (outputs,))]


def error(ours: np.ndarray, reference: np.ndarray) -> float:
    """The largest difference, in units of the reference's largest value."""
    assert ours.shape == reference.shape
    return float(np.abs(ours - reference).max() / np.abs(reference).max())


def check(outputs: list[np.ndarray], name: str, tolerance: float) -> None:
    for i, output in enumerate(outputs):
        assert error(output, GOLDEN[f"{name}.{i}"]) <= tolerance


@pytest.fixture
def graph_mode():
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=ms.PYNATIVE_MODE)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_network_matches_reference(engine, name):
    check(run(engines.get(engine), CASES[name], network=both(name)), name, FLOAT32)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", ["unet_sdxl", "sd35_skipping", "text_projection", "vision", "tiny_decode", "autoencoder_encode"]
)
def test_network_matches_reference_in_graph_mode(name, graph_mode):
    # The first row alone: convolutions are laid out row by row, and the more operations, the longer it compiles.
    case = CASES[name]
    first_row = replace(case, inputs={key: values[:1] for key, values in case.inputs.items()})
    for i, output in enumerate(run(engines.get("mindspore"), first_row)):
        assert error(output, GOLDEN[f"{name}.{i}"][:1]) <= FLOAT32


@pytest.mark.parametrize("name", CASES)
def test_half_precision_stays_near_reference(name):
    # bfloat16 keeps 8 bits: 2⁻⁸ a rounding, and some tens of layers of roundings that partly cancel. With these weights
    # the reference itself, in bfloat16, is off by 0.02 to 0.03, and in the one with a guidance embedding by 0.08.
    tolerance = 0.09 if name == "unet_lcm" else 0.04
    for i, output in enumerate(run(engines.get("openvino"), CASES[name], "float16")):
        reference = GOLDEN[f"{name}.{i}"]
        assert np.linalg.norm(output - reference) / np.linalg.norm(reference) <= tolerance


@pytest.fixture
def wherever_possible(monkeypatch):
    """Winograd's convolutions in these networks too, which are too narrow for them to pay. Lists those recorded."""
    recorded, convolution = [], winograd.convolution
    monkeypatch.setattr(winograd, "WORTHWHILE", 0)
    monkeypatch.setattr(winograd, "MEASURED", True)
    monkeypatch.setattr(winograd, "convolution", lambda *inputs: recorded.append(inputs) or convolution(*inputs))
    return recorded


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["unet_bk_sdm", "autoencoder_encode"])
def test_convolutions_with_fewer_multiplications_give_the_same(name, wherever_possible):
    check(run(engines.get("openvino"), CASES[name]), name, FLOAT32)
    assert len(wherever_possible) >= 2


@pytest.mark.parametrize("name", ["unet_bk_sdm", "autoencoder_decode"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_group_norms_in_the_layout_of_convolutions_give_the_same(name, dtype, monkeypatch):
    recorded, group_norm = [], group_norms.group_norm
    monkeypatch.setattr(group_norms, "WORTHWHILE", 0)
    monkeypatch.setattr(group_norms, "group_norm", lambda *inputs: recorded.append(inputs) or group_norm(*inputs))
    for i, output in enumerate(run(engines.get("openvino"), CASES[name], dtype)):
        assert error(output, GOLDEN[f"{name}.{i}"]) <= (FLOAT32 if dtype == "float32" else 0.04)
    assert len(recorded) >= 2


@pytest.mark.parametrize(
    "capabilities, sets, chosen",
    [
        (["FP32", "BF16"], ("avx512_bf16",), "bf16"),
        (["FP32", "FP16"], ("asimdhp",), "f16"),
        (["FP32", "FP16", "BF16"], ("avx512_fp16", "amx_bf16"), "bf16"),
        (["FP32", "FP16", "BF16"], ("avx512_fp16", "amx_bf16", "amx_fp16"), "f16"),
        (["FP32"], ("avx2",), "f32"),
    ],
)
def test_half_precision_is_what_the_fastest_units_of_the_cpu_multiply(capabilities, sets, chosen, monkeypatch):
    core = SimpleNamespace(get_property=lambda *_: capabilities)
    monkeypatch.setattr(compiling, "_core", lambda: core)
    monkeypatch.setattr(compiling, "instruction_sets", lambda: sets)
    assert half_precision.__wrapped__() == chosen


def test_networks_that_compile_side_by_side_report_missing_half_precision_once(monkeypatch):
    said = []
    core = SimpleNamespace(get_property=lambda *_: time.sleep(0.05) or ["FP32"])
    monkeypatch.setattr(compiling, "_core", lambda: core)
    monkeypatch.setattr(compiling, "half_precision", functools.cache(half_precision.__wrapped__))
    monkeypatch.setattr(compiling.logger, "warning", said.append)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(compiling.precision_of, ["float16", "bfloat16", "float16"])) == ["f32"] * 3
    assert len(said) == 1


@pytest.mark.skipif(half_precision() == "f32", reason="this CPU has no 16-bit arithmetic")
def test_half_precision_multiplies_in_full(wherever_possible):
    run(engines.get("openvino"), CASES["unet_bk_sdm"], "float16")
    assert not wherever_possible


def test_computed_weights_stay_in_memory_where_no_file_can_be_written(wherever_possible, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    check(run(engines.get("openvino"), CASES["unet_bk_sdm"]), "unet_bk_sdm", FLOAT32)


def test_openvino_engine_ignores_graph_mode(graph_mode):
    check(run(engines.get("openvino"), CASES["tiny_decode"]), "tiny_decode", FLOAT32)
    assert ms.get_context("mode") == ms.GRAPH_MODE


def test_calling_a_network_with_tensors_runs_it():
    case = CASES["unet_sd1"]
    output = make(case)(*(ms.Tensor(x) for x in case.inputs.values())).sample
    check([output.asnumpy()], "unet_sd1", FLOAT32)


def test_same_shapes_compile_once():
    engine, case = engines.get("openvino"), CASES["unet_sd1"]
    network = make(case)
    for _ in range(2):
        engine.run(network, **case.inputs)
    assert len(network.graphs) == 1
    engine.run(network, **CASES["unet_odd_size"].inputs)
    assert len(network.graphs) == 2


def test_parameters_share_the_operator_that_reads_their_values():
    network = make(CASES["tiny_decode"])
    readers = {id(parameter.load) for parameter in network.get_parameters()}
    assert len(readers) == 1 and id(ms.Parameter(ms.Tensor(1.0)).load) not in readers
    engines.get("mindspore").run(network, method="decode_latents", **CASES["tiny_decode"].inputs)
    parameter = next(network.get_parameters())
    np.testing.assert_array_equal(parameter.value().asnumpy(), parameter.asnumpy())


def test_new_weights_replace_compiled_ones():
    engine, case = engines.get("openvino"), CASES["tiny_decode"]
    network = make(case)
    before = engine.run(network, method=case.method, **case.inputs)
    arrays = checkpoints.random_weights(checkpoints.shapes_of(network))
    network.load(Weights.from_arrays({name: -0.5 * array for name, array in arrays.items()}))
    after = engine.run(network, method=case.method, **case.inputs)
    assert error(after, before) > 0.1


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_timestep_keeps_its_precision_in_half_precision(engine):
    # In bfloat16 999 and 1000 are the same number.
    case = CASES["unet_sd1"]
    network, engine = make(case, "float16"), engines.get(engine)
    late, later = (
        engine.numpy(engine.run(network, **{**case.inputs, "timestep": np.full(2, t, np.float32)})) for t in (999, 1000)
    )
    assert error(later, late) > 1e-3


@pytest.mark.parametrize("name", ["unet_bk_sdm", pytest.param("unet_sdxl", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_latents_that_two_texts_share_are_given_once(engine, name):
    engine, case = engines.get(engine), CASES[name]
    network, twice = make(case), dict(case.inputs)
    twice["sample"] = np.concatenate([twice["sample"][:1]] * 2)
    twice["timestep"] = np.repeat(twice["timestep"][:1], 2)
    once = {**twice, "sample": twice["sample"][:1], "timestep": twice["timestep"][:1]}
    expected, given = (engine.numpy(engine.run(network, **inputs)) for inputs in (twice, once))
    assert error(given, expected) < 1e-5


def test_slicing_changes_nothing():
    engine, case = engines.get("openvino"), CASES["autoencoder_decode"]
    network = make(case)
    whole = network.decode_with(engine, case.inputs["latents"])
    network.enable_slicing()
    assert error(network.decode_with(engine, case.inputs["latents"]), whole) < 1e-5


@pytest.mark.heavy
def test_tiling_keeps_the_picture():
    # Attention and normalisations see a tile instead of the image: with random weights the picture is near, not equal.
    engine = engines.get("openvino")
    network = make(Case(AutoencoderKL, checkpoints.AUTOENCODER, {}))
    latents = np.random.Generator(np.random.PCG64(9)).standard_normal((1, 4, 9, 13)).astype(np.float32)
    whole = network.decode_with(engine, latents)
    network.enable_tiling()
    tiled = network.decode_with(engine, latents)
    assert tiled.shape == whole.shape == (1, 3, 72, 104)
    assert np.corrcoef(tiled.ravel(), whole.ravel())[0, 1] > 0.7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"decoder_norm_types": "layer_norm"}, "decoder_norm_types must be 'rms_norm' or 'batch_norm'"),
        ({"decoder_layers_per_block": [1, 1]}, "decoder_layers_per_block must have 3 entries as encoder_block_out"),
        ({"encoder_layers_per_block": [1, 0, 1]}, "encoder_layers_per_block may be 0 only at the first"),
        ({"decoder_qkv_multiscales": [[], [], [4]]}, "decoder_qkv_multiscales must be odd, got 4"),
        ({"attention_head_dim": 3}, "attention_head_dim must divide encoder_block_out_channels, got 3 and 8"),
        ({"latent_channels": 6}, "latent_channels must divide encoder_block_out_channels, got 6 and 16"),
        ({"decoder_block_out_channels": [8, 40, 16]}, "must divide four times the one before it, got 8 and 40"),
    ],
)
def test_config_of_a_deep_autoencoder_that_cannot_be_honoured_is_refused(config, message):
    with pytest.raises(ValueError, match=f"^AutoencoderDC: .*{message}"):
        AutoencoderDC(**{**checkpoints.DEEP_AUTOENCODERS["sana"], **config})


def test_deep_autoencoder_refuses_sizes_and_tiles_between_latents():
    vae = make(CASES["deep_sana_encode"])
    with pytest.raises(ValueError, match=r"^images must have sides that are multiples of 4, got 30×32$"):
        vae.encode(np.zeros((1, 3, 30, 32), np.float32))
    with pytest.raises(ValueError, match=r"^tile_sample_min_width must be a multiple of 4, got 510$"):
        vae.enable_tiling(tile_sample_min_width=510)
    with pytest.raises(ValueError, match=r"^tile_sample_stride_height must be at most .*, got 448 and 256$"):
        vae.enable_tiling(tile_sample_min_height=256)
    assert not vae.use_tiling


def test_a_deep_decoder_takes_weights_apart_and_never_what_they_make():
    case, recorded = CASES["deep_sana_decode"], set()
    network = make(case)
    network.passes.append(lambda graph, _: recorded.update(node.get_type_name() for node in graph.get_ops()))
    engines.get("openvino").run(network, method=case.method, **case.inputs)
    assert not recorded & {"Transpose", "Split", "VariadicSplit", "Slice", "StridedSlice"}


def test_a_deep_decoder_in_int8_stays_near_the_reference():
    # Errors of four products add up, each of 0.005 to 0.03 with weights of 7 bits; measured 0.032 (AVX2).
    case = CASES["deep_sana_decode"]
    network = make(case)
    observing = ObservingEngine({"vae": network}, {"vae": case.method}, lambda name: False)
    observing.run(network, method=case.method, **case.inputs)
    quantize(network, observing.ranges["vae"], Int8Config(), SANA.int8)
    output = engines.get("openvino").run(network, method=case.method, **case.inputs)
    reference = GOLDEN["deep_sana_decode.0"]
    off = np.linalg.norm(output - reference) / np.linalg.norm(reference)
    assert 1e-3 < off <= 0.04


def test_saved_network_loads_the_same(tmp_path):
    case = CASES["unet_sdxl"]
    make(case).save_pretrained(tmp_path)
    loaded = UNet2DConditionModel.from_pretrained(tmp_path)
    assert loaded.config.addition_embed_type == "text_time"
    check([engines.get("openvino").run(loaded, **case.inputs)], "unet_sdxl", FLOAT32)


def test_network_prepared_for_mindspore_still_compiles_for_openvino():
    case = CASES["unet_bk_sdm"]
    network = make(case)
    engines.get("mindspore").run(network, **case.inputs)
    check([engines.get("openvino").run(network, **case.inputs)], "unet_bk_sdm", FLOAT32)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_embed_type": "projection"}, "class_embed_type must be None, got 'projection'"),
        (
            {"down_block_types": ["AttnDownBlock2D", "DownBlock2D"]},
            r"down_block_types\[0\] must be 'CrossAttnDownBlock2D' or 'DownBlock2D', got 'AttnDown",
        ),
        ({"layers_per_block": [1, 2, 3]}, "layers_per_block must have 2 entries, got 3"),
        ({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block_type must be"),
        ({"act_fn": "mish"}, "act_fn must be 'silu', 'swish', 'gelu', 'quick_gelu' or 'relu', got 'mish'"),
        ({"time_cond_proj_dim": 2**40}, "time_cond_proj_dim must be less than or equal to 16384, got 1099511627776"),
        ({"down_block_types": ["DownBlock2D", ["a"]]}, r"down_block_types\[1\] must be .*, got \['a'\]"),
        ({"layers_per_block": True}, "layers_per_block must be a valid integer or a list, got True"),
        ({"attention_head_dim": [2, 0.5]}, r"attention_head_dim\[1\] must be a valid integer, got 0.5"),
        ({"sample_size": [8]}, r"sample_size\[1\] is missing"),
        ({"norm_num_groups": 3}, "norm_num_groups must divide block_out_channels, got 3 and 8"),
        ({"in_channels": "4", "norm_eps": None}, "in_channels must be .*, got '4'; norm_eps must be"),
    ],
)
def test_config_that_cannot_be_honoured_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        UNet2DConditionModel(**{**checkpoints.UNET, **config})


def test_weights_that_do_not_fit_are_all_listed():
    network = UNet2DConditionModel(**checkpoints.UNET)
    weights = checkpoints.random_weights(checkpoints.shapes_of(network))
    weights["extra.weight"] = weights.pop("conv_in.weight")
    weights["conv_out.bias"] = np.zeros(5, np.float32)
    with pytest.raises(ValueError, match=r"conv_in\.weight.*extra\.weight.*conv_out\.bias is 5 instead of 4"):
        network.load(Weights.from_arrays(weights))


def test_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine must be one of auto, openvino, mindspore, got 'tensorrt'"):
        engines.get("tensorrt")


def test_float32_is_no_flash_attention_type():
    with pytest.raises(ValueError, match="float16 or bfloat16, got float32"):
        make(CASES["unet_sd1"]).set_flash_attention_force_cast_dtype(ms.float32)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"reverse_transformer_layers_per_block": None}, "reverse_transformer_layers_per_block must give the depths"),
        ({"reverse_transformer_layers_per_block": [1]}, "must have 2 entries, got 1"),
        ({"transformer_layers_per_block": [[2, 1, 1], 1]}, "has 3 numbers for a stage of 2 transformers"),
        ({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "mid_block_type must be"),
    ],
)
def test_depths_that_do_not_fit_the_layers_are_refused(more, message):
    with pytest.raises(ValueError, match=message):
        UNet2DConditionModel(**{**checkpoints.UNETS["ssd"], **more})


@pytest.mark.parametrize(
    "config",
    [
        {"layers_per_block": 256},
        {"transformer_layers_per_block": 256},
        {"layers_per_block": 64, "transformer_layers_per_block": 64},
    ],
)
def test_a_config_cannot_ask_for_far_more_layers_than_there_are_weights(config, tmp_path):
    folder = checkpoints.write_model(UNet2DConditionModel, checkpoints.UNETS["sd1"], tmp_path)
    made = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match=r"config\.json: the config describes"):
        patch.setattr(layers, "zeros", lambda shape, zeros=layers.zeros: made.append(shape) or zeros(shape))
        (folder / "config.json").write_text(json.dumps({**checkpoints.UNETS["sd1"], **config}))
        UNet2DConditionModel.from_pretrained(folder)
    assert len(made) <= len(checkpoints.shapes_of(UNet2DConditionModel(**checkpoints.UNETS["sd1"]))) + 200


def test_a_parameter_without_values_is_refused():
    with pytest.raises(ValueError, match=r"shape \(0, 3\), which holds nothing"):
        layers.parameter(0, 3)


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
@pytest.mark.parametrize(
    "value, dtype", [(np.nan, "float32"), (np.inf, "float16"), (-np.inf, "bfloat16"), (np.nan, "float64")]
)
def test_a_weight_that_is_no_number_is_named_with_its_file(engine, value, dtype, tmp_path):
    case = CASES["unet_sd1"]
    folder = checkpoints.write_model(case.cls, case.config, tmp_path)
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = dict(SafetensorsFile(path))
    broken = tensors["mid_block.resnets.0.conv1.weight"].numpy().copy()
    broken.flat[-1] = value
    stored = StoredTensor.from_numpy(broken.astype(np.float64) if dtype == "float64" else broken)
    tensors["mid_block.resnets.0.conv1.weight"] = stored if dtype == "float64" else stored.cast(dtype)
    save_file(tensors, path)
    network = case.cls.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"\.safetensors: the weight mid_block\.resnets\.0\.conv1\.weight has values"):
        engines.get(engine).run(network, **case.inputs)
