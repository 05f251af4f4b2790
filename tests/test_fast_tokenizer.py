"""Tokenizers of a tokenizer.json: Gemma's gives transformers' ids."""

import json

import numpy as np
import pytest

from fast_tokenizer_files import TEXTS, write_gemma
from mindone.transformers import GemmaTokenizer, GemmaTokenizerFast


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_gemma(tmp_path_factory.mktemp("tokenizers") / "tokenizer")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return GemmaTokenizerFast.from_pretrained(folder.parent, subfolder="tokenizer")


def test_rows_begin_with_the_start_token_and_are_padded_on_the_right(tokenizer):
    both = tokenizer(["a cat", "a horse on mars"], max_length=12, return_tensors="np")
    lengths = both.attention_mask.sum(axis=1)
    assert (both.input_ids[:, 0] == tokenizer.bos_token_id).all()
    for row, mask, length in zip(both.input_ids, both.attention_mask, lengths):
        assert (row[length:] == tokenizer.pad_token_id).all() and mask[:length].all()
        assert tokenizer.eos_token_id not in row
    assert lengths[0] < lengths[1] <= 12


def test_long_texts_are_cut_behind_the_start_token(tokenizer):
    everything = tokenizer.encode(TEXTS[9])
    assert len(everything) > 300  # tokenizer.json asks for a truncation to 5, which is a call's to say
    assert tokenizer(TEXTS[9], max_length=30)[0].tolist() == everything[:30]
    assert tokenizer.truncated("a cat" + " on mars" * 9, max_length=len(tokenizer.encode("a cat"))) == " on mars" * 9


@pytest.mark.parametrize("text", TEXTS)
def test_texts_survive_a_round_trip(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=True).replace("▁", " ") == (
        text.replace("▁", " ").replace("<bos>", "").replace("<eos>", "")
    )


def test_saving_and_loading_changes_nothing(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    read = GemmaTokenizer.from_pretrained(tmp_path)
    assert [read.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert read.special_tokens_map == tokenizer.special_tokens_map and len(read) == len(tokenizer)


def test_padding_needs_a_length_where_the_files_name_none(tokenizer):
    with pytest.raises(ValueError, match="max_length is missing"):
        tokenizer("a cat")


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("tokenizer.json", "{}", ValueError, "tokenizer.json describes no tokenizer"),
        ("tokenizer.json", None, FileNotFoundError, "no vocab.json or tokenizer.json"),
        ("tokenizer_config.json", '{"pad_token": "<nothing>"}', ValueError, "pad_token '<nothing>' is not in the voca"),
        ("tokenizer_config.json", '{"add_bos_token": 3}', ValueError, "add_bos_token must be a valid boolean, got 3"),
        (
            "tokenizer_config.json",
            '{"added_tokens_decoder": {"9999": {"content": "<x>"}}}',
            ValueError,
            "the added token '<x>' is to have id 9999, but has",
        ),
    ],
)
def test_broken_files_are_explained(tmp_path, file, content, error, message):
    write_gemma(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(error, match=message) as caught:
        GemmaTokenizerFast.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_sentencepieces_own_file_alone_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"tokenizer.model alone is not read; .*AutoTokenizer.from_pretrained"):
        GemmaTokenizerFast.from_pretrained(tmp_path)


# ---- live against transformers -----------------------------------------------------------------------------------


@pytest.mark.oracle
def test_ids_and_texts_are_those_of_transformers(folder, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer.save_pretrained(tmp_path)
    for source in (folder, tmp_path):
        reference = transformers.GemmaTokenizerFast.from_pretrained(source, padding_side="right")
        for text in TEXTS:
            ids = tokenizer.encode(text)
            assert ids == reference(text).input_ids, text
            for skip in (False, True):
                assert tokenizer.decode(ids, skip) == reference.decode(ids, skip_special_tokens=skip)
        theirs = reference(TEXTS, padding="max_length", truncation=True, max_length=40, return_tensors="np")
        ours = tokenizer(TEXTS, max_length=40, return_tensors="np")
        for name in ("input_ids", "attention_mask"):
            np.testing.assert_array_equal(ours[name], theirs[name])
        assert (reference.pad_token_id, reference.bos_token_id) == (tokenizer.pad_token_id, tokenizer.bos_token_id)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["tokenizer_class"] == "GemmaTokenizer"


@pytest.mark.oracle
def test_what_transformers_saves_is_read(folder, tokenizer, tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.GemmaTokenizerFast.from_pretrained(folder).save_pretrained(tmp_path)
    read = GemmaTokenizerFast.from_pretrained(tmp_path)
    assert [read.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
