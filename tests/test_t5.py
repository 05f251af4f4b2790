"""T5's encoder runs the tokens that count, several texts at once, in a range that holds its values."""

import mmap

import numpy as np
import pytest

from checkpoints import random_weights, write_model
from mindone.diffusers import engines
from mindone.diffusers.acceleration.int8.config import Int8Config
from mindone.diffusers.acceleration.int8.quantize import round_weights
from mindone.diffusers.engines.base import is_quantized
from mindone.diffusers.engines.binding import bound
from mindone.diffusers.engines.openvino import compiling
from mindone.diffusers.families.family import Int8Plan
from mindone.diffusers.loading.safetensors import StoredTensor, save_file
from mindone.diffusers.models.t5 import distance_buckets
from mindone.transformers import T5EncoderModel
from t5_files import CONFIG

FLOAT32 = 1e-5
LENGTHS = (11, 1, 30)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_model(T5EncoderModel, CONFIG, tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def network(checkpoint):
    return T5EncoderModel.from_pretrained(checkpoint)


@pytest.fixture(scope="module")
def texts():
    ids = np.random.Generator(np.random.PCG64(0)).integers(0, CONFIG["vocab_size"], (len(LENGTHS), max(LENGTHS)))
    return ids, (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)


class Counting:
    """An engine that notes how many tokens each call runs."""

    def __init__(self):
        self.engine, self.tokens = engines.get("openvino"), []

    def run(self, network, ids, **options):
        self.tokens.append(ids.shape[1])
        return self.engine.run(network, ids, **options)

    def __getattr__(self, name):
        return getattr(self.engine, name)


def assert_equal(given, expected):
    np.testing.assert_allclose(given, expected, rtol=0, atol=FLOAT32 * np.abs(expected).max())


def test_padding_is_not_run_and_gives_zeros(network, texts):
    (ids, mask), engine = texts, Counting()
    states = network.encode_with(engine, ids, mask)
    assert engine.tokens == [mask.sum()] and not states[mask == 0].any()
    for row, count in enumerate(LENGTHS):
        assert_equal(states[row, :count], network.encode_with(engine, ids[row : row + 1, :count])[0])


def test_without_a_mask_padding_counts(network, texts):
    (ids, mask), engine = texts, Counting()
    states = network.encode_with(engine, ids)
    assert engine.tokens == [ids.size]
    assert np.abs(states - network.encode_with(engine, ids, mask))[0, : LENGTHS[0]].max() > 0.01


def test_many_texts_run_in_groups(network):
    engine, ids = Counting(), np.arange(9 * 120).reshape(9, 120) % 99
    assert network.encode_with(engine, ids).shape == (9, 120, 24)
    assert engine.tokens == [240, 240, 240, 240, 120]


@pytest.mark.compiles
def test_one_graph_serves_all_lengths(checkpoint, texts):
    network, engine = T5EncoderModel.from_pretrained(checkpoint), engines.get("openvino")
    network.encode_with(engine, *texts)
    for length in (1, 5, 30):
        network.encode_with(engine, texts[0][:2, :length])
    assert len(network.graphs) == 1


def test_distances_fall_into_the_published_buckets():
    """32 kinds up to 128 tokens: one for each distance below 8, then wider ones; behind the query they begin at 16."""
    distances = np.array([0, -1, -7, -8, -11, -12, -15, -16, -32, -64, -90, -91, -127, -128, -999])
    before = [0, 1, 7, 8, 8, 9, 9, 10, 12, 14, 14, 15, 15, 15, 15]
    np.testing.assert_array_equal(distance_buckets(distances, 32, 128), before)
    np.testing.assert_array_equal(distance_buckets(-distances[1:], 32, 128), np.array(before[1:]) + 16)


def test_float16_becomes_bfloat16(checkpoint, monkeypatch):
    network = T5EncoderModel.from_pretrained(checkpoint, mindspore_dtype="float16")
    assert network.dtype == "bfloat16" == T5EncoderModel.from_pretrained(checkpoint).to("float16").dtype
    monkeypatch.setattr(compiling, "half_precision", lambda: "f16")
    for types, precision in (({"f16", "bf16"}, "bf16"), ({"f16"}, "f32")):
        monkeypatch.setattr(compiling, "_half_types", lambda types=types: types)
        assert compiling.precision_of(network.dtype, network.exceeds_float16) == precision
    assert compiling.precision_of("bfloat16") == "f16"


def test_halves_and_bytes_come_close(checkpoint, network, texts, tmp_path):
    """bfloat16 rounds by up to 0.4 %, bytes by half a step of 127 to a row's largest weight, in every layer."""
    exact = network.encode_with(engines.get(), *texts)
    bytes_ = T5EncoderModel.from_pretrained(checkpoint)
    round_weights(bytes_, Int8Config(), Int8Plan({}))
    assert isinstance(root(bound(bytes_.shared.weight).integers), mmap.mmap)
    bytes_.save_pretrained(tmp_path)
    bytes_ = T5EncoderModel.from_pretrained(tmp_path)
    layer = bytes_.encoder.block[0].layer[0].SelfAttention
    assert is_quantized(bound(bytes_.shared.weight)) and is_quantized(bound(layer.q.weight))
    assert not is_quantized(bound(layer.relative_attention_bias.weight))
    half = T5EncoderModel.from_pretrained(checkpoint, mindspore_dtype="bfloat16")
    for rounded in (half, bytes_):
        off = rounded.encode_with(engines.get(), *texts) - exact
        assert np.sqrt((off**2).mean() / (exact**2).mean()) <= 0.04


@pytest.mark.parametrize("names", ["both", "encoder.embed_tokens.weight", "whole"])
def test_files_name_the_embeddings_in_several_ways(network, checkpoint, texts, tmp_path, names):
    weights = random_weights(network.published_shapes())
    table = weights["shared.weight"]
    if names == "both":
        weights["encoder.embed_tokens.weight"] = table
    elif names == "whole":
        weights |= {"lm_head.weight": table, "decoder.embed_tokens.weight": table, "decoder.final.weight": table[0]}
    else:
        weights[names] = weights.pop("shared.weight")
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    read = T5EncoderModel.from_pretrained(tmp_path)
    assert_equal(read(texts[0])[0], network(texts[0])[0])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float8_takes_no_memory_beside_the_packed_weights(network, checkpoint, tmp_path, dtype):
    """What float8 stands for is in a file whose pages the system can drop."""
    weights = random_weights(network.published_shapes())
    for number, (name, shape) in enumerate(network.published_shapes().items()):
        if len(shape) > 1:
            weights[name] = StoredTensor("F8_E4M3", shape, np.full(np.prod(shape), 0x38, np.uint8))
            if number % 2:
                weights[name.removesuffix("weight") + "scale_weight"] = np.float32(0.03)
    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    read = T5EncoderModel.from_pretrained(tmp_path, mindspore_dtype=dtype)
    assert np.isfinite(read(np.array([[1, 2, 3]]))[0]).all()
    (graph,) = read.graphs._graphs.values()
    kept = [values for values in graph._constants._borrowed if values.size > 500]
    assert len(kept) >= 15 and all(isinstance(root(values), mmap.mmap) for values in kept)


def root(values):
    """Whose memory an array is."""
    while isinstance(values, np.ndarray):
        values = values.base
    return values.obj if isinstance(values, memoryview) else values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 160]],), "T5EncoderModel knows 160 tokens, got the id 160"),
        (([1, 2],), r"input_ids of shape \(texts, tokens\), got \(2,\)"),
        (([[1, 2]], [[0, 1]]), "attention_mask must be ones and then zeros: pad texts on the right"),
        (([[1] * 2049],), "T5EncoderModel reads at most 2048 tokens here, got 2049"),
    ],
)
def test_wrong_arguments_are_explained(network, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        network(*map(np.array, arguments))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("feed_forward_proj", "gated-silu", "feed_forward_proj must be 'gated-gelu' or 'relu', got 'gated-silu'"),
        ("relative_attention_max_distance", 2, "must be more than 2, a quarter of relative_attention_num_buckets"),
    ],
)
def test_configs_that_cannot_be_computed_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        T5EncoderModel(**{**CONFIG, field: value})
