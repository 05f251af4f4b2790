"""The reference library, live: checkpoints that it saves load here, ours load there, and the numbers agree."""

import functools

import numpy as np
import pytest

pytest.importorskip("torch")

import reference_networks
from checkpoints import write_model
from mindone.diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModelWithProjection,
    engines,
)
from network_cases import CASES
from test_networks import FLOAT32, error

pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The network of a case from a checkpoint that the reference saved, for both engines in turn, and its numbers."""

    @functools.cache
    def read(name: str):
        case, folder = CASES[name], tmp_path_factory.mktemp(name)
        reference = reference_networks.load(case, write_model(case.cls, case.config, folder / "ours"))
        reference.save_pretrained(folder / "theirs", safe_serialization=True)
        return case.cls.from_pretrained(folder / "theirs"), reference_networks.run(case, reference)

    return read


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_checkpoint_saved_by_reference_gives_its_numbers(engine, name, saved):
    case, engine = CASES[name], engines.get(engine)
    network, expected = saved(name)
    outputs = engine.run(network, method=case.method, **case.inputs, **case.constants)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert error(engine.numpy(ours), theirs) <= FLOAT32


@pytest.mark.parametrize(
    "name", ["unet_sdxl", "text_projection", "autoencoder_decode", "tiny_decode", "deep_imagenet_decode"]
)
def test_checkpoint_saved_by_us_loads_in_reference(name, tmp_path):
    case = CASES[name]
    first = reference_networks.load(case, write_model(case.cls, case.config, tmp_path / "first"))
    case.cls.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    second = reference_networks.load(case, tmp_path / "second")
    for a, b in zip(reference_networks.run(case, first), reference_networks.run(case, second)):
        np.testing.assert_array_equal(a, b)


def test_tiled_autoencoder_matches_reference(tmp_path):
    import torch

    case, engine = CASES["autoencoder_decode"], engines.get("openvino")
    reference = reference_networks.load(case, write_model(AutoencoderKL, case.config, tmp_path))
    network = AutoencoderKL.from_pretrained(tmp_path)
    latents = np.random.Generator(np.random.PCG64(9)).standard_normal((1, 4, 20, 18)).astype(np.float32)
    reference.enable_tiling()
    network.enable_tiling()
    with torch.no_grad():
        theirs = reference.decode(torch.from_numpy(latents)).sample.numpy()
    assert error(network.decode_with(engine, latents), theirs) <= FLOAT32


def test_tiled_deep_autoencoder_matches_reference(tmp_path):
    import torch

    case = CASES["deep_sana_decode"]
    reference = reference_networks.load(case, write_model(AutoencoderDC, case.config, tmp_path))
    network = AutoencoderDC.from_pretrained(tmp_path)
    tiles = {
        "tile_sample_min_height": 32,
        "tile_sample_min_width": 24,
        "tile_sample_stride_height": 20,
        "tile_sample_stride_width": 16,
    }
    reference.enable_tiling(**tiles)
    network.enable_tiling(**tiles)
    rng = np.random.Generator(np.random.PCG64(9))
    latents = rng.standard_normal((1, 8, 13, 8)).astype(np.float32)
    image = rng.uniform(-1, 1, (1, 3, 52, 32)).astype(np.float32)
    with torch.no_grad():
        decoded = reference.decode(torch.from_numpy(latents)).sample.numpy()
        encoded = reference.encode(torch.from_numpy(image)).latent.numpy()
    assert error(network.decode(latents).sample, decoded) <= FLOAT32
    assert error(network.encode(image).latent, encoded) <= FLOAT32


@pytest.mark.parametrize("cls", [CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection])
def test_each_tower_comes_out_of_a_whole_clips_folder(cls, tmp_path):
    """Whose file has both towers, and whose config has theirs inside."""
    import torch
    import transformers

    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**tower, "vocab_size": 99, "eos_token_id": 98, "bos_token_id": 97, "projection_dim": 12}
    vision = {**tower, "hidden_size": 24, "image_size": 32, "patch_size": 8, "projection_dim": 12}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    theirs, ours = getattr(transformers, cls.__name__).from_pretrained(tmp_path), cls.from_pretrained(tmp_path)
    rng = np.random.Generator(np.random.PCG64(3))
    inputs = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    if cls is not CLIPVisionModelWithProjection:
        inputs = np.append(rng.integers(0, 97, (1, 20)), [[98]], axis=1).astype(np.int32)
    with torch.no_grad():
        expected = theirs.eval()(torch.from_numpy(inputs))
    for i in range(2):
        assert error(np.asarray(ours(inputs)[i]), expected[i].numpy()) <= FLOAT32
