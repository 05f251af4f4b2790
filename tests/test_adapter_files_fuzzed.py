"""Adapter files with something broken in them: read, or refused in one short line."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from adapter_cases import ip_adapter
from lora_cases import kohya, layers, networks, stored
from mindone.diffusers.adapters import lora
from mindone.diffusers.adapters.ip_adapter import NetworkIPAdapters
from mindone.diffusers.adapters.ip_adapter_files import read_ip_adapter
from mindone.diffusers.adapters.lora_configs import METADATA, configs_of_folder
from mindone.diffusers.adapters.lora_files import LoraFile
from mindone.diffusers.families.stable_diffusion.adapters import LORA, text_attentions
from mindone.diffusers.loading.safetensors import StoredTensor
from tiny_pipelines import checkpoint, images_of, load

pytestmark = pytest.mark.heavy

SEEDED = settings(
    derandomize=True, max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
QUERY = layers("sd1", "unet", ("attn1.to_q",))[0]
OUT, INTO = networks("sd1")["unet"][f"{QUERY}.weight"]
FLAT = f"lora_unet_{QUERY.replace('.', '_')}"

KINDS = {
    "lora": {"lora_down.weight": (2, INTO), "lora_up.weight": (OUT, 2), "lora_mid.weight": (2, 2)},
    "loha": {"hada_w1_a": (OUT, 2), "hada_w1_b": (2, INTO), "hada_w2_a": (OUT, 2), "hada_w2_b": (2, INTO)},
    "lokr": {"lokr_w1": (2, 2), "lokr_w2_a": (OUT // 2, 2), "lokr_w2_b": (2, INTO // 2)},
    "others": {"diff": (OUT, INTO), "dora_scale": (1, INTO), "lora_magnitude_vector": (OUT,)},
}
SHAPES = (
    st.lists(st.sampled_from([0, 1, 2, 3, OUT, INTO, 10**6]), max_size=4)
    .map(tuple)
    .filter(lambda shape: np.prod(shape, dtype=float) < 10**6)
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
OPTIONS = ("r", "lora_alpha", "alpha_pattern", "use_rslora", "bias", "peft_type", "init_lora_weights", "auto_mapping")


def tensor(shape, dtype):
    """One of any type that files have, without any bytes drawn at random."""
    size = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8, "I64": 8, "F8_E4M3": 1, "BOOL": 1}[dtype]
    return StoredTensor(dtype, shape, np.ones(int(np.prod(shape, dtype=np.int64)) * size, np.uint8))


TENSORS = st.builds(tensor, SHAPES, st.sampled_from(["F32", "F16", "BF16", "F64", "I64", "F8_E4M3", "BOOL"]))


def refused_in_a_line(error):
    text = str(error)
    assert "\n" not in text and len(text) <= 500, text


@given(data=st.data())
@SEEDED
def test_a_lora_with_a_broken_tensor_is_read_or_refused(data):
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    shapes = {f"{FLAT}.{name}": shape for kind in kinds for name, shape in KINDS[kind].items()}
    tensors = {name: tensor(shape, "F32") for name, shape in shapes.items()}
    tensors[f"{FLAT}.alpha"] = data.draw(TENSORS)
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), max_size=2)):
        broken = data.draw(st.none() | TENSORS)
        tensors.pop(name, None)
        if broken is not None:
            tensors[data.draw(st.sampled_from([name, name + ".x", "lora_unet_" + "x" * 900 + ".alpha"]))] = broken
    try:
        found = LoraFile(tensors, LORA).layers(networks("sd1"))
    except ValueError as error:
        return refused_in_a_line(error)
    for name, change in found["unet"].items():
        base = np.ones(networks("sd1")["unet"][name], np.float32)
        with np.errstate(all="ignore"):  # strange bytes are strange numbers
            assert change.difference(base, 0.5).shape == base.shape


@given(options=st.dictionaries(st.sampled_from(OPTIONS), JSON), nested=st.integers(0, 3))
@SEEDED
def test_whatever_a_config_says_it_is_read_or_refused(tmp_path_factory, options, nested):
    text = json.dumps({**{f"unet.{name}": value for name, value in options.items()}})
    text = "[" * 20_000 if nested == 3 else text
    plain = kohya("sd1", {"unet": [QUERY]})
    names = {"lora_down": "lora_A", "lora_up": "lora_B"}
    tensors = {f"unet.{QUERY}.{new}.weight": plain[f"{FLAT}.{old}.weight"] for old, new in names.items()}
    try:
        LoraFile(stored(tensors), LORA, {METADATA: text}).layers(networks("sd1"))
    except ValueError as error:
        refused_in_a_line(error)
    path = tmp_path_factory.mktemp("peft") / "adapter_config.json"
    path.write_text(json.dumps(options) if nested < 3 else text)
    try:
        configs_of_folder(path, list(tensors), LORA)
    except ValueError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["plain", "plus"])
@given(data=st.data())
@SEEDED
def test_an_ip_adapter_with_a_broken_tensor_is_read_or_refused(kind, data):
    tensors = stored(IP_ADAPTERS[kind])
    for name in data.draw(st.lists(st.sampled_from(sorted(tensors)), min_size=1, max_size=2)):
        tensors.pop(name, None)
        broken = data.draw(st.none() | TENSORS)
        if broken is not None:
            tensors[data.draw(st.sampled_from([name, name + ".x", "image_proj.layers.99.0.to_kv.weight"]))] = broken
    try:
        attentions = text_attentions(networks("sd1")["unet"])
        read = read_ip_adapter(tensors, networks("sd1")["unet"], attentions)
        UNET.put_on.of(NetworkIPAdapters).load([read], attentions)
    except ValueError as error:
        assert "\n" not in str(error)
        assert not UNET.put_on.of(NetworkIPAdapters).loaded
    else:
        UNET.put_on.of(NetworkIPAdapters).unload()


IP_ADAPTERS = {kind: ip_adapter(networks("sd1")["unet"], kind) for kind in ("plain", "plus")}
UNET = load(checkpoint("sd1")).unet


def test_a_lora_that_one_network_refuses_is_on_none(monkeypatch):
    """The UNet takes its layers, the text encoder's third one fails: what is loaded and drawn is as before."""
    pipe = load(checkpoint("sd1"))
    modules = {
        "unet": layers("sd1", "unet", ("to_q",)),
        "text_encoder": layers("sd1", "text_encoder", ("q_proj", "fc1")),
    }
    pipe.load_lora_weights(kohya("sd1", modules), adapter_name="before")
    images = images_of(pipe)
    put_around, text_encoder = lora.put_around, pipe.text_encoder

    def refusing(network, module, update):
        if network is text_encoder and update.capacity > 3 and "layers.1" in module:
            raise ValueError("this layer takes no LoRA")
        return put_around(network, module, update)

    monkeypatch.setattr(lora, "put_around", refusing)
    wide = {
        name: np.repeat(x, 2, 0 if "lora_down" in name else -1) if x.ndim else x
        for name, x in kohya("sd1", modules).items()
    }
    with pytest.raises(ValueError, match="this layer takes no LoRA"):
        pipe.load_lora_weights(wide, adapter_name="after")
    assert pipe.get_list_adapters() == {"unet": ["before"], "text_encoder": ["before"]}
    assert pipe.get_active_adapters() == ["before"]
    np.testing.assert_array_equal(images_of(pipe), images)
