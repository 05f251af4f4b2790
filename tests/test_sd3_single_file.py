"""Stable Diffusion 3 in one file, in the original layout: there and back, with and without text encoders."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest

from checkpoints import random_weights
from mindone.diffusers import (
    AutoencoderKL,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    engines,
)
from mindone.diffusers.families import convert
from mindone.diffusers.families.stable_diffusion_3.original import MEDIUM, TRANSFORMER, transformer_config
from mindone.diffusers.families.stable_diffusion_3.shapes import CONFIGS
from mindone.diffusers.loading.config import read_config
from mindone.diffusers.loading.original.training_config import TrainingConfig
from mindone.diffusers.loading.safetensors import SafetensorsFile, StoredTensor, save_file
from mindone.diffusers.loading.weights import open_weights
from mindone.transformers import T5EncoderModel
from network_cases import CASES
from original_files import equal, opened
from test_networks import error
from tiny_pipelines import images_of
from tiny_sd3 import checkpoint, single_file_checkpoint as folder

NETWORKS = ("transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_folder = tempfile.TemporaryDirectory(prefix="sd3-files-")


@functools.cache
def file() -> Path:
    """The same in one file, as `convert` writes it."""
    path = Path(_folder.name) / "sd3.safetensors"
    convert.folder_to_file(folder(), path)
    return path


def rewritten(name: str, keep) -> Path:
    """A file with some of the tensors, and nothing of ours in its metadata."""
    path = Path(_folder.name) / f"{name}.safetensors"
    save_file({key: tensor for key, tensor in SafetensorsFile(file()).items() if keep(key)}, path, {"format": "pt"})
    return path


def test_a_single_file_holds_the_folders_tensors_under_our_names():
    single = opened(file())
    assert single.pipeline == "StableDiffusion3Pipeline" and single.release.title == "Stable Diffusion 3.5 medium"
    assert tuple(single.components) == NETWORKS
    for name, component in single.components.items():
        stored = open_weights(folder() / name, "model" if "text" in name else "diffusion_pytorch_model")
        stored = stored.normalized(component.class_name)
        assert component.weights.keys() == stored.keys()
        assert all(equal(component.weights[key], stored[key]) for key in stored)
    assert dict(single.scheduler)["shift"] == 3.0


def test_only_what_is_the_other_way_round_there_is_copied():
    copied = [name for name, x in opened(file()).components["transformer"].weights.items() if x.data.flags.owndata]
    layers = ("norm_out.linear", "transformer_blocks.2.norm1_context.linear")
    assert sorted(copied) == sorted(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))


@pytest.mark.heavy
def test_a_folder_comes_back_as_it_was(tmp_path):
    convert.file_to_folder(file(), tmp_path / "back")
    for name in NETWORKS:
        basename = "model" if "text" in name else "diffusion_pytorch_model"
        first, second = (open_weights(root / name, basename) for root in (folder(), tmp_path / "back"))
        assert all(equal(first[key], second[key]) for key in second)
    index = read_config(tmp_path / "back", "model_index.json")
    assert index["tokenizer_3"] == ["transformers", "T5TokenizerFast"]
    ours, theirs = (StableDiffusion3Pipeline.from_pretrained(each) for each in (folder(), tmp_path / "back"))
    assert error(drawn(theirs), drawn(ours)) <= 1e-6


def drawn(pipe) -> np.ndarray:
    asked = {"height": 64, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16}
    return images_of(pipe, **asked, generator=np.random.default_rng(0))


def test_a_pipeline_of_one_file_draws_what_that_of_the_folder_draws():
    pipe = StableDiffusion3Pipeline.from_single_file(file())
    assert error(drawn(pipe), drawn(StableDiffusion3Pipeline.from_pretrained(folder()))) <= 1e-6


def test_a_file_without_t5_draws_without_it_where_that_is_said(tmp_path):
    path = rewritten("without-t5", lambda name: "t5xxl" not in name)
    line = r"without-t5\.safetensors holds only .*; pass text_encoder_3=… or text_encoder_3=None for a .* without$"
    with pytest.raises(ValueError, match=line) as refused:
        StableDiffusion3Pipeline.from_single_file(path)
    assert "\n" not in str(refused.value)
    given = {"config": folder(), "text_encoder_3": None}
    pipe = StableDiffusion3Pipeline.from_single_file(path, **given)
    assert pipe.text_encoder_3 is None and pipe.tokenizer_3 is None
    whole = StableDiffusion3Pipeline.from_pretrained(folder(), text_encoder_3=None, tokenizer_3=None)
    assert error(drawn(pipe), drawn(whole)) <= 1e-6
    convert.file_to_folder(path, tmp_path / "back", config=folder())
    index = read_config(tmp_path / "back", "model_index.json")
    assert index["text_encoder_3"] == index["tokenizer_3"] == [None, None]


def test_a_file_without_text_encoders_names_all_that_it_needs():
    path = rewritten("alone", lambda name: not name.startswith("text_encoders."))
    needed = "pass text_encoder=…, text_encoder_2=…, text_encoder_3=… or text_encoder_3=None for a pipeline"
    with pytest.raises(ValueError, match=needed):
        StableDiffusion3Pipeline.from_single_file(path)
    parts = StableDiffusion3Pipeline.from_pretrained(folder()).components
    given = {name: part for name, part in parts.items() if name.startswith(("text_encoder", "tokenizer"))}
    pipe = StableDiffusion3Pipeline.from_single_file(path, config=folder(), **given)
    assert error(drawn(pipe), drawn(StableDiffusion3Pipeline.from_pretrained(folder()))) <= 1e-6


def test_a_t5_without_a_vocabulary_says_where_one_comes_from():
    path = rewritten("no-vocabulary", lambda name: True)
    line = (
        r"no-vocabulary\.safetensors: no such file has the vocabulary of its text_encoder_3; pass tokenizer_3= with a "
    )
    with pytest.raises(ValueError, match=line + r"T5TokenizerFast, or config= with a folder that has tokenizer_3/$"):
        opened(path).tokenizer("text_encoder_3")


def test_a_first_text_encoder_that_projects_has_no_place_there(tmp_path):
    with pytest.raises(ValueError, match=r"its text_projection\.weight must be the identity; keep the folder$"):
        convert.folder_to_file(checkpoint(), tmp_path / "sd3.safetensors")


@pytest.mark.parametrize("kind", ["bare", "ours"])
def test_a_transformer_alone_is_read_with_and_without_names_of_its_own(kind, tmp_path):
    case = CASES["sd35"]
    network = SD3Transformer2DModel(**case.config)
    arrays = random_weights(network.published_shapes())
    tensors = {name: StoredTensor.from_numpy(x) for name, x in arrays.items()}
    path = tmp_path / "transformer.safetensors"
    save_file(TRANSFORMER.original(tensors) if kind == "bare" else tensors, path)
    loaded = SD3Transformer2DModel.from_single_file(path)
    assert list(loaded.config["dual_attention_layers"]) == [0, 1] and loaded.config["pos_embed_max_size"] == 9
    assert all(np.array_equal(loaded.array(name), x) for name, x in arrays.items())


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F8_E4M3"])
def test_a_file_of_another_type_gives_the_same_up_to_rounding(dtype, tmp_path):
    case = CASES["sd35"]
    network = SD3Transformer2DModel(**case.config)
    arrays = random_weights(network.published_shapes())
    tensors = TRANSFORMER.original({name: StoredTensor.from_numpy(x) for name, x in arrays.items()})
    path = tmp_path / "transformer.safetensors"
    save_file({f"model.diffusion_model.{name}": cast(tensor, dtype) for name, tensor in tensors.items()}, path)
    loaded = SD3Transformer2DModel.from_single_file(path)
    most = {"F16": 2**-11, "BF16": 2**-8, "F8_E4M3": 2**-3}[dtype]
    for name, x in arrays.items():
        assert np.abs(loaded.array(name) - x).max() <= most * np.abs(x).max(), name


def cast(tensor: StoredTensor, dtype: str) -> StoredTensor:
    if dtype == "F8_E4M3":
        meant = StoredTensor(dtype, (256,), np.arange(256, dtype=np.uint8)).numpy(np.float32)
        codes = np.argsort(np.where(np.isnan(meant), np.inf, meant)).astype(np.uint8)[:-2]  # two are no numbers
        between = (meant[codes][1:] + meant[codes][:-1]) / 2
        return StoredTensor(dtype, tensor.shape, codes[np.searchsorted(between, tensor.numpy().reshape(-1))])
    return tensor.cast({"F16": "float16", "BF16": "bfloat16"}[dtype])


@pytest.mark.parametrize("size", [None, "3.5-medium", "3.5-large"])
def test_published_configs_are_read_off_shapes(size):
    published = {
        "dual_attention_layers": [],
        "qk_norm": None,
        **CONFIGS["transformer"],
        **(CONFIGS[size] if size else {}),
    }
    shapes = SD3Transformer2DModel(**published).published_shapes()
    tensors = {name: StoredTensor("F16", shape, np.zeros(0, np.uint8)) for name, shape in shapes.items()}
    read = transformer_config(tensors, MEDIUM, TrainingConfig())
    assert {name: read[name] for name in published} == published


def test_its_autoencoder_has_16_channels_a_shift_and_no_quant_conv():
    single = opened(rewritten("published", lambda name: True))
    config = single.components["vae"].config
    assert config["latent_channels"] == 16 and not config["use_quant_conv"] and not config["use_post_quant_conv"]
    assert config["scaling_factor"] == 1.5305 and config["shift_factor"] == 0.0609 and config["force_upcast"]
    vae = AutoencoderKL.from_pretrained(folder(), subfolder="vae")
    latents = np.zeros((1, 16, 4, 4), np.float32)
    assert vae.decode_with(engines.get("openvino"), latents).shape == (1, 3, 32, 32)


def test_its_autoencoder_alone_does_not_say_how_it_scales(tmp_path):
    convert.folder_to_file(folder() / "vae", tmp_path / "carried.safetensors")
    assert AutoencoderKL.from_single_file(tmp_path / "carried.safetensors").config["shift_factor"] == 0.0609
    path = tmp_path / "vae.safetensors"
    save_file(dict(SafetensorsFile(tmp_path / "carried.safetensors")), path, {"format": "pt"})
    line = r"vae\.safetensors: an autoencoder of 16 channels is none of Stable Diffusion 1\.x, and .* pass config="
    with pytest.raises(ValueError, match=line):
        AutoencoderKL.from_single_file(path)
    assert AutoencoderKL.from_single_file(path, config=folder() / "vae").config["scaling_factor"] == 1.5305


def test_its_text_encoders_configs_are_read_off_shapes():
    single = opened(rewritten("published", lambda name: True))
    third = T5EncoderModel.from_pretrained(folder(), subfolder="text_encoder_3").config
    read = single.components["text_encoder_3"].config
    assert {name: read[name] for name in ("d_model", "d_kv", "d_ff", "num_layers", "num_heads", "vocab_size")} == {
        name: third[name] for name in ("d_model", "d_kv", "d_ff", "num_layers", "num_heads", "vocab_size")
    }
    acts = [single.components[name].config["hidden_act"] for name in ("text_encoder", "text_encoder_2")]
    assert acts == ["quick_gelu", "gelu"]
    assert {single.components[name].class_name for name in ("text_encoder", "text_encoder_2")} == {
        "CLIPTextModelWithProjection"
    }


def test_what_a_flow_predicts_is_nobodys_to_say():
    with pytest.raises(ValueError, match=r"prediction_type must be None for Stable Diffusion 3\.5 medium, which .*"):
        StableDiffusion3Pipeline.from_single_file(file(), prediction_type="v_prediction")


def test_a_layer_that_is_not_three_is_refused_in_one_line(tmp_path):
    path = tmp_path / "broken.safetensors"
    tensors = dict(SafetensorsFile(file()))
    name = "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.bias"
    tensors[name] = tensors[name].rows(0, 7)
    save_file(tensors, path)
    line = r"joint_blocks\.0\.x_block\.attn\.qkv\.bias must have rows that 3 divides, got the shape \(7,\)$"
    with pytest.raises(ValueError, match=line):
        opened(path)
