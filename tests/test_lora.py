"""LoRAs on pipelines: switching them compiles nothing again, and fusing them can be undone."""

import numpy as np
import pytest

from lora_cases import kohya, layers
from mindone.diffusers import Int8Config
from mindone.diffusers.adapters.lora import NetworkLora
from tiny_pipelines import checkpoint, images_of, load

ATTENTION = ("attn1.to_q", "attn2.to_k", "attn2.to_v", "to_out.0", "ff.net", "proj_in")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "time_emb_proj", "upsamplers.0.conv", "downsamplers.0.conv")


def lora(family="sd1", marks=ATTENTION, alpha=2.0, text=True):
    """A LoRA of a UNet's layers and, with ``text``, of the text encoder's."""
    modules = {"unet": layers(family, "unet", marks)}
    if text:
        modules["text_encoder"] = layers(family, "text_encoder", ("q_proj", "fc1"))
    return kohya(family, modules, alpha=alpha)


def negated(tensors):
    """The LoRA that takes back what another one does."""
    return {name: -tensor if "lora_up" in name else tensor for name, tensor in tensors.items()}


def differs(a, b):
    return float(np.abs(a - b).mean()) > 1e-4


def close(a, b):
    """Sums in another order; a random network amplifies rounding."""
    return float(np.abs(a - b).mean()) < 1e-4


@pytest.fixture
def pipe():
    return load(checkpoint("sd1"))


def test_switching_adapters_and_weights_compiles_nothing_again(pipe):
    plain = images_of(pipe)
    pipe.load_lora_weights(lora(), adapter_name="one")
    pipe.load_lora_weights(negated(lora()), adapter_name="other")
    assert pipe.get_active_adapters() == ["other"]
    other = images_of(pipe)
    graphs = [list(network.graphs._graphs.values()) for network in (pipe.unet, pipe.text_encoder)]
    pipe.set_adapters("one")
    one = images_of(pipe)
    pipe.set_adapters("one", 0.0)
    assert close(images_of(pipe), plain)
    pipe.set_adapters("one", {"unet": {"down": 0.0, "mid": 0.5}})
    by_block = images_of(pipe)
    pipe.set_adapters("other")
    scaled = images_of(pipe, cross_attention_kwargs={"scale": 0.3})
    np.testing.assert_array_equal(images_of(pipe), other)
    pipe.disable_lora()
    assert close(images_of(pipe), plain)
    pipe.enable_lora()
    np.testing.assert_array_equal(images_of(pipe), other)
    different = [plain, one, other, by_block, scaled]
    assert all(differs(a, b) for i, a in enumerate(different) for b in different[:i])
    after = [list(network.graphs._graphs.values()) for network in (pipe.unet, pipe.text_encoder)]
    assert all(a is b for before, now in zip(graphs, after) for a, b in zip(before, now, strict=True))


def test_two_adapters_add_up(pipe):
    plain = images_of(pipe)
    pipe.load_lora_weights(lora(), adapter_name="one")
    pipe.load_lora_weights(negated(lora()), adapter_name="back")
    pipe.set_adapters(["one", "back"], [0.7, 0.7])
    assert close(images_of(pipe), plain)
    assert pipe.get_list_adapters() == {"unet": ["one", "back"], "text_encoder": ["one", "back"]}
    pipe.set_adapters(["one", "back"], [0.7, 0.1])
    assert differs(images_of(pipe), plain)


@pytest.mark.parametrize(
    "marks", [ATTENTION, pytest.param(CONVOLUTIONS, marks=pytest.mark.heavy)], ids=["attention", "convolutions"]
)
def test_a_fused_lora_draws_as_an_unfused_one_and_comes_off_bit_for_bit(pipe, marks):
    plain = images_of(pipe)
    before = {name: pipe.unet.array(name) for name in pipe.unet.published_parameters()}
    pipe.load_lora_weights(lora(marks=marks), adapter_name="one")
    pipe.set_adapters("one", 0.8)
    unfused = images_of(pipe, cross_attention_kwargs={"scale": 0.5})
    pipe.fuse_lora(lora_scale=0.5)
    assert not any("inner" in name for name, _ in pipe.unet.cells_and_names())  # full speed: nothing stands around
    assert close(images_of(pipe), unfused) and differs(unfused, plain)
    pipe.unfuse_lora()
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(images_of(pipe), plain)
    assert all(np.array_equal(pipe.unet.array(name), values) for name, values in before.items())


def test_one_network_is_fused_and_the_others_still_act(pipe):
    pipe.load_lora_weights(lora(), adapter_name="one")
    unfused = images_of(pipe)
    pipe.fuse_lora(components=["unet"])
    assert pipe.unet.put_on.of(NetworkLora).fused == ("one",) and not pipe.text_encoder.put_on.of(NetworkLora).fused
    assert close(images_of(pipe), unfused)
    pipe.unfuse_lora(components=["text_encoder"])
    assert pipe.fused_loras == {"one"}
    pipe.unfuse_lora()
    np.testing.assert_array_equal(images_of(pipe), unfused)
    with pytest.raises(ValueError, match=r"components must be a list of unet, text_encoder, .* got \['vae'\]"):
        pipe.fuse_lora(["vae"])


def test_a_swapped_adapter_acts_as_the_one_before_did_and_compiles_nothing(pipe):
    pipe.load_lora_weights(lora(), adapter_name="one")
    pipe.load_lora_weights(lora(alpha=1.0), adapter_name="other")
    pipe.set_adapters(["one", "other"], [0.5, 1.0])
    images_of(pipe)
    graphs = list(pipe.unet.graphs._graphs.values())
    pipe.load_lora_weights(negated(lora()), adapter_name="one", hotswap=True)
    assert pipe.get_active_adapters() == ["one", "other"]
    assert close(images_of(pipe), images_of(load(checkpoint("sd1"))))  # -0.5 · 2 and 1 · 1 of the same update
    assert all(a is b for a, b in zip(graphs, pipe.unet.graphs._graphs.values(), strict=True))
    pipe.load_lora_weights(lora(text=False), adapter_name="one", hotswap=True)
    assert pipe.get_list_adapters() == {"unet": ["other", "one"], "text_encoder": ["other"]}
    pipe.load_lora_weights(lora(), adapter_name="one", hotswap=True)
    assert pipe.text_encoder.put_on.of(NetworkLora).active == [
        "one",
        "other",
    ]  # it counts where it had nothing before, too
    with pytest.raises(ValueError, match="no adapter 'third' is loaded"):
        pipe.load_lora_weights(lora(), adapter_name="third", hotswap=True)


@pytest.mark.heavy
def test_a_lora_on_mindspore_draws_as_on_openvino(pipe):
    marks = (*ATTENTION, *CONVOLUTIONS)
    pipe.load_lora_weights(lora(marks=marks), adapter_name="one")
    pipe.load_lora_weights(negated(lora(marks=marks)), adapter_name="back")
    for weights in ([1.0, 0.0], [0.2, 0.9]):
        pipe.set_adapters(["one", "back"], weights)
        pipe.engine = "openvino"
        expected = images_of(pipe)
        pipe.engine = "mindspore"
        assert close(images_of(pipe), expected)


@pytest.mark.heavy
def test_a_lora_goes_on_an_int8_network():
    pipe = load(checkpoint("sd1"), quantization_config=Int8Config(("a cat",), 2))
    plain = images_of(pipe)
    pipe.load_lora_weights(lora(), adapter_name="one")
    assert differs(images_of(pipe), plain)
    graphs = list(pipe.unet.graphs._graphs.values())
    pipe.set_adapters("one", 0.0)
    np.testing.assert_array_equal(images_of(pipe), plain)  # the layers around which adapters stand are int8 still
    assert all(a is b for a, b in zip(graphs, pipe.unet.graphs._graphs.values(), strict=True))
    pipe.unload_lora_weights()
    np.testing.assert_array_equal(images_of(pipe), plain)


def test_a_callback_sees_what_adapters_are_told(pipe):
    pipe.load_lora_weights(lora(text=False))
    seen = []
    told = {"scale": 0.5}
    images_of(
        pipe,
        cross_attention_kwargs=told,
        callback_on_step_end=lambda pipe, *_: seen.append(pipe.cross_attention_kwargs),
    )
    assert seen == [told] * 3  # PNDM starts with a step more


def test_fused_weights_are_saved_and_adapters_are_not(pipe, tmp_path):
    pipe.load_lora_weights(lora(), adapter_name="one")
    unfused = images_of(pipe)
    pipe.save_pretrained(tmp_path / "plain")
    np.testing.assert_array_equal(images_of(load(tmp_path / "plain")), images_of(load(checkpoint("sd1"))))
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    pipe.save_pretrained(tmp_path / "fused")
    assert close(images_of(load(tmp_path / "fused")), unfused)


def test_mistakes_are_told(pipe):
    with pytest.raises(ValueError, match="none is loaded that is not fused"):
        images_of(pipe, cross_attention_kwargs={"scale": 0.5})
    pipe.load_lora_weights(lora(), adapter_name="one")
    with pytest.raises(ValueError, match="'one' is loaded already"):
        pipe.load_lora_weights(lora(), adapter_name="one")
    with pytest.raises(ValueError, match="no adapter 'two' is loaded; loaded are \\['one'\\]"):
        pipe.set_adapters(["one", "two"])
    with pytest.raises(ValueError, match="one weight for each of 1 adapters, got 2"):
        pipe.set_adapters(["one"], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"must be \{'scale': number\}"):
        images_of(pipe, cross_attention_kwargs={"gligen": {}})
    with pytest.raises(ValueError, match="another base"):
        pipe.load_lora_weights({name: np.repeat(tensor, 2, -1) for name, tensor in lora(text=False).items()})
    pipe.fuse_lora()
    with pytest.raises(ValueError, match="set_adapters is not possible while 'one' is fused"):
        pipe.set_adapters("one")
