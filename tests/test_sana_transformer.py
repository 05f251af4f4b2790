"""What a Sana transformer is asked for beyond its numbers, which `test_networks` holds."""

from dataclasses import replace
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from checkpoints import random_weights, shapes_of
from mindone.diffusers import SanaTransformer2DModel, engines
from mindone.diffusers.adapters.lora_cells import put_around
from mindone.diffusers.engines.binding import InMemory
from mindone.diffusers.engines.openvino import OpenVINOEngine
from mindone.diffusers.loading.weights import Weights
from mindone.diffusers.pipelines import padding
from mindone.diffusers.pipelines.padding import without_padding
from mindone.diffusers.pipelines.read_once import ReadOnce
from network_cases import CASES, SANA, SPRINT
from test_networks import error, make
from tiny_pipelines import images_of, load
from tiny_sana import checkpoint

ROUNDING = 1e-5


@pytest.fixture(params=["openvino", "mindspore"])
def engine(request):
    return engines.get(request.param)


@pytest.fixture(scope="module")
def network():
    return make(CASES["sana"])


def run(engine, network, **inputs):
    return engine.numpy(engine.run(network, **inputs))


def test_latents_given_once_for_both_halves_of_guidance_give_the_same(engine, network):
    inputs = dict(CASES["sana"].inputs, timestep=np.full(1, 981.0, np.float32))
    once = {**inputs, "hidden_states": inputs["hidden_states"][:1]}
    twice = {**inputs, "hidden_states": np.repeat(once["hidden_states"], 2, 0)}
    assert error(run(engine, network, **once), run(engine, network, **twice)) <= ROUNDING


def test_words_alone_give_what_words_and_masked_padding_give(network):
    engine, inputs = engines.get("openvino"), dict(CASES["sana"].inputs)
    masked = run(engine, network, **inputs)[:1]
    assert inputs.pop("encoder_attention_mask")[0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    words = {name: x[:1] for name, x in inputs.items()}
    words["encoder_hidden_states"] = words["encoder_hidden_states"][:, :3]
    assert error(run(engine, network, **words), masked) <= ROUNDING


@pytest.mark.parametrize("name", ["sana", "sana_sprint"])
def test_a_text_read_once_gives_what_a_text_read_at_every_step_gives(engine, name):
    network, inputs = make(CASES[name]), dict(CASES[name].inputs)
    expected = run(engine, network, **inputs)
    read = engine.run(network, inputs["encoder_hidden_states"], method="read_text")
    assert len(read) == 2 * 2 and all(tuple(x.shape) == (2, 7, 48) for x in read)
    inputs["encoder_hidden_states"] = read
    assert error(run(engine, network, **inputs), expected) <= ROUNDING


def test_a_condition_is_read_again_only_when_it_changes():
    """A callback may change it in place; with and without guidance it has two and one row an image."""
    calls = []

    class Counting:
        def run(self, network, condition, method):
            calls.append(condition.shape[0])
            return (condition.sum(),)

        def numpy(self, x):
            return x

    network = SanaTransformer2DModel(**SANA)
    read, both = ReadOnce(Counting(), network, "read_text"), np.arange(8, dtype=np.float32).reshape(2, 4)
    for _ in range(3):
        assert read(both) == (28,) and read(both[1:]) == (22,)
    assert calls == [2, 1]
    both[1] = 0
    assert read(both) == (6,) and read(both[1:]) == (0,) and calls == [2, 1, 2, 1]


def test_padding_that_all_texts_end_with_is_cut_to_one_of_few_lengths():
    engine, text = engines.get("openvino"), np.zeros((2, 300, 4), np.float32)
    for words, length in [((3, 7), 64), ((64, 1), 64), ((65, 1), 128), ((129, 300), 300), ((0, 7), 300)]:
        mask = (np.arange(300) < np.array(words)[:, None]).astype(np.float32)
        short, hidden = without_padding(engine, text, mask)
        assert short.shape == (2, length, 4) and hidden.shape == (2, length)
        assert hidden.sum(axis=1).tolist() == list(words)


@pytest.mark.parametrize("family", ["sana", "sana-sprint"])
def test_images_without_padding_are_those_with_it(family, monkeypatch):
    pipe, seen = load(checkpoint(family)), []

    def draw():
        asked = {"height": 64, "width": 64, "num_inference_steps": 2, "use_resolution_binning": False}
        return images_of(pipe, **asked, output_type="latent", generator=np.random.default_rng(0))

    def run(network, *inputs, **options):
        seen.extend(x.shape[1] for x in options.get("encoder_hidden_states", ()))
        seen.append(options.get("method", "construct"))
        return OpenVINOEngine.run(engine, network, *inputs, **options)

    short = draw()
    monkeypatch.setattr(padding, "LENGTHS", ())
    long, engine = draw(), pipe.engine
    assert error(short, long) <= 1e-4
    monkeypatch.undo()
    monkeypatch.setattr(engine, "run", run, raising=False)
    draw()
    assert seen.count("read_text") == 1 and seen.count(64) == 2 * 4


@pytest.mark.parametrize("kind", [np.asarray, ms.Tensor], ids=["numpy", "mindspore"])
def test_a_call_by_hand_takes_the_published_arguments(network, kind):
    x = CASES["sana"].inputs
    expected = run(engines.get("openvino"), network, **x)
    arguments = (kind(x["hidden_states"]), kind(x["encoder_hidden_states"]), kind(x["timestep"]))
    mask = kind(x["encoder_attention_mask"].astype(np.int64))
    output = network(*arguments, encoder_attention_mask=mask)
    assert type(output.sample) is type(arguments[0])
    assert error(np.asarray(output.sample), expected) <= ROUNDING
    plain = network(*arguments, encoder_attention_mask=mask, return_dict=False)
    assert type(plain) is tuple


def test_the_graph_takes_no_picture_apart(network):
    """The halves of the gated convolutions come from halves of their weights."""
    engine, inputs, kinds = engines.get("openvino"), CASES["sana"].inputs, []
    network.passes.append(lambda graph, _: kinds.extend(node.get_type_name() for node in graph.get_ops()))
    network.graphs.clear()
    run(engine, network, **inputs)
    network.passes.clear()
    assert kinds.count("Convolution") == 1 + 3 * 2 and kinds.count("GroupConvolution") == 2 * 2
    # The timestep's six parts, and what picks rows of the tables, which are constants.
    assert kinds.count("Slice") == 6 + 6 * 2 + 2 and not {"Split", "VariadicSplit", "StridedSlice"} & set(kinds)


def test_a_lora_of_a_gated_convolution_is_what_its_product_adds_to_the_weight(engine):
    case, layer = CASES["sana"], "transformer_blocks.1.ff.conv_inverted"
    down, up = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(3, 32), (160, 3)])]
    down, up = [(0.2 * matrix[..., None, None]).astype(np.float32) for matrix in (down, up)]
    network, plain = make(case), random_weights(shapes_of(make(case)))
    merged = {**plain, f"{layer}.weight": plain[f"{layer}.weight"] + np.einsum("orxy,rixy->oixy", up, down)}
    put_around(network, layer, SimpleNamespace(down=InMemory(down), up=InMemory(up)))
    expected = SanaTransformer2DModel(**case.config)
    expected.load(Weights.from_arrays(merged))
    assert error(run(engine, network, **case.inputs), run(engine, expected, **case.inputs)) <= ROUNDING
    assert error(run(engine, make(case), **case.inputs), run(engine, expected, **case.inputs)) >= 0.01


def test_a_lora_of_a_depthwise_convolution_is_refused_in_one_line(network):
    line = r"^transformer_blocks\.0\.ff\.conv_depth is a grouped convolution and takes no LoRA; .* do$"
    with pytest.raises(ValueError, match=line):
        put_around(network, "transformer_blocks.0.ff.conv_depth", SimpleNamespace())


def test_it_has_neither_cuts_for_caches_nor_attention_to_downsample(network):
    assert network.cuts == () and network.self_attentions == {}


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("cross_attention_dim", 48, "cross_attention_dim must be num_attention_heads x attention_head_dim, got 48"),
        ("qk_norm", "layer_norm", "qk_norm must be 'rms_norm_across_heads', got 'layer_norm'"),
        ("mlp_ratio", 0, "mlp_ratio must"),
        ("num_layers", 10_000, "num_layers must be less than or equal to 256"),
        ("dropout", 0.1, "dropout must"),
        ("norm_eps", "small", "norm_eps must be a valid number, got 'small'"),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_one_line(field, value, line):
    with pytest.raises(ValueError, match="SanaTransformer2DModel: ") as refused:
        SanaTransformer2DModel(**{**SANA, field: value})
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_inputs_that_cannot_be_are_refused_in_one_line(engine, network):
    inputs = CASES["sana"].inputs
    with pytest.raises(
        ValueError, match=r"^guidance must be None for a network whose config has guidance_embeds false$"
    ):
        run(engine, network, **inputs, guidance=np.ones(1, np.float32))
    sprint = dict(CASES["sana_sprint"].inputs)
    del sprint["guidance"]
    with pytest.raises(ValueError, match=r"^guidance is missing: the network's config has guidance_embeds true$"):
        run(engine, make(CASES["sana_sprint"]), **sprint)
    patched = make(replace(CASES["sana"], config={**SPRINT, "guidance_embeds": False, "patch_size": 2}))
    odd = {**inputs, "hidden_states": inputs["hidden_states"][:, :, :5]}
    with pytest.raises(ValueError, match=r"^latents must have sides that patch_size 2 divides, got 5 and 10$"):
        run(engine, patched, **odd)
    for name in ("attention_mask", "attention_kwargs", "controlnet_block_samples"):
        with pytest.raises(ValueError, match=f"^{name} must be None"):
            network(inputs["hidden_states"], inputs["encoder_hidden_states"], 1.0, **{name: {}})
