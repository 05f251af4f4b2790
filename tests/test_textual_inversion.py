"""Words that are learned from pictures: loaded into the text encoders, drawn with, and forgotten."""

import numpy as np
import pytest

from checkpoints import random_weights
from mindone.diffusers.loading.safetensors import StoredTensor, save_file
from tiny_pipelines import checkpoint, images_of, load

WORD = "<cat-toy>"
PROMPT = f"a {WORD} on a mat"


def vectors(pipe, name="text_encoder", count=2):
    width = getattr(pipe, name).config["hidden_size"]
    return random_weights({f"{name} {count}": (count, width)})[f"{name} {count}"] * 3


def differs(a, b):
    return float(np.abs(a - b).mean()) > 1e-4


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_a_word_of_several_vectors_changes_the_image_until_it_is_forgotten(engine, tmp_path):
    pipe = load(checkpoint("sd1"), engine=engine)
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


def test_a_saved_pipeline_keeps_its_words(tmp_path):
    pipe = load(checkpoint("sd1"))
    pipe.load_textual_inversion({WORD: vectors(pipe, count=1)})
    pipe.save_pretrained(tmp_path)
    np.testing.assert_array_equal(images_of(load(tmp_path), prompt=PROMPT), images_of(pipe, prompt=PROMPT))


def test_mistakes_are_told():
    pipe = load(checkpoint("sd1"))
    pipe.load_textual_inversion({WORD: vectors(pipe)})
    with pytest.raises(ValueError, match="the tokenizer knows '<cat-toy>' already; pass another token="):
        pipe.load_textual_inversion({WORD: vectors(pipe)})
    with pytest.raises(ValueError, match="no textual inversion 'dog' is loaded; loaded are \\['<cat-toy>'\\]"):
        pipe.unload_textual_inversion("dog")
    with pytest.raises(ValueError, match="must be the pipeline's own"):
        pipe.load_textual_inversion({"x": vectors(pipe)}, text_encoder=load(checkpoint("sd1")).text_encoder)
