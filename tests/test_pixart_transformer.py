"""What a PixArt transformer is asked for beyond its numbers, which `test_networks` holds."""

import json

import mindspore as ms
import numpy as np
import pytest

from checkpoints import random_weights, shapes_of
from mindone.diffusers import AutoModel, PixArtTransformer2DModel, Transformer2DModel, engines
from mindone.diffusers.loading.safetensors import save_file
from mindone.diffusers.loading.weights import Weights
from network_cases import CASES, PIXART
from test_networks import error, make

ROUNDING = 1e-5


@pytest.fixture(params=["openvino", "mindspore"])
def engine(request):
    return engines.get(request.param)


@pytest.fixture(scope="module")
def network():
    return make(CASES["pixart"])


def run(engine, network, **inputs):
    return engine.numpy(engine.run(network, **inputs))


def test_latents_and_sizes_given_once_for_both_halves_of_guidance_give_the_same(engine):
    network, inputs = make(CASES["pixart_sizes"]), dict(CASES["pixart_sizes"].inputs)
    shared = ("hidden_states", "timestep", "resolution", "aspect_ratio")
    once = {**inputs, **{name: inputs[name][:1] for name in shared}}
    twice = {**inputs, **{name: np.repeat(inputs[name][:1], 2, 0) for name in shared}}
    assert error(run(engine, network, **once), run(engine, network, **twice)) <= ROUNDING


def test_words_alone_give_what_words_and_masked_padding_give(network):
    engine, inputs = engines.get("openvino"), dict(CASES["pixart"].inputs)
    masked = run(engine, network, **inputs)[:1]
    assert inputs.pop("encoder_attention_mask")[0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    words = {name: x[:1] for name, x in inputs.items()}
    words["encoder_hidden_states"] = words["encoder_hidden_states"][:, :3]
    assert error(run(engine, network, **words), masked) <= ROUNDING


def test_a_text_read_once_gives_what_a_text_read_at_every_step_gives(engine, network):
    inputs = dict(CASES["pixart"].inputs)
    expected = run(engine, network, **inputs)
    read = engine.run(network, inputs["encoder_hidden_states"], method="read_text")
    assert len(read) == 2 * 2 and all(tuple(x.shape) == (2, 7, 24) for x in read)
    inputs["encoder_hidden_states"] = read
    assert error(run(engine, network, **inputs), expected) <= ROUNDING


@pytest.mark.parametrize("kind", [np.asarray, ms.Tensor], ids=["numpy", "mindspore"])
def test_a_call_by_hand_takes_the_published_arguments(kind):
    network, x = make(CASES["pixart_sizes"]), CASES["pixart_sizes"].inputs
    expected = run(engines.get("openvino"), network, **x)
    arguments = (kind(x["hidden_states"]), kind(x["encoder_hidden_states"]), kind(x["timestep"]))
    added = {name: kind(x[name]) for name in ("resolution", "aspect_ratio")}
    output = network(*arguments, added_cond_kwargs=added)
    assert type(output.sample) is type(arguments[0])
    assert error(np.asarray(output.sample), expected) <= ROUNDING
    assert type(network(*arguments, added, return_dict=False)) is tuple


def test_sizes_that_a_network_does_not_read_are_ignored_by_hand_and_refused_in_runs(network):
    inputs = dict(CASES["pixart"].inputs)
    given = [inputs.pop(name) for name in ("hidden_states", "encoder_hidden_states", "timestep")]
    added = {"resolution": None, "aspect_ratio": None}
    assert network(*given, added_cond_kwargs=added, **inputs).sample.shape == (2, 8, 8, 12)
    sizes = {name: CASES["pixart_sizes"].inputs[name] for name in added}
    with pytest.raises(ValueError, match=r"^resolution and aspect_ratio must be None for a network that does not read"):
        run(engines.get("openvino"), network, **CASES["pixart"].inputs, **sizes)
    with pytest.raises(ValueError, match=r"^resolution and aspect_ratio are missing: the network reads both$"):
        make(CASES["pixart_sizes"])(*given, added_cond_kwargs=added)


def test_inputs_that_cannot_be_are_refused_in_one_line(engine, network):
    inputs = CASES["pixart"].inputs
    odd = {**inputs, "hidden_states": inputs["hidden_states"][:, :, :5]}
    with pytest.raises(ValueError, match=r"^latents must have sides that patch_size 2 divides, got 5 and 12$"):
        run(engine, network, **odd)
    for name in ("attention_mask", "cross_attention_kwargs"):
        with pytest.raises(ValueError, match=f"^{name} must be None"):
            network(inputs["hidden_states"], inputs["encoder_hidden_states"], 1.0, **{name: {}})


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("cross_attention_dim", 48, "cross_attention_dim must be num_attention_heads x attention_head_dim if"),
        ("attention_head_dim", 13, "must be a multiple of 4, got 2 x 13"),
        ("norm_type", "ada_norm_zero", "norm_type must be 'ada_norm_single', got 'ada_norm_zero'"),
        ("activation_fn", "geglu", "activation_fn must be 'gelu-approximate', got 'geglu'"),
        ("num_layers", 10_000, "num_layers must be less than or equal to 256"),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_one_line(field, value, line):
    with pytest.raises(ValueError, match="PixArtTransformer2DModel: ") as refused:
        PixArtTransformer2DModel(**{**PIXART, field: value})
    assert line in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "reads", "scale"),
    [
        ({"sample_size": 128}, True, 2),
        ({"sample_size": 128, "use_additional_conditions": False, "interpolation_scale": 2}, False, 2),
        ({"sample_size": 64}, False, 1),
        ({"sample_size": 32, "interpolation_scale": 0.5}, False, 0.5),
        ({"sample_size": 256, "use_additional_conditions": True}, True, 4),
    ],
)
def test_what_a_config_leaves_out_follows_from_the_size(config, reads, scale):
    network = PixArtTransformer2DModel(**{**PIXART, **config})
    assert (network.reads_sizes, network.pos_embed.interpolation_scale) == (reads, scale)


def test_an_older_checkpoint_names_another_class_and_carries_its_positions(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({**PIXART, "_class_name": "Transformer2DModel"}))
    weights = random_weights(shapes_of(PixArtTransformer2DModel(**PIXART)))
    positions = {"pos_embed.pos_embed": np.zeros((1, 16, 24), np.float32)}
    save_file({**weights, **positions}, tmp_path / "diffusion_pytorch_model.safetensors")
    plain = PixArtTransformer2DModel(**PIXART)
    plain.load(Weights.from_arrays(weights))
    engine, inputs = engines.get("openvino"), CASES["pixart"].inputs
    for loaded in (AutoModel.from_pretrained(tmp_path), Transformer2DModel.from_pretrained(tmp_path)):
        assert type(loaded) is PixArtTransformer2DModel
        np.testing.assert_array_equal(run(engine, loaded, **inputs), run(engine, plain, **inputs))
