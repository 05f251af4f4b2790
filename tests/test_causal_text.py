"""Language models as text encoders run the tokens that count, and what texts begin with once."""

import numpy as np
import pytest

from checkpoints import write_model
from mindone.diffusers import engines
from mindone.diffusers.acceleration.int8.config import Int8Config
from mindone.diffusers.acceleration.int8.quantize import round_weights
from mindone.diffusers.engines.base import is_quantized
from mindone.diffusers.engines.binding import InMemory, bind, bound
from mindone.diffusers.families.family import Int8Plan
from mindone.transformers import Gemma2Model

CONFIG = {
    "vocab_size": 99,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 64,
}
FLOAT32 = 1e-5
INSTRUCTION = list(range(10, 40))


class Counting:
    """The engine, which notes how many tokens each call runs."""

    def __init__(self):
        self.engine, self.tokens = engines.get("openvino"), []

    def run(self, network, ids, **options):
        self.tokens.append(ids.shape[1])
        return self.engine.run(network, ids, **options)

    def __getattr__(self, name):
        return getattr(self.engine, name)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_model(Gemma2Model, CONFIG, tmp_path_factory.mktemp("gemma2"))


@pytest.fixture(scope="module")
def network(checkpoint):
    return Gemma2Model.from_pretrained(checkpoint)


@pytest.fixture
def engine():
    return Counting()


def texts(*prompts, begins=(INSTRUCTION,)):
    """Ids and the mask of prompts behind instructions."""
    rows = [[*begins[i % len(begins)], *prompt] for i, prompt in enumerate(prompts)]
    longest = max(map(len, rows))
    ids = np.array([row + [0] * (longest - len(row)) for row in rows])
    return ids, (np.arange(longest) < np.array([[len(row)] for row in rows])).astype(np.int64)


def assert_equal(given, expected):
    np.testing.assert_allclose(given, expected, rtol=0, atol=FLOAT32 * np.abs(expected).max())


def test_the_next_prompt_runs_its_own_tokens_alone(network, engine):
    network.forget_beginnings()
    for prompt in ([1, 2, 3, 4], [5, 6, 7, 8, 9]):
        ids, mask = texts(prompt)
        assert_equal(network.encode_with(engine, ids, mask, INSTRUCTION), network.encode_with(engines.get(), ids, mask))
    assert engine.tokens == [30, 4, 5]


def test_texts_share_as_much_of_the_beginning_as_they_have(network, engine):
    network.forget_beginnings()
    begins = (INSTRUCTION, INSTRUCTION[:3], [98], INSTRUCTION)
    ids, mask = texts([1, 2, 3], [4, 5], [6, 7, 8, 9], [], begins=begins)
    assert_equal(network.encode_with(engine, ids, mask, INSTRUCTION), network.encode_with(engines.get(), ids, mask))
    assert engine.tokens == [30, 3 + 2 + 5]


def test_padding_is_not_run_and_gives_zeros(network, engine):
    ids, mask = texts([1], [2] * 20, [3] * 5, begins=([7],))
    states = network.encode_with(engine, ids, mask)
    assert engine.tokens == [mask.sum()] and not states[mask == 0].any()
    for row, count in enumerate(mask.sum(axis=1)):
        assert_equal(states[row, :count], network.encode_with(engine, ids[row : row + 1, :count])[0])


def test_one_graph_serves_all_lengths(checkpoint):
    network, engine = Gemma2Model.from_pretrained(checkpoint), engines.get("openvino")
    for length in (1, 5, 30):
        network.encode_with(engine, *texts([1] * length), INSTRUCTION)
    assert len(network.graphs) == 1


def test_many_texts_run_in_groups(network, engine):
    ids = np.arange(40 * 60).reshape(40, 60) % 99
    assert network.encode_with(engine, ids).shape == (40, 60, 24)
    assert engine.tokens == [1020, 1020, 360]


def test_other_weights_make_the_beginning_anew(checkpoint, engine):
    network = Gemma2Model.from_pretrained(checkpoint)
    ids, mask = texts([1, 2])
    before = network.encode_with(engine, ids, mask, INSTRUCTION)
    parameter = dict(network.parameters_and_names())["embed_tokens.weight"]
    bind(parameter, InMemory(-network.array("embed_tokens.weight")))
    network.graphs.clear()
    after = network.encode_with(engine, ids, mask, INSTRUCTION)
    assert engine.tokens == [30, 2, 30, 2]
    assert np.abs(after - before).max() > 0.1 and not np.array_equal(after[:, :30], before[:, :30])


def test_halves_and_bytes_come_close(checkpoint, network, tmp_path):
    """bfloat16 rounds by up to 0.4 %, bytes by half a step of 127 to a row's largest weight, in every layer."""
    ids, mask = texts([1, 2])
    exact = network.encode_with(engines.get(), ids, mask)
    bytes_ = Gemma2Model.from_pretrained(checkpoint)
    round_weights(bytes_, Int8Config(), Int8Plan({}))
    bytes_.save_pretrained(tmp_path)
    bytes_ = Gemma2Model.from_pretrained(tmp_path)
    assert is_quantized(bound(bytes_.embed_tokens.weight)) and is_quantized(bound(bytes_.layers[1].mlp.up_proj.weight))
    half = Gemma2Model.from_pretrained(checkpoint, mindspore_dtype="bfloat16")
    for rounded in (half, bytes_):
        off = rounded.encode_with(engines.get(), ids, mask) - exact
        assert np.sqrt((off**2).mean() / (exact**2).mean()) <= 0.03


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 99]],), "Gemma2Model knows 99 tokens, got the id 99"),
        (([[1, -1]],), "got the id -1"),
        (([1, 2],), r"input_ids of shape \(texts, tokens\), got \(2,\)"),
        (([[1, 2]], [[0, 1]]), "attention_mask must be ones and then zeros: pad texts on the right"),
        (([[1, 2]], [[1]]), r"attention_mask must have the shape of input_ids, \(1, 2\), got \(1, 1\)"),
        (([[1] * 65],), "Gemma2Model reads at most 64 tokens here, got 65"),
    ],
)
def test_wrong_arguments_are_explained(network, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        network(*map(np.array, arguments))
    assert "\n" not in str(caught.value)


def test_scores_cannot_be_capped_where_the_config_says_nothing():
    network = Gemma2Model(**CONFIG, attn_logit_softcapping=None)
    with pytest.raises(ValueError, match=r"attn_logit_softcapping in config\.json is null"):
        network.enable_attention_softcapping()
