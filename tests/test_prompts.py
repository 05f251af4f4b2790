"""Prompt weights and long prompts, against AUTOMATIC1111's arithmetic written out in NumPy."""

import shlex

import numpy as np
import pytest
from click.testing import CliRunner

from checkpoints import random_weights
from mindone.diffusers import cli
from mindone.diffusers.jobs import Job, draw, draw_together
from mindone.diffusers.jobs.grouping import call_key
from mindone.diffusers.jobs.png import read_job
from mindone.diffusers.jobs.run import _warn_once
from mindone.diffusers.prompts import encode_prompt, parse_prompt
from mindone.diffusers.prompts.pieces import pieces_of
from tiny_pipelines import checkpoint, images_of, load, sharing

WEIGHED = "a (red:1.3) cat, [sitting] on ((a mat))"
LONG = "a red cat sitting on a mat, " * 10

# ---- the syntax ------------------------------------------------------------------------------------------------------

PARSED = {
    "normal text": [("normal text", 1.0)],
    "": [("", 1.0)],
    "(cat)": [("cat", 1.1)],
    "[cat]": [("cat", 1 / 1.1)],
    "(cat:1.3)": [("cat", 1.3)],
    "(cat: 1.3 )": [("cat", 1.3)],
    "(cat:-.5)": [("cat", -0.5)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "(unbalanced": [("unbalanced", 1.1)],
    "[(unbalanced": [("unbalanced", 1.1 * (1 / 1.1))],
    "a) cat] :1.3)": [("a) cat] :1.3)", 1.0)],
    "a: cat": [("a: cat", 1.0)],
    r"\(literal\]": [("(literal]", 1.0)],
    r"(a \(b\):1.2)": [("a (b)", 1.2)],
    r"a \\ b \c": [(r"a \ b c", 1.0)],
    "(a [b) c]": [("a ", 1.1), ("b", 1.1 * (1 / 1.1)), (" c", 1 / 1.1)],
    "a  BREAK\nb": [("a", 1.0), ("BREAK", -1.0), ("b", 1.0)],
    "BREAKING a": [("BREAKING a", 1.0)],
    "(a BREAK b:1.2)": [("a", 1.2), ("BREAK", -1.2), ("b", 1.2)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0),
        ("house", 1.3 * 1.1 * 1.1),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.5 * 1.1),
        (", sun, ", 1.1),
        ("sky", 1.1**4),
        (".", 1.1),
    ],
}


@pytest.mark.parametrize("prompt", PARSED)
def test_prompts_are_parsed_as_the_web_user_interface_does(prompt):
    parsed = parse_prompt(prompt)
    assert [part.text for part in parsed] == [text for text, _ in PARSED[prompt]]
    np.testing.assert_allclose([part.weight for part in parsed], [weight for _, weight in PARSED[prompt]], rtol=1e-15)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a [cat:dog:0.5]", "prompt has prompt editing, '[cat:dog:0.5]'"),
        ("a [(cat:1.1):10]", "prompt has prompt editing, '[(cat:1.1):10]'"),
        ("a [cat|dog] and", "prompt has alternation, '[cat|dog]'"),
        ("a (cat:1.2.3)", "prompt has the weight '1.2.3'"),
        ("(" * 10_000 + "cat", "prompt has weights that no number can hold"),
        ("a" * 50_001, "prompt has 50001 characters"),
        ("a cat AND a dog", "prompt joins several with AND"),
        ("a cat BREAK " * 41, "prompt has more than 40 pieces of 75 tokens"),
        ("(cat:1" + "0" * 308 + ")", "prompt has weights whose embeddings are not finite"),
    ],
)
def test_what_cannot_be_honoured_is_refused_in_one_line(prompt, said):
    with pytest.raises(ValueError) as refusal:
        encode_prompt(sharing("bk_sdm"), prompt)
    assert str(refusal.value).startswith(said) and "\n" not in str(refusal.value) and len(str(refusal.value)) < 200


def test_bars_and_colons_outside_square_brackets_are_text():
    assert parse_prompt("a|b (c|d) 4:30") == [("a|b ", 1.0), ("c|d", 1.1), (" 4:30", 1.0)]


# ---- pieces ----------------------------------------------------------------------------------------------------------


def lengths(pipe, prompt):
    return [len(piece.ids) for piece in pieces_of(prompt, pipe.text_towers[0])]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("cat " * 75, [75]),
        ("cat " * 76, [75, 1]),
        ("cat " * 55 + ", " + "cat " * 30, [56, 30]),  # the comma is the 20th token from the end of a full piece
        ("cat " * 54 + ", " + "cat " * 30, [75, 10]),
        ("cat " * 74 + ", cat", [75, 1]),
        ("cat " * 75 + ", cat", [75, 2]),  # a comma itself begins the next piece
        ("cat BREAK red cat", [1, 2]),
        ("BREAK cat", [0, 1]),
        ("cat BREAK", [1]),
        ("(cat:1.2) " * 80, [75, 5]),
    ],
)
def test_pieces_end_at_75_tokens_after_a_near_comma_or_at_a_break(prompt, expected):
    assert lengths(sharing("bk_sdm"), prompt) == expected


# ---- embeddings ------------------------------------------------------------------------------------------------------


def hidden_states(engine, network, ids, skip, norm):
    """What leaves the text encoder ``skip`` layers before its last one, (77, channels)."""
    x = engine.numpy(engine.run(network, np.array([ids]), method="layer_states")[-1 - skip])[0].astype(np.float64)
    if not norm:
        return x
    scale, shift = (network.array(f"text_model.final_layer_norm.{name}") for name in ("weight", "bias"))
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + shift


def definition(engine, network, tokenizer, pieces, skip, norm):
    """AUTOMATIC1111's embeddings of pieces, each a list of (text, weight): z·w, with the mean of z."""
    embeds = []
    for piece in pieces:
        ids, weights = [tokenizer.bos_token_id], [1.0]
        for text, weight in piece:
            tokens = tokenizer.encode(text, add_special_tokens=False)
            ids, weights = ids + tokens, weights + [weight] * len(tokens)
        ids, weights = [*ids, tokenizer.eos_token_id], [*weights, 1.0]
        ids += [tokenizer.pad_token_id] * (77 - len(ids))
        z = hidden_states(engine, network, ids, skip, norm)
        weighted = z * np.array(weights + [1.0] * (77 - len(weights)))[:, None]
        embeds.append(weighted * (z.mean() / weighted.mean()))
    return np.concatenate(embeds)


PROMPT, NEGATIVE = "a (red:1.3) cat BREAK [sitting] on ((a mat))", "(cat:0.4)"
PIECES = [
    [("a ", 1.0), ("red", 1.3), (" cat", 1.0)],
    [("sitting", 1 / 1.1), (" on ", 1.0), ("a mat", 1.21)],
]
NEGATIVE_PIECES = [[("cat", 0.4)], []]


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
@pytest.mark.parametrize("clip_skip", [None, 1])
@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_embeddings_are_those_of_the_definition(family, clip_skip, engine):
    pipe = sharing(family, engine)
    given = encode_prompt(pipe, PROMPT, NEGATIVE, clip_skip=clip_skip)
    towers = [(pipe.text_encoder, pipe.tokenizer)]
    towers += [(pipe.text_encoder_2, pipe.tokenizer_2)] if family == "sdxl" else []
    skip, norm = (clip_skip or 0) + (family == "sdxl"), family != "sdxl"
    for name, pieces in (("prompt_embeds", PIECES), ("negative_prompt_embeds", NEGATIVE_PIECES)):
        expected = np.concatenate([definition(pipe.engine, *tower, pieces, skip, norm) for tower in towers], axis=-1)
        found = pipe.engine.numpy(given[name])
        assert found.shape == (1, 154, expected.shape[-1])
        np.testing.assert_allclose(found[0], expected, atol=1e-5)
    if family == "sdxl":
        pooled = pipe.text_encoder_2(pipe.tokenizer_2("a red cat")).text_embeds
        np.testing.assert_allclose(pipe.engine.numpy(given["pooled_prompt_embeds"]), pooled, atol=1e-5)


def test_the_padding_of_the_second_encoder_of_xl_is_its_tokenizers_own():
    pipe = sharing("sdxl")
    assert pipe.tokenizer_2.pad_token_id != pipe.tokenizer.pad_token_id
    first, second = pipe.text_towers
    assert first.framed([5])[-1] == first.framed([5])[2] == pipe.tokenizer.eos_token_id
    assert second.framed([5])[2:4] == [pipe.tokenizer_2.eos_token_id, pipe.tokenizer_2.pad_token_id]


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_a_weight_of_one_is_no_weight_and_short_prompts_draw_as_ever(family):
    pipe = sharing(family)
    embeds = encode_prompt(pipe, "a (red:1.0) cat", "blue")
    for name, array in encode_prompt(pipe, "a red cat", "blue").items():
        np.testing.assert_array_equal(array, embeds[name])
    drawn = images_of(pipe, prompt=None, **embeds)
    np.testing.assert_allclose(drawn, images_of(pipe, prompt="a red cat", negative_prompt="blue"), atol=1e-4)


def test_without_a_negative_prompt_xl_stays_away_from_zeros():
    pipe = sharing("sdxl")
    embeds = encode_prompt(pipe, LONG)
    assert not embeds["negative_prompt_embeds"].any() and not embeds["negative_pooled_prompt_embeds"].any()
    pipe.register_to_config(force_zeros_for_empty_prompt=False)
    assert encode_prompt(pipe, LONG)["negative_prompt_embeds"].any()


def test_several_prompts_have_as_many_pieces_as_the_longest():
    pipe = sharing("bk_sdm")
    both = encode_prompt(pipe, ["a (cat)", LONG])["prompt_embeds"]
    assert both.shape[:2] == (2, 154)
    np.testing.assert_array_equal(both[:1, :77], encode_prompt(pipe, "a (cat)")["prompt_embeds"])
    np.testing.assert_array_equal(both[:1, 77:], encode_prompt(pipe, "")["prompt_embeds"])


@pytest.mark.parametrize("engine", ["openvino", pytest.param("mindspore", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_end_of_a_long_prompt_counts(family, engine):
    pipe = sharing(family, engine)
    one, other = (images_of(pipe, prompt=None, **encode_prompt(pipe, LONG + end)) for end in ("dog", "tree"))
    assert np.abs(one - other).mean() > 1e-5


def test_a_pipeline_with_guidance_built_in_gets_no_negative_embeddings():
    pipe = sharing("lcm")
    assert list(encode_prompt(pipe, LONG)) == ["prompt_embeds"]
    assert images_of(pipe, prompt=None, **encode_prompt(pipe, LONG)).shape == (1, 64, 64, 3)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_embeddings_of_another_length_need_negative_ones_of_that_length(family):
    pipe = sharing(family)
    embeds = encode_prompt(pipe, LONG, do_classifier_free_guidance=False)
    with pytest.raises(ValueError, match="prompt_embeds has 154 tokens but the text encoder gives 77; pass negative"):
        images_of(pipe, prompt=None, negative_prompt="blue", **embeds)


# ---- words that were learned -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_word_of_several_vectors_has_one_weight_and_one_piece(family):
    pipe = load(checkpoint(family))
    names = {"sd1": {"emb_params": 16}, "sdxl": {"clip_l": 16, "clip_g": 16}}[family]
    vectors = {
        name: random_weights({f"embedding {name}": (3, width)})[f"embedding {name}"] for name, width in names.items()
    }
    plain = encode_prompt(pipe, "a cat")
    pipe.load_textual_inversion(vectors, token="EasyWord")
    for tower in pipe.text_towers:
        (piece,) = pieces_of("a (easyWORD:1.3) cat", tower)
        assert piece.weights == [1.0, 1.3, 1.3, 1.3, 1.0]
        assert piece.ids[1:4] == [len(tower.tokenizer) - 3 + i for i in range(3)]
        assert [len(each.ids) for each in pieces_of("cat " * 73 + "EasyWord", tower)] == [73, 3]
    embeds = encode_prompt(pipe, "a (EasyWord:1.3) cat")
    spelled = pipe.maybe_convert_prompt("a EasyWord cat", pipe.tokenizer)
    assert spelled == "a EasyWord EasyWord_1 EasyWord_2 cat"
    pieces = [[("a", 1.0), (spelled[2:-4], 1.3), ("cat", 1.0)]]
    towers = [(tower.network, tower.tokenizer) for tower in pipe.text_towers]
    expected = [definition(pipe.engine, *tower, pieces, int(family == "sdxl"), family == "sd1") for tower in towers]
    np.testing.assert_allclose(embeds["prompt_embeds"][0], np.concatenate(expected, -1), atol=1e-5)
    np.testing.assert_allclose(encode_prompt(pipe, "a cat")["prompt_embeds"], plain["prompt_embeds"], atol=1e-6)
    if family == "sdxl":  # the end-of-text token is not the largest id any more
        second = pipe.text_towers[1]
        ids = second.framed(second.ids("a EasyWord cat"))
        last = hidden_states(pipe.engine, second.network, ids, skip=0, norm=True)[
            ids.index(second.tokenizer.eos_token_id)
        ]
        pooled = second.network.array("text_projection.weight") @ last
        np.testing.assert_allclose(embeds["pooled_prompt_embeds"][0], pooled, atol=1e-5)


# ---- jobs and the command line ---------------------------------------------------------------------------------------


def test_a_job_with_weights_draws_what_the_embeddings_draw():
    pipe = sharing("bk_sdm")
    job = Job(prompt=WEIGHED, negative_prompt="(blue)", prompt_weights=True, model="x", steps=2, seed=5, clip_skip=1)
    noise = [np.random.Generator(np.random.PCG64(5))]
    embeds = encode_prompt(pipe, WEIGHED, "(blue)", clip_skip=1)
    expected = pipe(**embeds, num_inference_steps=2, generator=noise).images[0]
    np.testing.assert_array_equal(np.asarray(draw(pipe, job)[0]), np.asarray(expected))
    assert call_key(job) == job  # padded for a longer prompt beside it, it would be another picture
    assert [len(images) for images in draw_together(pipe, [job, job])] == [1, 1]
    with pytest.raises(ValueError, match="negative_prompt has the weight"):
        job.changed(negative_prompt="(a:1.2.3)")


def test_the_command_line_reads_weights_and_gives_the_command_back(tmp_path, caplog):
    def run(*words):
        result = CliRunner().invoke(cli.main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    file = tmp_path / "cat.png"
    options = ("--model", checkpoint("bk_sdm"), "--steps", 2, "--seed", 5, "--engine", "openvino", "--dtype", "float32")
    run("generate", WEIGHED, "--prompt-weights", *options, "-o", file)
    assert read_job(file).prompt_weights
    assert "--prompt-weights" in shlex.split(run("info", file).splitlines()[-1])
    _warn_once.cache_clear()
    run("generate", "a (cat) [red]", *options, "-o", tmp_path / "brackets.png")
    assert not caplog.messages
    run("generate", WEIGHED, *options, "-o", tmp_path / "text.png")
    assert caplog.messages == ["weights such as (cat:1.3) in prompt are read as text without prompt_weights"]
    assert file.read_bytes() != (tmp_path / "text.png").read_bytes()
    caplog.clear()
    run("generate", "a <lora:style:0.7>", *options, "-o", tmp_path / "lora.png")
    said = "<lora:style:0.7> in prompt is read as text; give the file as a LoRA: --lora FILE:WEIGHT"
    assert caplog.messages == [said]
