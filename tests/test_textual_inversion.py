"""Words that are learned from pictures: loaded into the text encoders, drawn with, and forgotten."""

import numpy as np
import pytest

from checkpoints import random_weights
from mindone.diffusers.engines.binding import stored
from mindone.diffusers.loading.safetensors import StoredTensor, save_file
from tiny_pipelines import checkpoint, images_of, load

WORD = "<cat-toy>"
PROMPT = f"a {WORD} on a mat"


def vectors(pipe, name="text_encoder", count=2):
    width = getattr(pipe, name).config["hidden_size"]
    return random_weights({f"{name} {count}": (count, width)})[f"{name} {count}"] * 3


def differs(a, b):
    return float(np.abs(a - b).mean()) > 1e-4


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
def test_a_word_of_several_vectors_changes_the_image_until_it_is_forgotten(engine, tmp_path):
    pipe = load(checkpoint("bk_sdm"), engine=engine)
    plain, ids = images_of(pipe, prompt=PROMPT), pipe.tokenizer(PROMPT)
    save_file({WORD: StoredTensor.from_numpy(vectors(pipe))}, tmp_path / "learned_embeds.safetensors")
    pipe.load_textual_inversion(tmp_path)
    assert pipe.tokenizer.convert_tokens_to_ids([WORD, f"{WORD}_1"]) == [
        len(pipe.tokenizer) - 2,
        len(pipe.tokenizer) - 1,
    ]
    assert differs(images_of(pipe, prompt=PROMPT), plain)
    pipe.unload_textual_inversion()
    np.testing.assert_array_equal(pipe.tokenizer(PROMPT), ids)
    np.testing.assert_array_equal(images_of(pipe, prompt=PROMPT), plain)


def test_the_word_and_both_text_encoders_are_chosen_by_the_file_and_the_caller():
    pipe = load(checkpoint("sdxl"))
    both = {"clip_l": vectors(pipe), "clip_g": vectors(pipe, "text_encoder_2")}
    pipe.load_textual_inversion(both, token="moody")
    assert all("moody_1" in tokenizer.get_vocab() for tokenizer in (pipe.tokenizer, pipe.tokenizer_2))
    one = {"emb_params": vectors(pipe, "text_encoder_2", 1)}
    pipe.load_textual_inversion(one, token="grim", text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
    assert "grim" in pipe.tokenizer_2.get_vocab() and "grim" not in pipe.tokenizer.get_vocab()
    pipe.unload_textual_inversion("moody")
    assert "grim" in pipe.tokenizer_2.get_vocab() and "moody" not in pipe.tokenizer_2.get_vocab()


def ids_in(pipe, text, encoder="text_encoder"):
    """The ids of a text for a text encoder, as offsets from the first added token."""
    tower = next(each for each in pipe.text_towers if each.network is getattr(pipe, encoder))
    base = tower.tokenizer.vocab_size
    return [number - base if number >= base else None for number in tower.ids(text)]


def test_a_word_that_begins_with_another_is_itself():
    pipe = load(checkpoint("bk_sdm"))
    for word, count in (("easynegative", 3), ("easynegativev2", 2), ("easy", 1)):
        pipe.load_textual_inversion({word: vectors(pipe, count=count)})
    assert ids_in(pipe, "easynegativev2 easynegative") == [3, 4, 0, 1, 2]
    assert ids_in(pipe, "easynegative, easy easynegativev2")[:3] == [0, 1, 2]
    assert pipe.maybe_convert_prompt("easynegativev2", pipe.tokenizer) == "easynegativev2 easynegativev2_1"
    images = [images_of(pipe, prompt=text) for text in ("easynegative", "easynegativev2")]
    assert differs(*images)


@pytest.mark.parametrize("typed", ["EasyWord", "easyword", "EASYWORD", "EasyWord EasyWord_1 EasyWord_2"])
def test_a_word_has_all_its_vectors_in_any_case_and_once_it_is_spelled_out(typed):
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_textual_inversion({"EasyWord": vectors(pipe, count=3)})
    assert ids_in(pipe, f"{typed} cat {typed}") == [0, 1, 2, None, 0, 1, 2]
    spelled = pipe.maybe_convert_prompt(f"{typed} cat", pipe.tokenizer)
    assert spelled == "EasyWord EasyWord_1 EasyWord_2 cat"
    assert pipe.maybe_convert_prompt(spelled, pipe.tokenizer) == spelled


def test_a_long_prompt_is_cut_after_the_words_are_spelled_out(caplog):
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_textual_inversion({"EasyWord": vectors(pipe, count=3)})
    images_of(pipe, prompt="cat " * 73 + "EasyWord")
    assert "this part is ignored: EasyWord_2" in caplog.text


@pytest.mark.parametrize("kind", ["numpy", "mindspore", "float16", "stored"])
def test_vectors_are_taken_as_they_are(kind):
    import mindspore as ms

    pipe = load(checkpoint("bk_sdm"))
    given = vectors(pipe)
    kinds = {
        "numpy": lambda: given,
        "mindspore": lambda: ms.Tensor(given),
        "float16": lambda: given.astype(np.float16),
        "stored": lambda: StoredTensor.from_numpy(given),
    }
    pipe.load_textual_inversion(kinds[kind](), token=WORD)
    table = pipe.text_encoder.text_model.embeddings.token_embedding.weight
    rows = stored(table).numpy(np.float32)[-2:]
    np.testing.assert_allclose(rows, given, atol=2e-3 if kind == "float16" else 0)


def test_the_published_guide_to_xl_loads_two_words_for_each_encoder_and_forgets_them():
    pipe = load(checkpoint("sdxl"))
    state_dict = {"clip_l": vectors(pipe), "clip_g": vectors(pipe, "text_encoder_2")}
    words = ["<s0>", "<s1>"]
    first = {"text_encoder": pipe.text_encoder, "tokenizer": pipe.tokenizer}
    second = {"text_encoder": pipe.text_encoder_2, "tokenizer": pipe.tokenizer_2}
    pipe.load_textual_inversion(state_dict["clip_l"], token=words, **first)
    pipe.load_textual_inversion(state_dict["clip_g"], token=words, **second)
    for encoder in ("text_encoder", "text_encoder_2"):
        assert ids_in(pipe, "<s0><s1>", encoder) == [0, 1]
    pipe.unload_textual_inversion(words, **first)
    assert "<s1>" not in pipe.tokenizer.get_vocab() and "<s1>" in pipe.tokenizer_2.get_vocab()
    pipe.unload_textual_inversion(tokens=words, **second)
    assert "<s1>" not in pipe.tokenizer_2.get_vocab()


def test_lists_load_a_word_each(tmp_path):
    pipe = load(checkpoint("bk_sdm"))
    save_file({"emb_params": StoredTensor.from_numpy(vectors(pipe))}, tmp_path / "filed.safetensors")
    folder = tmp_path / "words" / "sub"
    folder.mkdir(parents=True)
    save_file({"foldered": StoredTensor.from_numpy(vectors(pipe, count=1))}, folder / "learned_embeds.safetensors")
    older = {"string_to_param": {"*": vectors(pipe)}, "name": "older"}
    pipe.load_textual_inversion([tmp_path / "filed.safetensors", older, {"third": vectors(pipe)[0]}])
    assert ids_in(pipe, "filed older third") == [0, 1, 2, 3, 4]
    pipe.load_textual_inversion([vectors(pipe), vectors(pipe)[0]], token=["<a>", "<b>"])
    assert ids_in(pipe, "<a><b>") == [5, 6, 7]
    pipe.load_textual_inversion(tmp_path / "words", subfolder="sub", use_safetensors=True)
    assert ids_in(pipe, "foldered") == [8]
    with pytest.raises(ValueError, match="use_safetensors must be True"):
        pipe.load_textual_inversion(tmp_path / "words", use_safetensors=False)


@pytest.mark.parametrize(
    ("given", "token", "said"),
    [
        (lambda pipe: vectors(pipe), None, "does not say its word; pass token="),
        (lambda pipe: vectors(pipe), ["<a>", "<b>", "<c>"], "one word for each of the 2 vectors, got 3"),
        (lambda pipe: [vectors(pipe)], ["<a>", "<a>"], "token names '<a>' twice"),
        (lambda pipe: [vectors(pipe), vectors(pipe)], "<a>", "one word for each of the 2 vectors, got 1"),
        (lambda pipe: [{"<a>": vectors(pipe)}, {"<a>": vectors(pipe)}], None, "every token must be a different word"),
        (lambda pipe: {"<CAT-Toy>": vectors(pipe)}, None, "knows '<CAT-Toy>' already, as '<cat-toy>'; pass another"),
        (lambda pipe: {"<Cat-toy>_1": vectors(pipe, count=1)}, None, "knows '<Cat-toy>_1' already, as '<cat-toy>_1'"),
        (lambda pipe: np.zeros((8000, 16), np.float32), "<big>", "'<big>' has 8000 vectors; a prompt holds at most 75"),
        (lambda pipe: np.zeros((76, 16), np.float32), "<big>", "'<big>' has 76 vectors; a prompt holds at most 75"),
        (lambda pipe: np.zeros((2, 16), np.int64), "<a>", "must be an array or a tensor of floats, got ndarray"),
        (lambda pipe: None, "<a>", "must be an array or a tensor of floats, got NoneType"),
        (lambda pipe: np.zeros((2, 15), np.float32), "<a>", "its vectors have width 15"),
        (lambda pipe: np.full(16, np.nan, np.float32), "<a>", "inversion: the weight emb_params has values"),
    ],
)
def test_what_is_no_word_is_refused_and_leaves_the_pipeline_as_it_was(given, token, said):
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_textual_inversion({WORD: vectors(pipe)})
    before = pipe.tokenizer.get_vocab()
    with pytest.raises(ValueError) as refusal:
        pipe.load_textual_inversion(given(pipe), token)
    assert said in str(refusal.value) and "\n" not in str(refusal.value)
    assert pipe.tokenizer.get_vocab() == before


@pytest.mark.parametrize("count", [1, 3])
def test_a_saved_pipeline_keeps_its_words(count, tmp_path):
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_textual_inversion({WORD: vectors(pipe, count=count)})
    pipe.save_pretrained(tmp_path)
    np.testing.assert_array_equal(images_of(load(tmp_path), prompt=PROMPT), images_of(pipe, prompt=PROMPT))


def test_mistakes_are_refused():
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_textual_inversion({WORD: vectors(pipe)})
    with pytest.raises(ValueError, match="the tokenizer knows '<cat-toy>' already; pass another token="):
        pipe.load_textual_inversion({WORD: vectors(pipe)})
    with pytest.raises(ValueError, match="no textual inversion 'dog' is loaded; loaded are \\['<cat-toy>'\\]"):
        pipe.unload_textual_inversion("dog")
    with pytest.raises(ValueError, match="must be the pipeline's own"):
        pipe.load_textual_inversion({"x": vectors(pipe)}, text_encoder=load(checkpoint("bk_sdm")).text_encoder)
