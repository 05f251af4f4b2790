"""The kinds of LoRA files beside the low-rank one: what each adds to a weight, by its definition written out."""

import numpy as np
import pytest

from lora_cases import kohya, layers, networks, read_lora, stored
from mindone.diffusers.engines.binding import InMemory, bind
from tiny_pipelines import checkpoint, images_of, load

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
GATED = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj"
CONVOLUTION = "down_blocks.0.resnets.0.conv1"
UPSAMPLER = "up_blocks.0.upsamplers.0.conv"
NORM = "down_blocks.0.resnets.0.norm1"
TEXT = "text_model.encoder.layers.0.mlp.fc1"
ALPHA, RANK = 3.0, 2
ENCODERS = {"sd1": {"text_encoder": "emb_params"}, "sdxl": {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}}


def drawn(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32) / 3


def flat(module):
    return f"lora_unet_{module.replace('.', '_')}"


def shape_of(module, component="unet"):
    return networks("bk_sdm")[component][f"{module}.weight"]


def factors(size):
    """Two factors of a size, the first one small."""
    small = next(i for i in (4, 3, 2, 1) if size % i == 0)
    return small, size // small


def loha(module):
    """Tensors of LoHa, and what they add: the element-wise product of two low-rank matrices."""
    out, rest = shape_of(module)[0], int(np.prod(shape_of(module)[1:]))
    a1, b1, a2, b2 = drawn(out, RANK), drawn(RANK, rest), drawn(out, RANK, seed=1), drawn(RANK, rest, seed=1)
    tensors = {"hada_w1_a": a1, "hada_w1_b": b1, "hada_w2_a": a2, "hada_w2_b": b2, "alpha": np.float32(ALPHA)}
    return tensors, (ALPHA / RANK * (a1 @ b1) * (a2 @ b2)).reshape(shape_of(module))


def loha_with_cores(module):
    """LoHa of convolutions: each matrix is a core of the kernel's size between two factors (Tucker 1966)."""
    out, into, *kernel = shape_of(module)
    tensors, products = {"alpha": np.float32(ALPHA)}, []
    for i in (1, 2):
        core, a, b = drawn(RANK, RANK, *kernel, seed=i), drawn(RANK, out, seed=i), drawn(RANK, into, seed=i)
        tensors |= {f"hada_t{i}": core, f"hada_w{i}_a": a, f"hada_w{i}_b": b}
        products.append(np.einsum("mnkl,mo,ni->oikl", core, a, b))
    return tensors, ALPHA / RANK * products[0] * products[1]


def lokr(module, first="whole", second="whole"):
    """LoKr: blocks of the second factor, each times one number of the first."""
    (a, b), (c, d) = factors(shape_of(module)[0]), factors(shape_of(module)[1])
    kernel = shape_of(module)[2:]
    w1, w2 = drawn(a, c), drawn(b, d, *kernel)
    tensors, scale = {"alpha": np.float32(ALPHA)}, 1.0
    if first == "product":
        left, right = drawn(a, RANK), drawn(RANK, c)
        tensors |= {"lokr_w1_a": left, "lokr_w1_b": right}
        w1, scale = left @ right, ALPHA / RANK
    else:
        tensors["lokr_w1"] = w1
    if second == "product":
        left, right = drawn(b, RANK + 1), drawn(RANK + 1, d * int(np.prod(kernel)))
        tensors |= {"lokr_w2_a": left, "lokr_w2_b": right}
        w2, scale = (left @ right).reshape(b, d, *kernel), ALPHA / (RANK + 1)
    elif second == "core":
        core, left, right = drawn(RANK, RANK, *kernel), drawn(RANK, b), drawn(RANK, d)
        tensors |= {"lokr_t2": core, "lokr_w2_a": left, "lokr_w2_b": right}
        w2, scale = np.einsum("mnkl,mo,ni->oikl", core, left, right), ALPHA / RANK
    else:
        tensors["lokr_w2"] = w2
    return tensors, scale * np.concatenate(
        [np.concatenate([w1[i, j] * w2 for j in range(c)], axis=1) for i in range(a)], axis=0
    )


def low_rank(module):
    out, into, *kernel = shape_of(module)
    up, down = drawn(out, RANK), drawn(RANK, into, *kernel)
    tensors = {"lora_up.weight": up, "lora_down.weight": down, "alpha": np.float32(ALPHA)}
    return tensors, ALPHA / RANK * np.einsum("or,ri...->oi...", up, down)


def whole(module):
    difference = drawn(*shape_of(module))
    return {"diff": difference}, difference


KINDS = {
    "LoHa": (loha, LINEAR),
    "LoHa, convolution": (loha, CONVOLUTION),
    "LoHa, cores": (loha_with_cores, CONVOLUTION),
    "LoKr": (lokr, LINEAR),
    "LoKr, convolution": (lokr, CONVOLUTION),
    "LoKr, products": (lambda module: lokr(module, "product", "product"), GATED),
    "LoKr, a product": (lambda module: lokr(module, "product"), LINEAR),
    "LoKr, convolution's product": (lambda module: lokr(module, "whole", "product"), CONVOLUTION),
    "LoKr, core": (lambda module: lokr(module, "product", "core"), UPSAMPLER),
    "whole": (whole, CONVOLUTION),
    "whole, norm": (whole, NORM),
}


def change_of(tensors, module, component="unet"):
    named = {f"{flat(module)}.{name}": tensor for name, tensor in tensors.items()}
    return read_lora(stored(named), networks("bk_sdm"))[component][f"{module}.weight"]


@pytest.mark.parametrize("kind, module", KINDS.values(), ids=KINDS)
def test_a_kind_adds_what_it_is_defined_to_add(kind, module):
    tensors, expected = kind(module)
    change = change_of(tensors, module)
    for strength in (1.0, 0.3):
        found = change.difference(np.ones(shape_of(module), np.float32), strength)
        np.testing.assert_allclose(found, strength * expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [low_rank, loha, lokr])
@pytest.mark.parametrize("module", [GATED, CONVOLUTION])
@pytest.mark.parametrize("axis", ["inputs", "outputs"])
def test_dora_gives_the_changed_weight_a_magnitude(kind, module, axis):
    """W' = m·(W + ΔW) / ‖W + ΔW‖; the user's strength weighs W' − W, as in the web interfaces."""
    tensors, difference = kind(module)
    base = drawn(*shape_of(module), seed=9)
    out, into = shape_of(module)[:2]
    ones = (1,) * (base.ndim - 2)
    magnitude = 1 + drawn(*((1, into) if axis == "inputs" else (out, 1)), *ones)
    over = tuple(i for i in range(base.ndim) if i != (1 if axis == "inputs" else 0))
    expected = magnitude * (base + difference) / np.sqrt(((base + difference) ** 2).sum(over, keepdims=True))
    change = change_of({**tensors, "dora_scale": magnitude}, module)
    for strength in (1.0, 0.3):
        np.testing.assert_allclose(
            base + change.difference(base, strength), base + strength * (expected - base), rtol=1e-4, atol=1e-5
        )


def test_a_magnitude_of_pefts_is_of_outputs_and_has_the_strength_under_its_norm():
    tensors, difference = low_rank(LINEAR)
    base, magnitude = drawn(*shape_of(LINEAR), seed=9), 1 + drawn(shape_of(LINEAR)[0])
    change = change_of({**tensors, "lora_magnitude_vector": magnitude}, LINEAR)
    for strength in (1.0, 0.3, 0.0):
        changed = base + strength * difference
        expected = magnitude[:, None] * changed / np.linalg.norm(changed, axis=1, keepdims=True)
        np.testing.assert_allclose(base + change.difference(base, strength), expected, rtol=1e-4, atol=1e-5)


def test_biases_and_several_changes_of_one_weight_add_up():
    product, first = low_rank(CONVOLUTION)
    second = drawn(*shape_of(CONVOLUTION), seed=2)
    ups = drawn(shape_of(CONVOLUTION)[0], seed=3)
    own = drawn(shape_of(CONVOLUTION)[0], seed=4)
    named = {**product, "diff": second, "diff_b": own, "lora_up.bias": ups}
    named = {f"{flat(CONVOLUTION)}.{name}": tensor for name, tensor in named.items()}
    found = read_lora(stored(named), networks("bk_sdm"))["unet"]
    weight, bias = found[f"{CONVOLUTION}.weight"], found[f"{CONVOLUTION}.bias"]
    base = np.zeros(shape_of(CONVOLUTION), np.float32)
    np.testing.assert_allclose(weight.difference(base, 0.5), 0.5 * (first + second), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias.difference(base[:, 0, 0, 0], 0.5), 0.5 * (own + ALPHA / RANK * ups), rtol=1e-5)


@pytest.mark.parametrize(
    "tensors, message",
    [
        ({"hada_w1_a": drawn(8, 2)}, "has hada_w1_a but needs hada_w1_a and hada_w1_b and hada_w2_a and hada_w2_b"),
        ({"lokr_w1": drawn(2, 2), "lokr_w2_b": drawn(2, 2)}, "but needs lokr_w2_a and lokr_w2_b"),
        ({"lokr_w1": drawn(3, 3), "lokr_w2": drawn(3, 3)}, "of another base: .*to_q.weight of 8×8 has 3×3 and 3×3"),
        ({"dora_scale": drawn(8, 1)}, "has dora_scale but needs down and up"),
        ({"diff": drawn(4, 16)}, "of another base: .* of 8×8 has 4×16"),
        (
            {**low_rank(LINEAR)[0], "alpha": drawn(0)},
            "alpha must be one finite number, but is not for 'down_blocks_0",
        ),
        (
            {**low_rank(LINEAR)[0], "alpha": np.float64(1e300 * 1e10)},
            "alpha must be one finite number, but is not for 'down_blocks_0",
        ),
        (
            {**loha(LINEAR)[0], "hada_t1": drawn(999, 1, 1, 1), "hada_w1_a": drawn(999, 8), "hada_w1_b": drawn(1, 8)},
            "of another base: .* has 999×8 and 1×8",  # a core of more ranks than the weight has sides would be costly
        ),
    ],
    ids=["half", "half a factor", "sizes", "magnitude alone", "whole", "no alpha", "endless alpha", "core"],
)
def test_what_does_not_fit_a_kind_is_named(tensors, message):
    with pytest.raises(ValueError, match=message):
        change_of(tensors, LINEAR)


def test_names_of_text_encoders_and_of_comfyui():
    """OneTrainer writes ``clip_l.``, ComfyUI ``diffusion_model.`` and ``text_encoders.clip_l.transformer.``."""
    out, into = networks("sdxl")["text_encoder"][f"{TEXT}.weight"]
    pair = {"lora_down.weight": drawn(RANK, into), "lora_up.weight": drawn(out, RANK)}
    for prefix, component in (
        ("clip_l", "text_encoder"),
        ("clip_g", "text_encoder_2"),
        ("text_encoders.clip_l.transformer", "text_encoder"),
        ("text_encoders.clip_g.transformer", "text_encoder_2"),
    ):
        named = {f"{prefix}.{TEXT}.{name}": tensor for name, tensor in pair.items()}
        assert list(read_lora(stored(named), networks("sdxl"))[component]) == [f"{TEXT}.weight"]
    norm = "diffusion_model.input_blocks.1.0.in_layers.0"
    found = read_lora(stored({f"{norm}.diff": drawn(8), f"{norm}.diff_b": drawn(8)}), networks("bk_sdm"))
    assert list(found["unet"]) == [f"{NORM}.weight", f"{NORM}.bias"]


# ---- on pipelines ----------------------------------------------------------------------------------------------------


def file_of(*cases):
    """A file of several layers, and the differences of their weights."""
    tensors, differences = {}, {}
    for kind, module in cases:
        named, differences[f"{module}.weight"] = kind(module)
        tensors |= {f"{flat(module)}.{name}": tensor for name, tensor in named.items()}
    return tensors, differences


EVERY_PLACE = [(lokr, LINEAR), (loha, GATED), (loha_with_cores, CONVOLUTION), (lokr, UPSAMPLER), (whole, NORM)]


def changed_by_hand(differences, strength=1.0):
    """The images of a pipeline whose weights were changed before it was compiled."""
    pipe = load(checkpoint("bk_sdm"))
    parameters = pipe.unet.published_parameters()
    for name, difference in differences.items():
        bind(parameters[name], InMemory((pipe.unet.array(name) + strength * difference).astype(np.float32)))
    return images_of(pipe)


def close(a, b):
    return float(np.abs(a - b).mean()) < 1e-4


@pytest.mark.heavy
@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_other_kinds_draw_as_changed_weights_do(engine):
    tensors, differences = file_of(*EVERY_PLACE)
    pipe = load(checkpoint("bk_sdm"), engine=engine)
    plain = images_of(pipe)
    pipe.load_lora_weights(tensors, adapter_name="one")
    assert not close(images_of(pipe), plain)
    for strength in (1.0, 0.4):
        pipe.set_adapters("one", strength)
        assert close(images_of(pipe), changed_by_hand(differences, strength))
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(images_of(pipe), plain)


def test_other_kinds_are_switched_without_compiling_and_go_beside_low_rank_ones():
    tensors, _ = file_of(*EVERY_PLACE)
    modules = layers("bk_sdm", "unet", ("attn1.to_q", "conv1"))
    pipe = load(checkpoint("bk_sdm"))
    pipe.load_lora_weights(tensors, adapter_name="other")
    pipe.load_lora_weights(kohya("bk_sdm", {"unet": modules}), adapter_name="low")
    images_of(pipe)
    graphs = list(pipe.unet.graphs._graphs.values())
    pipe.set_adapters(["other", "low"], [0.5, 0.8])
    both = images_of(pipe)
    half = images_of(pipe, cross_attention_kwargs={"scale": 0.5})
    pipe.set_adapters(["other", "low"], [0.25, 0.4])
    assert close(images_of(pipe), half) and not close(half, both)
    pipe.disable_lora()
    assert close(images_of(pipe), images_of(load(checkpoint("bk_sdm"))))
    assert all(a is b for a, b in zip(graphs, pipe.unet.graphs._graphs.values(), strict=True))


def test_a_strength_changes_on_openvino_after_mindspore_ran_with_another():
    tensors, differences = file_of(*EVERY_PLACE)
    pipe = load(checkpoint("bk_sdm"), engine="mindspore")
    pipe.load_lora_weights(tensors, adapter_name="one")
    for pipe.engine in ("mindspore", "openvino"):
        images_of(pipe, num_inference_steps=1, output_type="latent")
    pipe.set_adapters("one", 0.4)
    assert close(images_of(pipe), changed_by_hand(differences, 0.4))


def test_other_kinds_fuse_and_come_off_bit_for_bit(tmp_path):
    tensors, _ = file_of(*EVERY_PLACE)
    magnitude = {f"{flat(GATED)}.dora_scale": 1 + drawn(1, shape_of(GATED)[1])}
    pipe = load(checkpoint("bk_sdm"))
    plain = images_of(pipe)
    before = {name: pipe.unet.array(name) for name in pipe.unet.published_parameters()}
    pipe.load_lora_weights({**tensors, **magnitude}, adapter_name="one")
    unfused = images_of(pipe, cross_attention_kwargs={"scale": 0.5})
    assert all(np.array_equal(pipe.unet.array(name), values) for name, values in before.items())  # what is saved
    pipe.fuse_lora(lora_scale=0.5)
    assert close(images_of(pipe), unfused) and not close(unfused, plain)
    pipe.unfuse_lora()
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(images_of(pipe), plain)
    assert all(np.array_equal(pipe.unet.array(name), values) for name, values in before.items())


@pytest.mark.parametrize("family", ["sd1", pytest.param("sdxl", marks=pytest.mark.heavy)])
def test_words_that_come_with_a_lora_are_known_as_long_as_it_is(family):
    """OneTrainer's ``bundle_emb``: images are those of the LoRA and the textual inversion from files of their own."""
    widths = {
        name: networks(family)[name]["text_model.embeddings.token_embedding.weight"][1] for name in ENCODERS[family]
    }
    vectors = {part: drawn(2, widths[name]) for name, part in ENCODERS[family].items()}
    plain = kohya(family, {"unet": layers(family, "unet", ("attn2.to_k",))})
    expected = load(checkpoint(family))
    expected.load_lora_weights(plain)
    expected.load_textual_inversion(vectors, token="<wool>")
    pipe = load(checkpoint(family))
    before = images_of(pipe, prompt="a <wool> cat")
    bundled = {f"bundle_emb.<wool>.{part}": tensor for part, tensor in vectors.items()}
    pipe.load_lora_weights({**plain, **bundled}, adapter_name="one")
    np.testing.assert_array_equal(images_of(pipe, prompt="a <wool> cat"), images_of(expected, prompt="a <wool> cat"))
    with pytest.raises(ValueError, match="knows '<wool>' already"):
        pipe.load_lora_weights({**plain, **bundled}, adapter_name="two")
    assert pipe.get_list_adapters() == {"unet": ["one"]}
    pipe.delete_adapters("one")
    np.testing.assert_array_equal(images_of(pipe, prompt="a <wool> cat"), before)
