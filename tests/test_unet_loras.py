"""The published methods for the LoRAs of a UNet alone."""

import numpy as np
import pytest

from lora_cases import kohya, layers, networks, pair, stored
from mindone.diffusers import UNet2DConditionModel
from mindone.diffusers.loading.safetensors import save_file
from tiny_pipelines import checkpoint, images_of, load

QUERIES = layers("bk_sdm", "unet", ("attn1.to_q",))


def published(prefix="unet."):
    """As diffusers saves a LoRA of a UNet: with a text encoder's layer beside, which is not the UNet's."""
    names = {}
    for component, module in [*(("unet", module) for module in QUERIES), *TEXTS]:
        down, up = pair(networks("bk_sdm")[component][f"{module}.weight"], module)
        before = prefix if component == "unet" else f"{component}."
        names |= {f"{before}{module}.lora_A.weight": down, f"{before}{module}.lora_B.weight": up}
    return names


TEXTS = [("text_encoder", "text_model.encoder.layers.0.mlp.fc1")]


@pytest.mark.parametrize("method", ["load_attn_procs", "load_lora_adapter"])
@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_a_unet_loads_its_own_part_of_a_lora(method, prefix, tmp_path):
    (tmp_path / "lora").mkdir()
    save_file(stored(published(prefix)), tmp_path / "lora" / "pytorch_lora_weights.safetensors")
    pipe, expected = load(checkpoint("bk_sdm")), load(checkpoint("bk_sdm"))
    expected.load_lora_weights({name: x for name, x in published().items() if name.startswith("unet.")})
    getattr(pipe.unet, method)(tmp_path, subfolder="lora", adapter_name="one", low_cpu_mem_usage=True)
    assert pipe.unet.active_adapters() == ["one"] and pipe.get_list_adapters() == {"unet": ["one"]}
    np.testing.assert_array_equal(images_of(pipe), images_of(expected))


@pytest.mark.heavy
def test_adapters_of_a_unet_are_weighed_switched_fused_and_deleted():
    pipe = load(checkpoint("bk_sdm"))
    plain = images_of(pipe)
    pipe.unet.load_attn_procs(kohya("bk_sdm", {"unet": QUERIES}))
    pipe.unet.load_attn_procs(kohya("bk_sdm", {"unet": QUERIES}, alpha=1.0), adapter_name="half")
    pipe.unet.set_adapters(["default_0", "half"], [0.5, 1.0])  # of alpha 2: together as the first one alone
    both = images_of(pipe)
    pipe.unet.set_adapter("default_0")
    assert np.abs(images_of(pipe) - both).mean() < 1e-4 < np.abs(both - plain).mean()
    pipe.unet.disable_adapters()
    assert np.abs(images_of(pipe) - plain).mean() < 1e-4
    pipe.unet.enable_lora()
    pipe.unet.fuse_lora()
    assert np.abs(images_of(pipe) - both).mean() < 1e-4
    with pytest.raises(ValueError, match="delete_adapters is not possible while 'default_0' is fused"):
        pipe.unet.delete_adapters("half")
    pipe.unet.unfuse_lora()
    pipe.unet.delete_adapters("half")
    assert pipe.unet.active_adapters() == ["default_0"]
    pipe.unet.unload_lora()
    np.testing.assert_array_equal(images_of(pipe), plain)


def test_mistakes_with_a_unets_adapters_are_named(tmp_path):
    unet = UNet2DConditionModel.from_pretrained(checkpoint("bk_sdm"), subfolder="unet")
    with pytest.raises(ValueError, match=r"has nothing for the unet; pipe\.load_lora_weights loads it"):
        unet.load_lora_adapter(kohya("bk_sdm", {"text_encoder": [TEXTS[0][1]]}))
    with pytest.raises(ValueError, match="prefix must be 'unet' or None, got 'transformer'"):
        unet.load_lora_adapter(kohya("bk_sdm", {"unet": QUERIES}), prefix="transformer")
    with pytest.raises(ValueError, match="use_safetensors must be True"):
        unet.load_attn_procs(tmp_path, use_safetensors=False)
    with pytest.raises(ValueError, match="no adapter 'two' is loaded; loaded are \\[\\]"):
        unet.set_adapters("two")
    with pytest.raises(ValueError, match="fuse_lora fuses active adapters, and these are \\[\\]"):
        unet.fuse_lora()
