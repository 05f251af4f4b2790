"""Textual inversion and IP-Adapter files: what is read, and what is refused."""

import numpy as np
import pytest

from adapter_cases import CLIP_WIDTH, ip_adapter
from lora_cases import networks, stored
from mindone.diffusers.adapters.ip_adapter_files import open_ip_adapter, read_ip_adapter
from mindone.diffusers.adapters.textual_inversion import tokens_of
from mindone.diffusers.adapters.textual_inversion_files import open_textual_inversion, read_textual_inversion
from mindone.diffusers.families.stable_diffusion.adapters import by_block, text_attentions
from mindone.diffusers.loading.safetensors import save_file

ONE = {"text_encoder": 768}
TWO = {"text_encoder": 768, "text_encoder_2": 1280}


def vectors(count: int, width: int) -> np.ndarray:
    return np.arange(count * width, dtype=np.float32).reshape(count, width)


def tokens(read) -> list[str]:
    return tokens_of(read.token, next(iter(read.vectors.values())).shape[0])


def test_a_word_and_its_vectors(tmp_path):
    save_file({"<cat>": vectors(2, 768)}, tmp_path / "learned_embeds.safetensors")
    read = open_textual_inversion(tmp_path / "learned_embeds.safetensors", ONE)
    assert tokens(read) == ["<cat>", "<cat>_1"]
    assert np.array_equal(read.vectors["text_encoder"].numpy(), vectors(2, 768))
    assert open_textual_inversion(tmp_path / "learned_embeds.safetensors", ONE, "<dog>").token == "<dog>"


def test_one_vector_may_lack_its_axis():
    read = read_textual_inversion(stored({"<cat>": vectors(1, 768)[0]}), ONE)
    assert tokens(read) == ["<cat>"]
    assert read.vectors["text_encoder"].shape == (1, 768)


def test_the_files_name_is_the_word_where_the_file_says_none(tmp_path):
    save_file({"emb_params": vectors(3, 768)}, tmp_path / "easynegative.safetensors")
    read = open_textual_inversion(tmp_path / "easynegative.safetensors", ONE)
    assert tokens(read) == ["easynegative", "easynegative_1", "easynegative_2"]


def test_both_text_encoders_of_xl_take_theirs(tmp_path):
    save_file({"clip_l": vectors(2, 768), "clip_g": vectors(2, 1280)}, tmp_path / "style.safetensors")
    read = open_textual_inversion(tmp_path / "style.safetensors", TWO)
    assert {name: tensor.shape for name, tensor in read.vectors.items()} == {
        "text_encoder": (2, 768),
        "text_encoder_2": (2, 1280),
    }
    assert tokens(read) == ["style", "style_1"]


@pytest.mark.parametrize(
    "tensors, message",
    [
        ({"<cat>": (1, 1024)}, r"is for another base: its vectors have width 1024, text encoders here 768 \(text_enc"),
        ({"a": (1, 768), "b": (1, 768)}, "is no known textual inversion: it has 'a', 'b'; supported:"),
        ({"emb_params": (1, 768)}, "does not say its word; pass token="),
        ({"<cat>": (0, 768)}, r"vectors must be \(vectors, width\), got a shape of \(0, 768\)"),
        ({"clip_l": (1, 768), "clip_g": (1, 1280)}, "is for another base"),
    ],
)
def test_other_textual_inversions_are_refused(tensors, message):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in tensors.items()}
    with pytest.raises(ValueError, match=message):
        read_textual_inversion(stored(arrays), ONE, "cat" if "clip_g" in tensors else None)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_plain_ip_adapter_is_taken_apart(family):
    unet = networks(family)["unet"]
    read = read_ip_adapter(stored(ip_adapter(unet, "plain")), unet, text_attentions(unet))
    width = unet[f"{text_attentions(unet)[0]}.to_k.weight"][1]
    assert (read.kind, read.tokens) == ("plain", 4)
    assert read.config == {"image_embed_dim": CLIP_WIDTH, "cross_attention_dim": width, "num_image_text_embeds": 4}
    assert read.projection.keys() == {"image_embeds.weight", "image_embeds.bias", "norm.weight", "norm.bias"}
    assert all(
        read.attention[f"{layer}.to_k_ip.weight"].shape == unet[f"{layer}.to_k.weight"]
        for layer in text_attentions(unet)
    )


def test_attentions_are_numbered_down_then_up_then_middle():
    sides = [name.split(".")[0] for name in text_attentions(networks("sdxl")["unet"])]
    assert sides == ["down_blocks"] * 4 + ["up_blocks"] * 6 + ["mid_block"] * 2


def test_a_resamplers_config_is_read_off_its_shapes():
    unet = networks("sd1")["unet"]
    read = read_ip_adapter(stored(ip_adapter(unet, "plus")), unet, text_attentions(unet))
    expected = {
        "embed_dims": CLIP_WIDTH,
        "output_dims": 16,
        "hidden_dims": 32,
        "depth": 4,
        "heads": 2,
        "num_queries": 5,
    }
    assert (read.kind, read.config, read.tokens) == ("plus", expected, 5)


@pytest.mark.parametrize(
    "name, message",
    [
        (
            "image_proj.proj.3.weight",
            r"is IP-Adapter Full Face: it has 'image_proj.proj.3.weight'; only plain and plus",
        ),
        ("image_proj.proj.0.weight", "is IP-Adapter FaceID"),
        ("image_proj.perceiver_resampler.proj_in.weight", "is IP-Adapter FaceID Plus"),
        (
            "ip_adapter.999.to_k_ip.weight",
            r"is for another network: it has 13 keys and values for 12 here.*r.999",
        ),
    ],
)
def test_ip_adapters_that_are_not_here_are_named(name, message):
    unet = networks("sd1")["unet"]
    tensors = ip_adapter(unet, "plain") | {name: np.zeros((2, 2), np.float32)}
    with pytest.raises(ValueError, match=message):
        read_ip_adapter(stored(tensors), unet, text_attentions(unet))


@pytest.mark.parametrize("name", ["image_proj.norm.bias", "ip_adapter.1.to_k_ip.weight"])
def test_an_ip_adapter_with_a_value_that_is_no_number_is_refused_with_its_tensor(name):
    unet = networks("sd1")["unet"]
    tensors = ip_adapter(unet, "plain")
    tensors[name] = np.full_like(tensors[name], np.nan)
    with pytest.raises(ValueError, match=f"^the IP-Adapter: the weight {name} has values that are NaN or infinite"):
        read_ip_adapter(stored(tensors), unet, text_attentions(unet))


def test_an_ip_adapter_for_another_unet_and_a_file_of_something_else_are_refused(tmp_path):
    tensors = stored(ip_adapter(networks("sd1")["unet"], "plain"))
    with pytest.raises(ValueError, match="is for another network"):
        read_ip_adapter(tensors, networks("sdxl")["unet"], text_attentions(networks("sdxl")["unet"]))
    wide = {name: tuple(2 * size for size in shape) for name, shape in networks("sd1")["unet"].items()}
    with pytest.raises(ValueError, match=r"'ip_adapter.1.to_k_ip.weight' is 8×16, down_blocks.* takes 16×32"):
        read_ip_adapter(tensors, wide, text_attentions(wide))
    with pytest.raises(ValueError, match=r"is no IP-Adapter: it lacks image_proj\.… or ip_adapter\.…, and has 'a'"):
        read_ip_adapter(stored({"a": np.zeros(1, np.float32)}), wide, text_attentions(wide))
    (tmp_path / "ip-adapter_sd15.bin").touch()
    with pytest.raises(ValueError, match="is a pickle file"):
        open_ip_adapter(tmp_path / "ip-adapter_sd15.bin", wide, text_attentions(wide))


def test_blocks_that_an_image_is_not_told_to_speak_to_stay_silent():
    names = networks("sdxl")["unet"]
    weights = by_block({"up": {"block_0": [0.0, 1.0, 0.0]}}, names, default=0.0)
    loud = {name for name in text_attentions(names) if weights[f"{name}.to_k.weight"] == 1.0}
    assert loud == {name for name in text_attentions(names) if name.startswith("up_blocks.0.attentions.1.")}
