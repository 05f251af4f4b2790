"""Folders as peft saves them: every layer's difference against what peft itself adds to the weight."""

import numpy as np
import pytest

from checkpoints import UNETS, random_weights
from lora_cases import networks, open_lora

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

PARTS = ("weight", "bias")
OPTIONS = {
    "alpha": {"lora_alpha": 12},
    "patterns": {
        "lora_alpha": 6,
        "rank_pattern": {"attn1.to_q": 2, r"^mid_block.*\.to_v": 5},
        "alpha_pattern": {"to_k": 1.5},
    },
    "rank-stabilised": {"lora_alpha": 6, "use_rslora": True, "rank_pattern": {"attn2.to_v": 7}},
    "DoRA": {"lora_alpha": 6, "use_dora": True, "target_modules": ["to_q", "conv1"]},
    "biases": {"lora_alpha": 6, "lora_bias": True, "use_rslora": True, "target_modules": ["ff.net.2", "conv1"]},
    "convolutions": {"lora_alpha": 3, "target_modules": ["conv1", "proj_in", "to_q"]},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_folder_of_pefts_changes_weights_as_peft_changes_them(options, tmp_path):
    from diffusers import UNet2DConditionModel

    config = peft.LoraConfig(r=4, init_lora_weights=False, **{"target_modules": ["to_q", "to_k", "to_v"], **options})
    model = peft.get_peft_model(UNet2DConditionModel.from_config(UNETS["sd1"]), config)
    values = random_weights({name: tuple(p.shape) for name, p in model.named_parameters() if "lora_" in name})
    values = {name: np.abs(x) + 0.5 if "magnitude" in name else x for name, x in values.items()}
    model.load_state_dict({name: torch.from_numpy(x) for name, x in values.items()}, strict=False)
    model.save_pretrained(tmp_path)
    ours = open_lora(tmp_path / "adapter_model.safetensors", networks("sd1"))["unet"]
    layers = {name: m for name, m in model.base_model.model.named_modules() if hasattr(m, "lora_A") and m.lora_A}
    assert {f"{name}.weight" for name in layers} == {name for name in ours if name.endswith(".weight")}
    for name, layer in layers.items():
        base = {
            part: getattr(layer.base_layer, part).detach().numpy().copy() for part in PARTS if f"{name}.{part}" in ours
        }
        layer.merge(safe_merge=True)
        for part, before in base.items():
            expected = getattr(layer.base_layer, part).detach().numpy() - before
            found = ours[f"{name}.{part}"].difference(before, 1.0)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)  # merging rounds to the weight's grid


def test_what_diffusers_saves_of_one_network_has_its_config_in_the_header(tmp_path):
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(UNETS["sd1"])
    options = {"r": 4, "lora_alpha": 6, "use_rslora": True, "alpha_pattern": {"mid_block.*to_v": 9}}
    unet.add_adapter(peft.LoraConfig(init_lora_weights=False, target_modules=["to_q", "to_v"], **options))
    unet.save_lora_adapter(tmp_path)
    ours = open_lora(tmp_path / "pytorch_lora_weights.safetensors", networks("sd1"))["unet"]
    layers = {name: m for name, m in unet.named_modules() if hasattr(m, "lora_A") and m.lora_A}
    assert {f"{name}.weight" for name in layers} == set(ours)
    for name, layer in layers.items():
        expected = layer.get_delta_weight("default").detach().numpy()
        np.testing.assert_allclose(ours[f"{name}.weight"].update(), expected, rtol=1e-5, atol=1e-7)
