"""CLIP's tokenizer: the ids of transformers' fast tokenizer, from every kind of file that checkpoints carry."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from golden import tokenizer_make as make
from mindone.diffusers.jobs.job import LONGEST_PROMPT
from mindone.diffusers.loading.tokenizer import CLIPTokenizer
from mindone.diffusers.loading.tokenizer_base import LONGEST

GOLDEN = json.loads(make.GOLDEN.read_text(encoding="utf-8"))
ROCKET = "a photo of an astronaut riding a horse on mars"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizers")
    for kind in make.SPECIAL_FILES:
        make.write_files(root / kind, kind)
    return root


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder / "sd1")


def serialized() -> dict:
    """The content of a tokenizer.json, as far as it is read."""
    vocabulary, merges = make.train()
    tokens = [{"id": vocabulary[t], "content": t, "special": True} for t in ("<|startoftext|>", "<|endoftext|>")]
    return {
        "added_tokens": tokens,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [" ".join(m) for m in merges]},
    }


@pytest.mark.parametrize("kind", list(make.SPECIAL_FILES))
@pytest.mark.parametrize("number", range(len(GOLDEN["texts"])))
def test_ids_match_the_golden_file(folder, kind, number):
    tokenizer = CLIPTokenizer.from_pretrained(folder / kind)
    np.testing.assert_array_equal(tokenizer(GOLDEN["texts"][number]), [GOLDEN[kind][number]])


def test_a_list_gives_a_row_per_text(tokenizer):
    ids = tokenizer([ROCKET, "a horse"])
    assert ids.shape == (2, 77) and ids.dtype == np.int64
    np.testing.assert_array_equal(ids[1], tokenizer("a horse")[0])


def test_no_texts_give_no_rows(tokenizer):
    assert tokenizer([]).shape[0] == 0


def test_rows_begin_and_end_and_are_padded(tokenizer):
    (row,) = tokenizer("a horse", max_length=10)
    assert row[0] == tokenizer.bos_token_id
    text_end = list(row).index(tokenizer.eos_token_id)
    assert (row[text_end:] == tokenizer.pad_token_id).all() and len(row) == 10


def test_the_second_tokenizer_pads_with_exclamation_marks(folder):
    tokenizer = CLIPTokenizer.from_pretrained(folder / "sd2")
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("!", 0)
    (row,) = tokenizer("a horse")
    assert row[-1] == 0 and tokenizer.eos_token_id in row


def test_long_texts_keep_the_end_token(tokenizer):
    (row,) = tokenizer("the " * 100)
    assert len(row) == 77 and row[-1] == tokenizer.eos_token_id


def test_unpadded_texts_have_their_own_length(tokenizer):
    assert tokenizer("a horse", padding=False).shape == (1, 4)


def test_texts_of_different_lengths_need_padding(tokenizer):
    with pytest.raises(ValueError, match=r'texts of 3, 4 tokens do not make one array; pass padding="max_length"'):
        tokenizer(["a", "a horse"], padding=False)


def test_too_long_without_truncation_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"a text of 102 tokens is longer than max_length=77; pass truncation=True"):
        tokenizer("the " * 100, truncation=False)


def test_without_truncation_or_padding_all_ids_come(tokenizer):
    assert tokenizer("the " * 100, truncation=False, padding=False).shape == (1, 102)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": [3]}, "texts must be strings, got int"),
        ({"texts": "a\ud800"}, "texts must be valid Unicode"),
        ({"texts": "a", "max_length": 1}, "max_length must be at least 2"),
        ({"texts": "a", "padding": "longest"}, 'padding must be "max_length" or False'),
    ],
)
def test_wrong_arguments_are_explained(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(**arguments)


def test_the_part_that_is_cut_off_is_told(tokenizer):
    assert tokenizer.truncated("the " * 75 + "golden vase, mars") == "golden vase , mars"
    assert tokenizer.truncated("the " * 75) == ""


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.lists(st.from_regex(r"[a-z]{1,8}|[0-9]|[.,:;()!?]{1,3}", fullmatch=True), min_size=1, max_size=20))
def test_plain_words_survive_a_round_trip(tokenizer, words):
    text = " ".join(words)
    assert tokenizer.decode(tokenizer(text)[0], skip_special_tokens=True) == text


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_any_text_gives_ids_of_the_vocabulary_in_one_row(tokenizer, text):
    ids = tokenizer(text)
    assert ids.shape == (1, 77) and (ids >= 0).all() and (ids < len(tokenizer)).all()


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.text(max_size=40))
def test_case_and_whitespace_do_not_matter(tokenizer, text):
    ascii_text = text.encode("ascii", "ignore").decode()
    np.testing.assert_array_equal(tokenizer(f" \t{ascii_text.upper()}\n "), tokenizer(ascii_text.lower()))


def test_attributes_are_those_of_the_files(tokenizer):
    vocabulary, _ = make.train()
    assert tokenizer.vocab_size == len(tokenizer) == len(vocabulary)
    assert tokenizer.model_max_length == 77
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == vocabulary["<|endoftext|>"]


def test_tokenizer_json_alone_is_enough(tmp_path, tokenizer):
    (tmp_path / "tokenizer.json").write_text(json.dumps(serialized()))
    read = CLIPTokenizer.from_pretrained(tmp_path)
    np.testing.assert_array_equal(read(GOLDEN["texts"]), tokenizer(GOLDEN["texts"]))


def test_merges_of_tokenizer_json_may_be_pairs(tmp_path, tokenizer):
    content = serialized()
    content["model"]["merges"] = [merge.split() for merge in content["model"]["merges"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(CLIPTokenizer.from_pretrained(tmp_path)(ROCKET), tokenizer(ROCKET))


def test_saving_and_loading_changes_nothing(tmp_path, folder):
    for kind in make.SPECIAL_FILES:
        original = CLIPTokenizer.from_pretrained(folder / kind)
        original.save_pretrained(tmp_path / kind)
        read = CLIPTokenizer.from_pretrained(tmp_path / kind)
        np.testing.assert_array_equal(read(GOLDEN["texts"]), original(GOLDEN["texts"]))
        assert read.pad_token == original.pad_token


def test_added_tokens_get_their_ids(tmp_path):
    make.write_files(tmp_path)
    number = len(make.train()[0])
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<my-cat>": number}))
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert list(tokenizer("a <my-cat> horse", max_length=6)[0]).count(number) == 1
    assert len(tokenizer) == number + 1 and tokenizer.vocab_size == number


def test_added_tokens_with_a_gap_are_refused(tmp_path):
    make.write_files(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<my-cat>": 5000}))
    with pytest.raises(ValueError, match=r"the added token '<my-cat>' is to have id 5000"):
        CLIPTokenizer.from_pretrained(tmp_path)


def test_new_tokens_get_the_next_free_ids(folder):
    tokenizer = CLIPTokenizer.from_pretrained(folder / "sd1")
    size = len(tokenizer)
    assert tokenizer.add_tokens(["<my-cat>", "<my-dog>", "<my-cat>"]) == 2
    assert tokenizer.add_tokens("<my-cat>") == 0
    assert tokenizer.convert_tokens_to_ids(["<my-cat>", "<my-dog>"]) == [size, size + 1]
    assert tokenizer.encode("<my-dog>", add_special_tokens=False) == [size + 1] and len(tokenizer) == size + 2
    assert tokenizer.convert_ids_to_tokens([size]) == ["<my-cat>"]
    assert tokenizer.convert_tokens_to_ids("no such token") == tokenizer.unk_token_id


def test_arrays_come_with_a_mask_of_the_text(tokenizer):
    both = tokenizer("a horse", return_tensors="np", max_length=10)
    np.testing.assert_array_equal(both.input_ids, tokenizer("a horse", max_length=10))
    assert both["attention_mask"].tolist() == [[1] * 4 + [0] * 6]
    assert tokenizer.encode("a horse") == both.input_ids[0, :4].tolist()
    with pytest.raises(ValueError, match='return_tensors must be "np", "ms" or None, got \'pt\''):
        tokenizer("a horse", return_tensors="pt")


def broken(tmp_path: Path, file: str, content: str | None) -> Path:
    make.write_files(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("merges.txt", None, FileNotFoundError, "no merges.txt"),
        ("vocab.json", None, FileNotFoundError, "no vocab.json or tokenizer.json"),
        ("vocab.json", "[1]", ValueError, r"vocab.json: the content must be an object, got \[1\]"),
        ("vocab.json", '{"a": -1}', ValueError, "vocab.json: a must be greater than or equal to 0, got -1"),
        ("vocab.json", "{", ValueError, "vocab.json is not valid JSON: line 1"),
        ("vocab.json", '{"a": 0}', ValueError, "the merges do not fit the vocabulary"),
        (
            "merges.txt",
            "#version: 0.2\na b c\n",
            ValueError,
            r"merges.txt line 2 must be two tokens, got \['a', 'b', 'c'\]",
        ),
        ("tokenizer_config.json", "3", ValueError, "tokenizer_config.json: the content must be an object, got 3"),
        ("special_tokens_map.json", '{"pad_token": "<pad>"}', ValueError, "pad_token '<pad>' is not in the vocabulary"),
        (
            "tokenizer_config.json",
            '{"model_max_length": "x"}',
            ValueError,
            "tokenizer_config.json: model_max_length must be a valid number, got 'x'",
        ),
        (
            "special_tokens_map.json",
            '{"pad_token": 3}',
            ValueError,
            "special_tokens_map.json: pad_token must be an object, got 3",
        ),
        ("vocab.json", r'{"\ud800": 0}', ValueError, "vocab.json: the content must be a valid string"),
        ("special_tokens_map.json", r'{"pad_token": "\ud800"}', ValueError, "pad_token must be a valid string"),
    ],
)
def test_broken_files_are_explained(tmp_path, file, content, error, message):
    with pytest.raises(error, match=message) as caught:
        CLIPTokenizer.from_pretrained(broken(tmp_path, file, content))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_another_kind_of_tokenizer_json_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordPiece", "vocab": {}}}')
    with pytest.raises(ValueError, match=r"tokenizer.json: model.merges is missing"):
        CLIPTokenizer.from_pretrained(tmp_path)


# ---- live against transformers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fast(folder):
    transformers = pytest.importorskip("transformers")
    return {kind: transformers.CLIPTokenizerFast.from_pretrained(folder / kind) for kind in make.SPECIAL_FILES}


@pytest.fixture(scope="module")
def ours(folder):
    return {kind: CLIPTokenizer.from_pretrained(folder / kind) for kind in make.SPECIAL_FILES}


def ids_of(reference, text, **options):
    return reference(text, **({"padding": "max_length", "truncation": True, "max_length": 77} | options)).input_ids


@pytest.mark.oracle
@pytest.mark.parametrize("kind", list(make.SPECIAL_FILES))
@settings(max_examples=500, derandomize=True, deadline=None)
@given(
    text=st.text(max_size=60) | st.text("aAtT'!<|>of \u0301\u200d\n3é猫🚀", max_size=40) | st.sampled_from(make.TEXTS)
)
def test_ids_and_texts_equal_the_fast_tokenizers(ours, fast, kind, text):
    ids = ours[kind](text)[0].tolist()
    assert ids == ids_of(fast[kind], text)
    for skip in (False, True):
        assert ours[kind].decode(ids, skip) == fast[kind].decode(ids, skip_special_tokens=skip)


@pytest.mark.oracle
@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=st.text("abcdefghijklmnopqrstuvwxyzABCDEFTéüß0123456789 .,;:'()-+#\n\t", max_size=60))
def test_ids_of_european_text_equal_the_slow_tokenizers_too(slow, ours, text):
    for kind, reference in slow.items():
        assert ours[kind](text)[0].tolist() == ids_of(reference, text)


@pytest.fixture(scope="module")
def slow(folder):
    transformers = pytest.importorskip("transformers")
    return {kind: transformers.CLIPTokenizer.from_pretrained(folder / kind) for kind in make.SPECIAL_FILES}


@pytest.mark.oracle
@pytest.mark.parametrize("kind", list(make.SPECIAL_FILES))
def test_the_part_cut_off_is_what_diffusers_reports(ours, slow, kind):
    text = "the " * 70 + "golden vase with different flowers, it's on mars"
    everything = slow[kind](text, padding="longest", return_tensors="np").input_ids
    assert ours[kind].truncated(text) == slow[kind].batch_decode(everything[:, 76:-1])[0]


@pytest.mark.oracle
@pytest.mark.parametrize("kind", list(make.SPECIAL_FILES))
def test_what_transformers_saves_is_read(tmp_path, slow, fast, kind):
    for name, reference in (("slow", slow[kind]), ("fast", fast[kind])):
        reference.save_pretrained(tmp_path / name)
        read = CLIPTokenizer.from_pretrained(tmp_path / name)
        for text in make.TEXTS:
            assert read(text)[0].tolist() == ids_of(fast[kind], text), (name, text)
        assert read.model_max_length == 77


@pytest.mark.oracle
@pytest.mark.parametrize("kind", list(make.SPECIAL_FILES))
def test_transformers_reads_what_we_save(tmp_path, ours, fast, kind):
    import transformers

    ours[kind].save_pretrained(tmp_path)
    for cls in (transformers.CLIPTokenizerFast, transformers.CLIPTokenizer):
        read = cls.from_pretrained(tmp_path)
        assert read.pad_token == ours[kind].pad_token and read.model_max_length == 77
        assert ids_of(read, ROCKET + "!") == ids_of(fast[kind], ROCKET + "!")


@pytest.mark.oracle
def test_added_tokens_are_those_of_transformers(tmp_path):
    import transformers

    make.write_files(tmp_path / "plain")
    reference = transformers.CLIPTokenizer.from_pretrained(tmp_path / "plain")
    reference.add_tokens(["<my-cat>"])
    reference.save_pretrained(tmp_path / "added")
    ours = CLIPTokenizer.from_pretrained(tmp_path / "added")
    assert ours("a <my-cat> horse")[0].tolist() == ids_of(reference, "a <my-cat> horse")
    ours.save_pretrained(tmp_path / "ours")
    again = transformers.CLIPTokenizer.from_pretrained(tmp_path / "ours")
    assert ids_of(again, "a <my-cat> horse") == ids_of(reference, "a <my-cat> horse")


def test_a_text_of_a_megabyte_is_refused(tokenizer):
    for read in (tokenizer, tokenizer.encode, tokenizer.tokenize, tokenizer.truncated, tokenizer.spans):
        with pytest.raises(ValueError, match=r"^a text may have 100000 characters, got 1000000$"):
            read("a red cat " * 100_000)
    assert LONGEST == LONGEST_PROMPT  # of a job, which imports no tokenizer
