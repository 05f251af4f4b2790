"""LoRA files in every spelling, and what is refused."""

import json

import numpy as np
import pytest

from lora_cases import RANK, kohya, layers, networks, open_lora, original_layer, pair, read_lora, stored
from mindone.diffusers.adapters.lora_configs import METADATA, PEFT_CONFIG, PEFT_FILE
from mindone.diffusers.adapters.loras import component_weight
from mindone.diffusers.families.stable_diffusion.adapters import LORA, by_block
from mindone.diffusers.loading.safetensors import StoredTensor, save_file

QUERY = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"
NUMBERED = "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0"
TEXT = "text_model.encoder.layers.0.self_attn.out_proj"


def read(tensors, family="sd1", metadata=None):
    return read_lora(stored(tensors), networks(family), metadata)


@pytest.mark.parametrize(
    "component, module, down_name, up_name",
    [
        ("unet", OUT, f"unet.{OUT}.lora_A.weight", f"unet.{OUT}.lora_B.weight"),
        ("unet", OUT, f"unet.{OUT}.lora_A.default.weight", f"unet.{OUT}.lora_B.default.weight"),
        ("unet", OUT, f"unet.{OUT}.lora.down.weight", f"unet.{OUT}.lora.up.weight"),
        ("unet", OUT, f"{OUT}.lora_A.weight", f"{OUT}.lora_B.weight"),
        ("unet", OUT, f"unet.{NUMBERED}.lora_down.weight", f"unet.{NUMBERED}.lora_up.weight"),
        ("unet", OUT, f"diffusion_model.{NUMBERED}.lora_down.weight", f"diffusion_model.{NUMBERED}.lora_up.weight"),
        ("unet", OUT, f"base_model.model.{OUT}.lora_A.weight", f"base_model.model.{OUT}.lora_B.weight"),
        (
            "unet",
            OUT,
            OUT.replace("to_out.0", "processor.to_out_lora.down.weight"),
            OUT.replace("to_out.0", "processor.to_out_lora.up.weight"),
        ),
        ("text_encoder", TEXT, f"text_encoder.{TEXT}.lora_A.weight", f"text_encoder.{TEXT}.lora_B.weight"),
        (
            "text_encoder",
            TEXT,
            f"text_encoder.{TEXT}.lora_linear_layer.down.weight",
            f"text_encoder.{TEXT}.lora_linear_layer.up.weight",
        ),
        (
            "text_encoder",
            TEXT,
            f"text_encoder.{TEXT}".replace("out_proj", "to_out_lora.down.weight"),
            f"text_encoder.{TEXT}".replace("out_proj", "to_out_lora.up.weight"),
        ),
    ],
)
def test_every_spelling_means_the_same_layer(component, module, down_name, up_name):
    down, up = pair(networks("sd1")[component][f"{module}.weight"], module)
    lora = read({down_name: down, up_name: up})
    assert list(lora) == [component]
    (name, layer), *others = lora[component].items()
    assert not others
    assert name == f"{module}.weight"
    assert np.array_equal(layer.down.numpy(), down)
    assert np.array_equal(layer.up.numpy(), up)
    assert (layer.rank, layer.alpha) == (RANK, RANK)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("numbering", ["ours", "original"])
def test_both_numberings_of_blocks_reach_every_layer(family, numbering):
    modules = {component: layers(family, component, ("",)) for component in networks(family)}
    modules = {c: [m for m in names if "embeddings" not in m] for c, names in modules.items()}
    lora = read(kohya(family, modules, numbering), family)
    assert {c: {f"{m}.weight" for m in names} for c, names in modules.items()} == {c: set(lora[c]) for c in lora}
    assert all(layer.scale == pytest.approx(2 / RANK) for found in lora.values() for layer in found.values())


def test_a_convolutions_update_has_its_kernel():
    module = "down_blocks.0.resnets.0.conv1"
    shape = networks("sd1")["unet"][f"{module}.weight"]
    lora = read(kohya("sd1", {"unet": [module]}, alpha=RANK))
    layer = lora["unet"][f"{module}.weight"]
    down, up = pair(shape, module)
    expected = np.einsum("orab,rikl->oikl", up, down)
    assert layer.down.shape == (RANK, *shape[1:])
    np.testing.assert_allclose(layer.update(), expected, rtol=0, atol=1e-6)  # float32 sums of three terms


def test_a_convolution_in_three_parts_is_folded():
    module, flat = "down_blocks.0.resnets.0.conv1", "lora_unet_down_blocks_0_resnets_0_conv1"
    out, into, *kernel = networks("sd1")["unet"][f"{module}.weight"]
    rng = np.random.default_rng(0)
    down, mid, up = (
        rng.standard_normal(s).astype(np.float32)
        for s in ((RANK, into, 1, 1), (RANK, RANK, *kernel), (out, RANK, 1, 1))
    )
    lora = read({f"{flat}.lora_down.weight": down, f"{flat}.lora_mid.weight": mid, f"{flat}.lora_up.weight": up})
    expected = np.einsum("on,nmkl,mi->oikl", up[..., 0, 0], mid, down[..., 0, 0])
    np.testing.assert_allclose(lora["unet"][f"{module}.weight"].update(), expected, rtol=0, atol=1e-5)


def test_matrices_and_1x1_convolutions_stand_for_each_other():
    module = "down_blocks.0.attentions.0.proj_in"
    for family, kernel in (("sd1", (1, 1)), ("sd2", ())):
        shape = networks(family)["unet"][f"{module}.weight"]
        assert shape[2:] == kernel
        for spelled in ((RANK, shape[1]), (RANK, shape[1], 1, 1)):
            tensors = {
                "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": np.ones(spelled, np.float32),
                "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": np.ones((shape[0], RANK), np.float32),
            }
            layer = read(tensors, family)["unet"][f"{module}.weight"]
            assert layer.update().shape == shape


def test_tensors_are_views_of_the_file(tmp_path):
    save_file(kohya("sd1", {"unet": [QUERY]}), tmp_path / "lora.safetensors")
    layer = open_lora(tmp_path / "lora.safetensors", networks("sd1"))["unet"][f"{QUERY}.weight"]
    assert not any(t.data.flags.owndata or t.data.flags.writeable for t in (layer.down, layer.up))


def test_a_file_with_both_numberings_counts_once():
    ours = kohya("sd1", {"unet": [QUERY]}, "ours")
    original = {name: tensor + 1 for name, tensor in kohya("sd1", {"unet": [QUERY]}, "original").items()}
    for both in ({**ours, **original}, {**original, **ours}):
        layer = read(both)["unet"][f"{QUERY}.weight"]
        assert np.array_equal(layer.down.numpy(), pair(networks("sd1")["unet"][f"{QUERY}.weight"], QUERY)[0])


def test_alpha_is_read_from_pefts_config():
    down, up = pair(networks("sd1")["unet"][f"{QUERY}.weight"], QUERY)
    tensors = {f"unet.{QUERY}.lora_A.weight": down, f"unet.{QUERY}.lora_B.weight": up}

    def alpha(**config):
        metadata = {METADATA: json.dumps({f"unet.{name}": value for name, value in config.items()})}
        return read(tensors, metadata=metadata)["unet"][f"{QUERY}.weight"].alpha

    assert alpha(r=RANK, lora_alpha=6) == 6
    assert alpha(r=RANK, lora_alpha=6, alpha_pattern={"attn1.to_q": 12}) == 12
    assert alpha(r=RANK, lora_alpha=6, use_rslora=True) == pytest.approx(6 * RANK**0.5)
    with pytest.raises(ValueError, match=r"has modules_to_save, which is not supported"):
        alpha(modules_to_save=["conv_in"])


def test_the_rank_under_the_root_is_the_layers_own():
    """``rank_pattern`` gives layers other ranks than ``r``; rank-stabilised LoRA divides by the root of theirs."""
    tensors = kohya("sd1", {"unet": [QUERY]})
    tensors = {
        f"unet.{QUERY}.lora_{part}.weight": tensors[f"lora_unet_{QUERY.replace('.', '_')}.lora_{old}.weight"]
        for part, old in (("A", "down"), ("B", "up"))
    }
    config = {"unet.r": 99, "unet.lora_alpha": 6, "unet.use_rslora": True, "unet.rank_pattern": {"attn1.to_q": RANK}}
    layer = read(tensors, metadata={METADATA: json.dumps(config)})["unet"][f"{QUERY}.weight"]
    assert layer.scale == pytest.approx(6 / RANK**0.5)


def peft_folder(folder, component="unet", module=QUERY, **config):
    """A folder as ``PeftModel.save_pretrained`` leaves it."""
    down, up = pair(networks("sd1")[component][f"{module}.weight"], module)
    named = {f"base_model.model.{module}.lora_A.weight": down, f"base_model.model.{module}.lora_B.weight": up}
    save_file(named, folder / PEFT_FILE)
    config = {"peft_type": "LORA", "r": RANK, "bias": "none", "init_lora_weights": True, **config}
    (folder / PEFT_CONFIG).write_text(json.dumps(config))
    return folder / PEFT_FILE


@pytest.mark.parametrize(
    "patterns, alpha",
    [
        ({}, 12),
        ({"to_q": 5}, 5),
        ({"attn2.to_q": 5}, 12),
        ({"o_q": 5}, 12),
        (r"^down_blocks.*\.to_q", 5),
        ({"to_.": 5, "to_q": 6}, 5),
        ({"to_q": 6, "to_.": 5}, 6),
        ({r"attn1\.to_q$": 5}, 5),
        ({"^attn1.to_q": 5}, 12),
        ({f"^{QUERY}": 5}, 5),
        ({"[a-z": 5}, None),
    ],
    ids=str,
)
def test_a_folder_of_pefts_has_alpha_in_its_config(tmp_path, patterns, alpha):
    patterns = {patterns: 5} if isinstance(patterns, str) else patterns
    path = peft_folder(tmp_path, lora_alpha=12, alpha_pattern=patterns)
    if alpha is None:
        with pytest.raises(ValueError, match=r"alpha_pattern has '\[a-z', which names no known layers"):
            open_lora(path, networks("sd1"))
    else:
        assert open_lora(path, networks("sd1"))["unet"][f"{QUERY}.weight"].alpha == alpha


def test_a_file_may_name_every_layer_and_hold_few_regular_expressions(tmp_path):
    """A stranger's regular expressions are matched with the names of hundreds of layers."""
    names = {f"layer_{i}": 3 for i in range(1000)} | {"to_q": 5}
    path = peft_folder(tmp_path, lora_alpha=12, alpha_pattern=names)
    assert open_lora(path, networks("sd1"))["unet"][f"{QUERY}.weight"].alpha == 5
    for patterns, message in (
        ({f".*x{i}": 1 for i in range(17)}, "alpha_pattern has more than 16 regular expressions"),
        ({r"[\w.]*[\w.]*[\w.]*x": 1}, "which names no known layers"),
    ):
        with pytest.raises(ValueError, match=message):
            open_lora(peft_folder(tmp_path, lora_alpha=12, alpha_pattern=patterns), networks("sd1"))


def test_a_folder_of_pefts_says_its_network(tmp_path):
    """As peft names the class that it was trained on; without that, the tensors' names say it."""
    for mapping in (None, {"base_model_class": "CLIPTextModel"}):
        path = peft_folder(tmp_path, "text_encoder", TEXT, lora_alpha=4, auto_mapping=mapping)
        assert open_lora(path, networks("sd1"))["text_encoder"][f"{TEXT}.weight"].alpha == 4
    path = peft_folder(tmp_path, auto_mapping={"base_model_class": "LlamaModel"})
    with pytest.raises(ValueError, match="describes an adapter for 'LlamaModel'; supported: UNet2DConditionModel"):
        open_lora(path, networks("sd1"))
    path.with_name(PEFT_CONFIG).unlink()
    with pytest.raises(FileNotFoundError, match=r"no adapter_config\.json next to"):
        open_lora(path, networks("sd1"))


@pytest.mark.parametrize(
    "config, message",
    [
        ({"modules_to_save": ["conv_in"]}, "has modules_to_save"),
        ({"layer_replication": [[0, 4]]}, "has layer_replication"),
        ({"bias": "all"}, "has bias 'all'"),
        ({"peft_type": "VERA"}, "is of the peft_type 'VERA'"),
        ({"init_lora_weights": "pissa_niter_4"}, "'pissa_niter_4', which changes the base's weights"),
        ({"lora_alpha": "much"}, "the lora_alpha of .*to_q must be a finite number, got 'much'"),
        ({"lora_alpha": 10**400}, "the lora_alpha of .*to_q must be a finite number, got 1000"),
        ({"alpha_pattern": {"(a+)+b": 1}, "lora_alpha": 1}, r"alpha_pattern has '\(a\+\)\+b'"),
    ],
    ids=str,
)
def test_what_pefts_configs_ask_for_and_is_not_here_is_named(tmp_path, config, message):
    with pytest.raises(ValueError, match=message) as error:
        open_lora(peft_folder(tmp_path, **config), networks("sd1"))
    assert len(str(error.value)) < 500 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "extra, message",
    [
        ("lora_unet_x.oft_blocks", "is OFT"),
        ("lora_unet_x.on_input", r"is \(IA\)³"),
        (f"unet.{QUERY}.a1.weight", r"is GLoRA, which is not supported: it has 'unet.*a1.weight'"),
        (f"unet.{QUERY}.lora_B.bias", "1 of 4 keys fit nothing here"),  # the layer has no bias
    ],
)
def test_other_methods_are_refused_by_name(extra, message):
    tensors = kohya("sd1", {"unet": [QUERY]}) | {extra: np.ones((1, 1), np.float32)}
    with pytest.raises(ValueError, match=message):
        read(tensors)


def test_keys_that_fit_nothing_are_named_with_what_they_look_like():
    flux = {f"lora_unet_double_blocks_{i}_img_attn_qkv.lora_down.weight": np.ones((2, 2), np.float32) for i in range(6)}
    with pytest.raises(
        ValueError, match=r"6 of 6 keys fit nothing .*double_blocks_3.* and 2 more; they look like FLUX"
    ):
        read(flux)
    with pytest.raises(ValueError, match=r"they look like Stable Diffusion XL"):
        read(kohya("sdxl", {"text_encoder_2": ["text_model.encoder.layers.0.mlp.fc1"]}))


def test_a_lora_of_another_base_is_told_by_its_shapes():
    key = f"{QUERY}".replace("attn1.to_q", "attn2.to_k")
    flat = "lora_unet_" + key.replace(".", "_")
    tensors = {f"{flat}.lora_down.weight": np.ones((4, 2048)), f"{flat}.lora_up.weight": np.ones((8, 4))}
    message = rf"LoRA of another base, by its looks Stable Diffusion XL: {key}\.weight of 8×16 has 4×2048 and 8×4"
    with pytest.raises(ValueError, match=message):
        read({name: tensor.astype(np.float32) for name, tensor in tensors.items()})


def test_a_text_encoder_of_comfyuis_does_not_look_like_flux():
    """``transformer.`` begins the names of FLUX; ComfyUI has it within those of text encoders."""
    strange = {"text_encoders.clip_l.transformer.text_model.encoder.layers.77.mlp.fc1.lora_up.weight": np.ones((2, 2))}
    with pytest.raises(ValueError, match="1 of 1 keys fit nothing here") as error:
        read({name: tensor.astype(np.float32) for name, tensor in strange.items()})
    assert "FLUX" not in str(error.value)
    with pytest.raises(ValueError, match="they look like a transformer such as FLUX"):
        read({name.removeprefix("text_encoders.clip_l."): np.ones((2, 2), np.float32) for name in strange})


def test_float8_is_what_it_stands_for():
    """0x3C is 1.5 and 0x30 is 0.5 in float8 with four bits of exponent: every number of the update is 2 · 1.5 · 0.5."""
    flat, (out, into) = f"lora_unet_{QUERY.replace('.', '_')}", networks("sd1")["unet"][f"{QUERY}.weight"]
    tensors = {
        f"{flat}.lora_down.weight": StoredTensor("F8_E4M3", (2, into), np.full(2 * into, 0x3C, np.uint8)),
        f"{flat}.lora_up.weight": StoredTensor("F8_E4M3", (out, 2), np.full(2 * out, 0x30, np.uint8)),
    }
    update = read_lora(tensors, networks("sd1"))["unet"][f"{QUERY}.weight"].update()
    np.testing.assert_array_equal(update, np.full((out, into), 1.5, np.float32))


def test_half_a_pair_and_pickles_are_refused(tmp_path):
    tensors = kohya("sd1", {"unet": [QUERY]})
    del tensors[next(name for name in tensors if "lora_up" in name)]
    with pytest.raises(ValueError, match="has alpha and down but needs down and up"):
        read(tensors)
    (tmp_path / "lora.pt").touch()
    with pytest.raises(ValueError, match="is a pickle file"):
        open_lora(tmp_path / "lora.pt", networks("sd1"))


def test_the_original_numbering_is_the_published_one():
    """SD 1.5's second stage starts at input block 4; here a stage has two layers and a downsampler as there."""
    assert original_layer("sd1", QUERY) == "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    assert original_layer("sd1", "down_blocks.1.resnets.0.conv1") == "input_blocks.4.0.in_layers.2"
    assert original_layer("sd1", "up_blocks.0.upsamplers.0.conv") == "output_blocks.2.1.conv"
    assert original_layer("sdxl", "up_blocks.0.upsamplers.0.conv") == "output_blocks.2.2.conv"


def test_blocks_without_a_number_have_the_weight_1():
    names = networks("sd1")["unet"]
    assert by_block({}, names) == dict.fromkeys(names, 1.0)


@pytest.mark.parametrize(
    "weights, message",
    [
        ({"top": 1.0}, "block weights are for down, mid and up, got 'top'"),
        ({"down": {"block_1": 1.0}}, r"down has no transformers in 'block_1', only in block_0"),
        ({"up": {"block_1": [1.0, 2.0]}}, r"up.block_1 has 3 transformers, got 2 weights"),
        ({"mid": "much"}, "the weight of mid must be a number or a list of numbers, got 'much'"),
    ],
)
def test_block_weights_for_what_is_not_there_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        by_block(weights, networks("sd1")["unet"])


def test_each_component_takes_its_share_of_the_weights():
    assert component_weight(0.3, "text_encoder", LORA) == 0.3
    weights = {"unet": {"down": 0.2}, "text_encoder": 0.5}
    assert component_weight(weights, "unet", LORA) == component_weight({"down": 0.2}, "unet", LORA) == {"down": 0.2}
    assert component_weight(weights, "text_encoder", LORA) == 0.5
    assert component_weight(weights, "text_encoder_2", LORA) == 1.0
    with pytest.raises(ValueError, match=r"must be a number or a dict of blocks, got 'much' for unet"):
        component_weight({"unet": "much"}, "unet", LORA)
    with pytest.raises(ValueError, match=r"must be a number or a dict of blocks, got nan for unet"):
        component_weight(float("nan"), "unet", LORA)
    with pytest.raises(ValueError, match=r"must be a number, got {'down': 1.0} for text_encoder"):
        component_weight({"text_encoder": {"down": 1.0}}, "text_encoder", LORA)


@pytest.mark.parametrize("part", ["lora_B.weight", "diff", "diff_b"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_file_and_tensor(part, value, tmp_path):
    down, up = pair(networks("sd1")["unet"][f"{OUT}.weight"], OUT)
    tensors = {f"unet.{OUT}.lora_A.weight": down, f"unet.{OUT}.lora_B.weight": up}
    rows, columns = networks("sd1")["unet"][f"{OUT}.weight"]
    shapes = {"lora_B.weight": (rows, RANK), "diff": (rows, columns), "diff_b": (rows,)}
    broken = np.zeros(shapes[part], np.float32)
    broken.flat[-1] = value
    save_file(stored({**tensors, f"unet.{OUT}.{part}": broken}), tmp_path / "broken.safetensors")
    with pytest.raises(ValueError) as refusal:
        open_lora(tmp_path / "broken.safetensors", networks("sd1"))
    assert str(refusal.value).startswith(f"{tmp_path / 'broken.safetensors'}: the weight unet.{OUT}.{part} has values")
