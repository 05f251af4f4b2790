"""LoRA files and block weights against the reference's rules."""

import sys
import types

import numpy as np
import pytest

from checkpoints import UNETS
from lora_cases import kohya, layers, networks, read_lora, stored
from mindone.diffusers import UNet2DConditionModel as Ours
from mindone.diffusers.adapters.lora import NetworkLora
from mindone.diffusers.families.stable_diffusion.adapters import by_block

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
conversion = pytest.importorskip("diffusers.loaders.lora_conversion_utils")
state_dicts = pytest.importorskip("diffusers.utils.state_dict_utils")

UNET_LAYERS = ("attn", "ff.net", "proj_in", "proj_out", "resnets", "samplers")
TEXT_LAYERS = ("self_attn", "mlp")


def reference(tensors: dict[str, np.ndarray], family: str) -> tuple[dict, dict]:
    """The reference's matrices by component, module and part, and its alphas by component and module."""
    config = types.SimpleNamespace(layers_per_block=UNETS[family]["layers_per_block"])
    state = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    state = conversion._maybe_map_sgm_blocks_to_diffusers(state, config)
    state, alphas = conversion._convert_non_diffusers_lora_to_diffusers(state)
    found, scales = {}, {}
    for component in networks(family):
        to_peft = (
            state_dicts.convert_unet_state_dict_to_peft
            if component == "unet"
            else state_dicts.convert_state_dict_to_peft
        )
        for source, result in ((state, found), (alphas, scales)):
            own = {k.removeprefix(f"{component}."): v for k, v in source.items() if k.startswith(f"{component}.")}
            result |= {(component, name): value for name, value in (to_peft(own) if own else {}).items()}
    return found, {(c, name.split(".lora_A")[0].removesuffix(".alpha")): v for (c, name), v in scales.items()}


@pytest.mark.parametrize(
    "family, numbering", [("sd1", "ours"), ("sd2", "ours"), ("sdxl", "ours"), ("sdxl", "original")]
)
def test_kohya_files_are_read_as_the_reference_reads_them(family, numbering):
    modules = {c: layers(family, c, UNET_LAYERS if c == "unet" else TEXT_LAYERS) for c in networks(family)}
    tensors = kohya(family, modules, numbering)
    ours = read_lora(stored(tensors), networks(family))
    theirs, alphas = reference(dict(tensors), family)
    assert len(theirs) == 2 * sum(map(len, ours.values()))
    for component, found in ours.items():
        for name, layer in found.items():
            module = name.removesuffix(".weight")
            down, up = (theirs[component, f"{module}.lora_{part}.weight"].numpy() for part in "AB")
            assert np.array_equal(layer.down.numpy(), down)
            assert np.array_equal(layer.up.numpy().reshape(up.shape), up)
            assert layer.alpha == alphas[component, module] == 2.0


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize(
    "weights",
    [
        0.25,
        {},
        {"down": 0.5},
        {"mid": 0.5, "up": 0.1},
        {"up": {"block_{up}": [0.1, 0.2, 0.3]}, "down": {"block_{down}": 0.7}},
        {"up": {"block_{up}": [0.4]}, "mid": [0.6]},
    ],
    ids=str,
)
def test_block_weights_spread_as_the_reference_spreads_them(family, weights, monkeypatch):
    from diffusers import UNet2DConditionModel
    from diffusers.loaders import unet_loader_utils
    from diffusers.utils import peft_utils

    places = {"sd1": {"up": 1, "down": 0}, "sdxl": {"up": 0, "down": 1}}[family]
    if isinstance(weights, dict):
        weights = {
            side: {name.format(**places): v for name, v in value.items()} if isinstance(value, dict) else value
            for side, value in weights.items()
        }

    class Layer:
        def set_adapter(self, names):
            pass

        def set_scale(self, name, scale):
            self.scale = scale

    monkeypatch.setitem(sys.modules, "peft", types.ModuleType("peft"))
    monkeypatch.setitem(sys.modules, "peft.tuners", types.ModuleType("peft.tuners"))
    tuners = types.ModuleType("peft.tuners.tuners_utils")
    tuners.BaseTunerLayer = Layer
    monkeypatch.setitem(sys.modules, "peft.tuners.tuners_utils", tuners)

    network = UNet2DConditionModel.from_config(UNETS[family])
    (expanded,) = unet_loader_utils._maybe_expand_lora_scales(network, [weights])
    modules = {module: Layer() for module in layers(family, "unet", UNET_LAYERS)}
    stand_in = types.SimpleNamespace(named_modules=modules.items)
    peft_utils.set_weights_and_activate_adapters(stand_in, ["one"], [expanded])

    lora = NetworkLora(Ours(**UNETS[family]))
    lora.loaded = {"one": dict.fromkeys(networks(family)["unet"])}
    share = by_block(weights, networks(family)["unet"]) if isinstance(weights, dict) else weights
    ours = lora._expanded({"one": share})["one"]
    assert {module: layer.scale for module, layer in modules.items()} == {m: ours[f"{m}.weight"] for m in modules}
