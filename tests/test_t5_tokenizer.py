"""T5's tokenizer, of SentencePiece's own file and of a tokenizer.json."""

import base64
import json
from contextlib import nullcontext

import numpy as np
import pytest

from mindone.diffusers.loading import spiece as spieces
from mindone.diffusers.pipelines.components import load_component
from mindone.transformers import T5Tokenizer, T5TokenizerFast
from t5_files import EXTRA_IDS, TEXTS, field, replacements, spiece, varint, write_t5_tokenizer

UNKNOWN = ("<unk>", 0.0, 2)
END = ("</s>", 0.0, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers") / "tokenizer"
    write_t5_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return T5TokenizerFast.from_pretrained(folder.parent, subfolder="tokenizer")


def test_texts_end_with_the_end_token(tokenizer):
    assert tokenizer.tokenize("a cat  riding\n") == ["▁a", "▁cat", "▁riding"]
    assert tokenizer.tokenize("cated k") == ["▁cat", "ed", "▁", "k"]
    assert tokenizer.encode("")[-1] == tokenizer.eos_token_id == 1 and len(tokenizer.encode("a cat")) == 3
    assert tokenizer.decode(tokenizer.encode("a cat riding"), skip_special_tokens=True) == "a cat riding"


def test_what_has_no_piece_is_one_unknown_token(tokenizer):
    assert tokenizer.encode("a 🚀🌕 cat", add_special_tokens=False) == [
        *tokenizer.convert_tokens_to_ids(["▁a", "▁"]),
        tokenizer.unk_token_id,
        tokenizer.convert_tokens_to_ids("▁cat"),
    ]


def test_gaps_follow_the_pieces_from_the_last_on(tokenizer):
    size = len(tokenizer)
    gaps = tokenizer.convert_tokens_to_ids([f"<extra_id_{number}>" for number in range(EXTRA_IDS)])
    assert gaps == [size - 1, size - 2, size - 3] and set(gaps) == set(tokenizer.get_sentinel_token_ids())
    assert tokenizer.tokenize("a <extra_id_0> cat") == ["▁a", "<extra_id_0>", "▁cat"]


def test_rows_are_cut_before_the_end_token_and_padded(tokenizer):
    rows = tokenizer(["a cat", TEXTS[12]], max_length=12, return_tensors="np")
    assert rows.input_ids[0].tolist() == [*tokenizer.encode("a cat"), *[tokenizer.pad_token_id] * 9]
    assert rows.attention_mask.sum(axis=1).tolist() == [3, 12] and rows.input_ids[1, -1] == tokenizer.eos_token_id
    assert tokenizer.model_max_length == 512


def test_saving_and_loading_changes_nothing(folder, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    assert not (tmp_path / "spiece.model").exists()
    read = T5Tokenizer.from_pretrained(tmp_path)
    assert [read.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert read.special_tokens_map == tokenizer.special_tokens_map and len(read) == len(tokenizer)
    for name in ("T5Tokenizer", "T5TokenizerFast"):
        assert load_component(name, folder, "float32", None).get_vocab() == tokenizer.get_vocab()


def test_characters_are_replaced_as_the_file_says(tmp_path):
    write_t5_tokenizer(tmp_path)
    pieces = [("<pad>", 0.0, 3), END, UNKNOWN, ("▁", -1.0, 1), ("a", -1.0, 1), ("b", -1.0, 1)]
    (tmp_path / "spiece.model").write_bytes(spiece(pieces, replacements=replacements()))
    assert T5TokenizerFast.from_pretrained(tmp_path).tokenize("Ab a") == ["▁", "a", "b", "▁", "a"]


def test_a_tokenizer_json_with_a_broken_table_of_replacements_is_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    for units, message in (({}, None), ({66: 1 << 31 | 9}, "begin nowhere")):
        table = base64.b64encode(replacements(units)).decode()
        content["normalizer"]["normalizers"] = [{"type": "Precompiled", "precompiled_charsmap": table}]
        (tmp_path / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message) if message else nullcontext():
            assert T5TokenizerFast.from_pretrained(tmp_path).tokenize("Cat") == ["▁", "C", "a", "t"]


def test_a_tokenizer_json_that_ends_texts_with_a_token_of_nobody_is_refused(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    content["post_processor"]["special_tokens"] = {}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"post_processor puts </s> around texts, and special_tokens do not have it"):
        T5TokenizerFast.from_pretrained(tmp_path)


def test_a_text_of_the_longest_length_is_read(tokenizer):
    assert len(tokenizer.encode("cat " * 25_000)) == 25_001


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must have one piece for what is unknown"),
        (b"\x80" * 20, "no file of SentencePiece's, or a broken one"),
        (b"not a model", "no file of SentencePiece's, or a broken one"),
        (spiece([UNKNOWN, END])[:-3], "no file of SentencePiece's, or a broken one"),
        (spiece([UNKNOWN, END], kind=2), "model of kind 2; Unigram, 1, is read here"),
        (spiece([UNKNOWN, END, UNKNOWN]), "must have one piece for what is unknown"),
        (spiece([UNKNOWN, END, ("", 0.0, 1)]), "no file of SentencePiece's, or a broken one"),
        (spiece([UNKNOWN, END, ("a", float("nan"), 1)]), "no file of SentencePiece's, or a broken one"),
        (spiece([UNKNOWN]), "describes no tokenizer"),
        (field(1, varint(8) + varint(3)), "no file of SentencePiece's, or a broken one"),
        (spiece([UNKNOWN, END], replacements=b"\xff" * 9), "describes no tokenizer"),
        (spiece([UNKNOWN, END], replacements=replacements({0: 1 << 31 | 1 << 10})), "point outside of their table"),
        (spiece([UNKNOWN, END], replacements=replacements({64: 1 << 20 | ord("A")})), "point outside of their table"),
        (spiece([UNKNOWN, END], replacements=replacements({66: 1 << 31 | 9})), "begin nowhere"),
    ],
)
def test_broken_files_are_explained(tmp_path, content, message):
    write_t5_tokenizer(tmp_path)
    (tmp_path / "spiece.model").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        T5TokenizerFast.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value) and "spiece.model" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path, monkeypatch):
    write_t5_tokenizer(tmp_path)
    monkeypatch.setattr(spieces, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match=r"spiece\.model has [\d,]+ bytes, more than the 100 of any known"):
        T5TokenizerFast.from_pretrained(tmp_path)


@pytest.mark.parametrize("extra_ids", [-1, 10**9, "many"])
def test_counts_of_gaps_are_bounded(tmp_path, extra_ids):
    write_t5_tokenizer(tmp_path, extra_ids=extra_ids)
    with pytest.raises(ValueError, match="extra_ids must be"):
        T5TokenizerFast.from_pretrained(tmp_path)


def test_broken_bytes_never_hang_or_crash(tmp_path):
    """Each of 100 mutated files is read, or refused in one line."""
    write_t5_tokenizer(tmp_path)
    whole = np.frombuffer((tmp_path / "spiece.model").read_bytes(), np.uint8)
    random, outcomes = np.random.Generator(np.random.PCG64(0)), set()
    for _ in range(100):
        mutated = whole.copy()
        mutated[random.integers(0, len(whole), 3)] = random.integers(0, 256, 3)
        (tmp_path / "spiece.model").write_bytes(mutated.tobytes())
        try:
            outcomes.add(len(T5TokenizerFast.from_pretrained(tmp_path).encode("a cat")) > 0)
        except ValueError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert outcomes == {True, "refused"}


def test_the_files_of_the_hub_are_fetched(folder):
    from mindone.diffusers.loading.hub import file_patterns

    assert "tokenizer_3/spiece.model" in file_patterns("tokenizer_3", "tokenizer", None)
    assert json.loads((folder / "tokenizer_config.json").read_text())["tokenizer_class"] == "T5Tokenizer"
