"""Gemma 2 as a text encoder against transformers, live: checkpoints that it saves, on both engines."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
import transformers

from mindone.diffusers import engines
from mindone.transformers import Gemma2Model

pytestmark = pytest.mark.oracle
FLOAT32 = 1e-4
LENGTHS = (11, 5, 9)
CONFIG = {
    "vocab_size": 99,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 12,
    "attn_logit_softcapping": 0.5,
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Of a language model with its head, in several files, whose norms are off 1 and whose scores are not small."""
    folder = tmp_path_factory.mktemp("gemma2")
    torch.manual_seed(0)
    model = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**CONFIG, initializer_range=0.3))
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


@pytest.fixture(scope="module")
def texts():
    """Three texts of different lengths that begin alike, with their mask."""
    ids = np.random.Generator(np.random.PCG64(0)).integers(0, 99, (3, max(LENGTHS)))
    ids[:, :4] = ids[0, :4]
    return ids, (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)


def reference(checkpoint, texts, attention="sdpa"):
    model = transformers.Gemma2Model.from_pretrained(checkpoint, attn_implementation=attention).eval()
    ids, mask = map(torch.from_numpy, texts)
    with torch.no_grad():
        return model(ids, attention_mask=mask).last_hidden_state.numpy()


def assert_close(given, expected, mask, tolerance=FLOAT32):
    given, expected = given[mask == 1], expected[mask == 1]
    np.testing.assert_allclose(given, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_hidden_states_are_the_references(checkpoint, texts, engine):
    network, engine, (ids, mask) = Gemma2Model.from_pretrained(checkpoint), engines.get(engine), texts
    expected = reference(checkpoint, texts)
    given = engine.numpy(network.encode_with(engine, ids, mask))
    assert_close(given, expected, mask)
    assert not given[mask == 0].any()
    # Behind a beginning that all of it, a part of it, or nothing of it is theirs.
    for beginning in ([*ids[0, :4]], [*ids[1, :5], 7, 8], [98, 1]):
        assert_close(engine.numpy(network.encode_with(engine, ids, mask, beginning)), expected, mask)


def test_attention_is_capped_where_that_is_asked_for(checkpoint, texts):
    network, (ids, mask) = Gemma2Model.from_pretrained(checkpoint), texts
    for enabled, attention in ((True, "eager"), (False, "sdpa")):
        network.enable_attention_softcapping(enabled)
        assert_close(network(ids, mask).last_hidden_state, reference(checkpoint, texts, attention), mask)


def test_one_text_of_the_network_without_its_head(checkpoint, texts, tmp_path):
    Gemma2Model.from_pretrained(checkpoint).save_pretrained(tmp_path)
    ids = texts[0][:1]
    expected = reference(tmp_path, (ids, np.ones_like(ids)))
    assert_close(Gemma2Model.from_pretrained(tmp_path)(ids)[0], expected, np.ones_like(ids))
