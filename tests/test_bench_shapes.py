"""Checkpoints with random weights in published shapes."""

import numpy as np
import pytest

import checkpoints
from mindone.diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    FluxTransformer2DModel,
    UNet2DConditionModel,
    bench,
    engines,
)
from mindone.diffusers.bench import shapes
from mindone.diffusers.bench.tables import make_plan
from mindone.diffusers.engines.base import is_grouped
from mindone.diffusers.engines.binding import stored
from mindone.diffusers.families.stable_diffusion.shapes import clip_letters
from mindone.diffusers.loading.deferred import Deferred
from mindone.diffusers.loading.tokenizer import CLIPTokenizer
from mindone.diffusers.models.random_weights import random_weights, write_random_network
from tiny_pipelines import images_of, load

TINY = shapes.SHAPES["sd15"].changed(
    {
        "unet": checkpoints.UNETS["sd1"],
        "text_encoder": {**checkpoints.TEXTS["clip"], "vocab_size": 600},
        "vae": checkpoints.AUTOENCODER,
    },
    nbytes=2_000_000,
    distilled={"unet": checkpoints.UNETS["bk_sdm"]},
    tiny_vae=checkpoints.TINY_AUTOENCODER,
)


@pytest.fixture
def tiny_shape(monkeypatch):
    monkeypatch.setattr("mindone.diffusers.families.stable_diffusion.shapes.SD15", TINY)
    return bench.Options(shape="sd15", engine="openvino")


@pytest.mark.heavy
def test_a_shape_is_a_checkpoint_like_any_other(tiny_shape, tmp_path):
    plan = make_plan(tiny_shape, tmp_path)
    assert all(table.random_weights for table in plan.tables) and "random" in plan.notes[0]
    setups = plan.tables[1].setups
    for setup in setups[:2]:
        assert np.isfinite(images_of(load(setup.model.folder))).all()
    AutoencoderTiny.from_pretrained(setups[2].tiny_vae.folder)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < TINY.nbytes


def test_a_shapes_vocabulary_has_no_holes_that_the_tokenizers_library_would_warn_about(tmp_path, capfd):
    clip_letters({"vocab_size": 49_408, "max_position_embeddings": 77}).save_pretrained(tmp_path / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert len(tokenizer) == 49_408 and capfd.readouterr().err == ""
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (49_406, 49_407)


def test_the_parameters_are_as_many_as_published():
    shape = shapes.SHAPES["sd15"]
    counts = {
        "unet": UNet2DConditionModel(**shape.config("unet")).num_parameters(),
        "distilled": UNet2DConditionModel(**shape.distilled["unet"]).num_parameters(),
        "text_encoder": CLIPTextModel(**shape.config("text_encoder")).num_parameters(),
        "vae": AutoencoderKL(**shape.config("vae")).num_parameters(),
        "tiny_vae": AutoencoderTiny(**shape.tiny_vae).num_parameters(),
    }
    assert counts["unet"] == 859_520_964  # Stable Diffusion 1.5
    assert counts["distilled"] == pytest.approx(0.49e9, rel=0.02)  # BK-SDM (Kim et al. 2023), table 1
    assert counts["text_encoder"] == 123_060_480
    assert counts["vae"] == 83_653_863
    assert counts["tiny_vae"] == pytest.approx(2.4e6, rel=0.05)
    both = sum(counts.values())
    assert shape.nbytes == pytest.approx(2 * both, rel=0.03) and shape.nbytes > 2 * both


def test_stable_diffusion_xl_has_as_many_parameters_as_published():
    shape = shapes.SHAPES["sdxl"]
    counts = [
        UNet2DConditionModel(**shape.config("unet")).num_parameters(),
        CLIPTextModel(**shape.config("text_encoder")).num_parameters(),
        CLIPTextModelWithProjection(**shape.config("text_encoder_2")).num_parameters(),
        AutoencoderKL(**shape.config("vae")).num_parameters(),
        AutoencoderTiny(**shape.tiny_vae).num_parameters(),
    ]
    assert counts[:4] == [2_567_463_684, 123_060_480, 694_659_840, 83_653_863]
    assert 2 * sum(counts) < shape.nbytes < 1.03 * 2 * sum(counts)


@pytest.mark.heavy
def test_an_xl_shape_draws(monkeypatch, tmp_path):
    texts = {**checkpoints.TEXTS["clip"], "vocab_size": 600}
    tiny_xl = shapes.SHAPES["sdxl"].changed(
        {
            "unet": checkpoints.UNETS["sdxl"],
            "text_encoder": texts,
            "text_encoder_2": {**checkpoints.TEXTS["projection"], "vocab_size": 600},
            "vae": checkpoints.AUTOENCODER,
        },
        tiny_vae=checkpoints.TINY_AUTOENCODER,
    )
    monkeypatch.setattr("mindone.diffusers.families.stable_diffusion_xl.shapes.SDXL", tiny_xl)
    (setup, *_) = make_plan(bench.Options(shape="sdxl", engine="openvino"), tmp_path).tables[0].setups
    assert np.isfinite(images_of(load(setup.model.folder))).all()


def test_random_weights_keep_the_size_of_signals():
    weights = Deferred(random_weights({"conv.weight": (64, 32, 3, 3), "norm.weight": (64,), "norm.bias": (64,)}))
    convolution = weights["conv.weight"].astype(np.float32)
    assert convolution.dtype == np.float32 and weights["conv.weight"].dtype == np.float16
    assert convolution.std() == pytest.approx(1 / np.sqrt(32 * 9), rel=0.05)
    assert weights["norm.weight"].mean() == pytest.approx(1, abs=0.1)
    assert weights["norm.bias"].mean() == pytest.approx(0, abs=0.1)
    np.testing.assert_array_equal(weights["norm.bias"], weights["norm.bias"])


def test_no_two_random_weights_are_alike():
    """Compilers merge products of equal weights; what is timed would then be less than the network."""
    weights = Deferred(random_weights({"to_q.weight": (64, 64), "to_k.weight": (64, 64)}))
    assert np.abs(np.corrcoef(weights["to_q.weight"].ravel(), weights["to_k.weight"].ravel())[0, 1]) < 0.1


@pytest.mark.parametrize(("name", "count"), [("flux-schnell", 11_891_178_560), ("flux-dev", 11_901_408_320)])
def test_flux_has_as_many_parameters_as_published(name, count):
    assert FluxTransformer2DModel(**shapes.SHAPES[name].config("transformer")).num_parameters() == count


@pytest.mark.parametrize("bits", [4, 8])
def test_random_weights_in_groups_have_the_size_of_float16_ones(bits, tmp_path):
    config = {"num_layers": 1, "num_single_layers": 1, "attention_head_dim": 32, "num_attention_heads": 4}
    config |= {"axes_dims_rope": [8, 12, 12], "joint_attention_dim": 64, "pooled_projection_dim": 48}
    write_random_network(FluxTransformer2DModel, config, tmp_path, lambda name: None if "proj_out" in name else bits)
    network = FluxTransformer2DModel.from_pretrained(tmp_path)
    plain = Deferred(random_weights(network.published_shapes()))
    for name, parameter in network.published_parameters().items():
        is_packed = len(parameter.shape) == 2 and parameter.shape[1] % 64 == 0 and "proj_out" not in name
        assert is_grouped(stored(parameter)) is is_packed
        if is_packed:
            assert network.array(name).std() == pytest.approx(plain[name].std(), rel=0.03)
    random = np.random.default_rng(0)
    inputs = {"timestep": np.array([700.0]), "pooled_projections": random.standard_normal((1, 48))}
    inputs |= {"encoder_hidden_states": random.standard_normal((1, 7, 64))}
    given = {name: x.astype(np.float32) for name, x in inputs.items()}
    latents = random.standard_normal((1, 16, 8, 8)).astype(np.float32)
    assert np.isfinite(engines.get("openvino").run(network, latents, **given)).all()
