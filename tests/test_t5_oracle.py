"""T5's encoder and tokenizer against transformers, live: checkpoints that it saves, on both engines."""

import json

import numpy as np
import pytest

pytest.importorskip("torch")

import sentencepiece
import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention

from mindone.diffusers import engines
from mindone.diffusers.models.t5 import distance_buckets
from mindone.transformers import T5EncoderModel, T5Tokenizer, T5TokenizerFast
from t5_files import CONFIG, EXTRA_IDS, TEXTS, write_t5_tokenizer

pytestmark = pytest.mark.oracle
FLOAT32 = 1e-5
LENGTHS = (31, 5, 17)


@pytest.fixture(scope="module", params=["gated-gelu", "relu"])
def checkpoint(request, tmp_path_factory):
    """Of version 1.1 or 1.0, in several files, whose norms are off 1 and whose scores are not small."""
    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    config = {**CONFIG, "feed_forward_proj": request.param, "num_layers": 3}
    model = transformers.T5EncoderModel(transformers.T5Config(**config, tie_word_embeddings=False))
    for parameter in model.parameters():
        scale = 0.3 / np.sqrt(parameter.shape[-1]) if parameter.ndim == 2 else 0.2
        torch.nn.init.normal_(parameter, std=3 * scale, mean=float(parameter.ndim == 1))
    torch.nn.init.normal_(model.shared.weight)
    torch.nn.init.normal_(model.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    model.save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


@pytest.fixture(scope="module")
def texts():
    ids = np.random.Generator(np.random.PCG64(0)).integers(0, CONFIG["vocab_size"], (3, max(LENGTHS)))
    return ids, (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype(np.int64)


def reference(checkpoint, ids, mask=None):
    model = transformers.T5EncoderModel.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        states = model(torch.from_numpy(ids), None if mask is None else torch.from_numpy(mask)).last_hidden_state
    return states.numpy()


def assert_close(given, expected):
    np.testing.assert_allclose(given, expected, rtol=0, atol=FLOAT32 * np.abs(expected).max())


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_hidden_states_are_the_references(checkpoint, texts, engine):
    network, engine, (ids, mask) = T5EncoderModel.from_pretrained(checkpoint), engines.get(engine), texts
    assert_close(engine.numpy(network.encode_with(engine, ids)), reference(checkpoint, ids))
    given = engine.numpy(network.encode_with(engine, ids, mask))
    assert_close(given[mask == 1], reference(checkpoint, ids, mask)[mask == 1])
    assert not given[mask == 0].any()


def test_what_is_saved_here_is_read_there(checkpoint, texts, tmp_path):
    T5EncoderModel.from_pretrained(checkpoint).save_pretrained(tmp_path)
    assert_close(reference(tmp_path, texts[0]), reference(checkpoint, texts[0]))


@pytest.mark.parametrize(("buckets", "farthest"), [(32, 128), (8, 20), (16, 100), (64, 1000)])
def test_buckets_are_the_references(buckets, farthest):
    distances = np.arange(-2100, 2100)
    expected = T5Attention._relative_position_bucket(torch.from_numpy(distances), True, buckets, farthest)
    np.testing.assert_array_equal(distance_buckets(distances, buckets, farthest), expected.numpy())


# ---- tokenizers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[True, False], ids=["legacy", "new"])
def pieces(request, tmp_path_factory):
    """A vocabulary that SentencePiece has trained, with the normalization that T5's has."""
    folder = tmp_path_factory.mktemp("pieces")
    write_t5_tokenizer(folder, legacy=request.param)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text for text in TEXTS for _ in range(3) if "<" not in text and len(text) < 500]),
        model_prefix=str(folder / "spiece"),
        vocab_size=120,
        normalization_rule_name="nmt_nfkc",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    return folder


def test_ids_of_pieces_are_the_references(pieces):
    """Also of the one that SentencePiece itself serves, where the two agree."""
    ours = T5Tokenizer.from_pretrained(pieces)
    fast, slow = (kind.from_pretrained(pieces) for kind in (transformers.T5TokenizerFast, transformers.T5Tokenizer))
    for text in TEXTS:
        assert ours.encode(text) == fast.encode(text), text
        if not any(word in text for word in ("ｶﾞ", "<extra_id_0> cat")):
            assert ours.encode(text) == slow.encode(text), text


def test_rows_and_texts_are_the_references(pieces, tmp_path):
    ours, kind = T5TokenizerFast.from_pretrained(pieces), transformers.T5TokenizerFast
    ours.save_pretrained(tmp_path)
    for theirs in (kind.from_pretrained(pieces), kind.from_pretrained(tmp_path)):
        assert len(ours) == len(theirs)
        options = {"padding": "max_length", "truncation": True, "max_length": 40, "return_tensors": "np"}
        expected, given = theirs(TEXTS, **options), ours(TEXTS, **options)
        for name in ("input_ids", "attention_mask"):
            np.testing.assert_array_equal(given[name], expected[name])
        for row in expected["input_ids"]:
            for skip in (False, True):
                assert ours.decode(row, skip) == theirs.decode(row, skip_special_tokens=skip)


@pytest.mark.parametrize("strips", [True, False])
def test_a_tokenizer_json_of_the_references_gives_its_ids(pieces, tmp_path, strips):
    """Whether marks for gaps take the spaces around them is for the second file to say, as in Stable Diffusion 3's."""
    transformers.T5TokenizerFast.from_pretrained(pieces).save_pretrained(tmp_path)
    (tmp_path / "spiece.model").unlink()
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config["extra_ids"] == EXTRA_IDS
    for token in config["added_tokens_decoder"].values():
        token["lstrip"] = token["rstrip"] = strips and "extra" in token["content"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    theirs, ours = transformers.T5TokenizerFast.from_pretrained(tmp_path), T5TokenizerFast.from_pretrained(tmp_path)
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text), text


def test_the_small_files_of_the_tests_are_as_sentencepiece_reads_them(tmp_path):
    tokens = write_t5_tokenizer(tmp_path)
    theirs, ours = transformers.T5Tokenizer.from_pretrained(tmp_path), T5Tokenizer.from_pretrained(tmp_path)
    assert len(theirs) == len(ours) == tokens
    for text in ("a photo of an astronaut riding a horse on mars", "", "8k, cated", TEXTS[12]):
        assert ours.encode(text) == theirs.encode(text), text
