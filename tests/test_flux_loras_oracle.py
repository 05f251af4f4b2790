"""LoRAs of FLUX.1 live against diffusers: with peft in a pipeline, and by its conversion of other layouts."""

import numpy as np
import pytest

from checkpoints import shapes_of
from lora_cases import pair, stored
from mindone.diffusers import FluxPipeline, FluxTransformer2DModel
from mindone.diffusers.adapters.lora_files import LoraFile
from mindone.diffusers.families.flux.adapters import LORA
from test_flux_loras import XLABS
from tiny_flux import dev_checkpoint

pytestmark = pytest.mark.oracle

LAYERS = {
    "transformer": (
        "attn.to_q",
        "attn.to_k",
        "add_k_proj",
        "to_out.0",
        "ff.net.2",
        "norm1.linear",
        "proj_mlp",
        "proj_out",
    ),
    "text_encoder": ("q_proj", "v_proj", "mlp.fc1"),
}
ASKED = {"prompt": "a red heart", "height": 64, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16}
ONE_BLOCK = {"num_layers": 1, "num_single_layers": 1, "guidance_embeds": True}
"""At the published width, which the reference's conversion takes for granted."""


def lora(pipe) -> dict[str, np.ndarray]:
    """In diffusers' own layout, with a rank of 3 and its alpha."""
    tensors = {}
    for component, marks in LAYERS.items():
        for name, shape in shapes_of(getattr(pipe, component)).items():
            if name.endswith(".weight") and len(shape) == 2 and any(mark in name for mark in marks):
                layer = f"{component}.{name.removesuffix('.weight')}"
                down, up = pair(shape, layer)
                tensors |= {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": 3 * up}
    return tensors


def latents() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 16, 64)).astype(np.float32)


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_a_lora_of_all_networks_does_what_it_does_in_the_reference(engine):
    import diffusers
    import torch

    ours = FluxPipeline.from_pretrained(dev_checkpoint(), engine=engine)
    theirs = diffusers.FluxPipeline.from_pretrained(dev_checkpoint())
    theirs.set_progress_bar_config(disable=True)
    tensors, images = lora(ours), []
    for scale in (None, 1.0, 0.5):
        if scale == 1.0:
            ours.load_lora_weights(tensors, adapter_name="one")
            theirs.load_lora_weights({name: torch.from_numpy(x) for name, x in tensors.items()}, adapter_name="one")
        elif scale is not None:
            ours.set_adapters("one", scale)
            theirs.set_adapters("one", scale)
        expected = theirs(**ASKED, latents=torch.from_numpy(latents()), output_type="np").images
        images.append(ours(**ASKED, latents=latents(), output_type="np").images)
        assert float(np.abs(images[-1] - expected).mean()) <= 1e-4
    plain, full, half = images
    assert min(float(np.abs(a - b).mean()) for a, b in ((plain, full), (full, half))) > 1e-3
    ours.fuse_lora()
    np.testing.assert_allclose(ours(**ASKED, latents=latents(), output_type="np").images, half, atol=1e-4)


KOHYA = {
    "double_blocks_0_img_attn_qkv": (9216, 3072),
    "double_blocks_0_txt_attn_proj": (3072, 3072),
    "double_blocks_0_img_mlp_0": (12288, 3072),
    "double_blocks_0_txt_mod_lin": (18432, 3072),
    "single_blocks_0_linear1": (21504, 3072),
    "single_blocks_0_linear2": (3072, 15360),
    "single_blocks_0_modulation_lin": (9216, 3072),
    "img_in": (3072, 64),
    "final_layer_linear": (64, 3072),
    "final_layer_adaLN_modulation_1": (6144, 3072),
}


def of_kohya() -> dict[str, np.ndarray]:
    """Where what the reference drops is left out: it takes no alpha of layers outside of blocks."""
    tensors = {}
    for layer, shape in KOHYA.items():
        down, up = pair(shape, layer)
        tensors |= {f"lora_unet_{layer}.lora_down.weight": down, f"lora_unet_{layer}.lora_up.weight": up}
        if "blocks" in layer:
            tensors[f"lora_unet_{layer}.alpha"] = np.array(2.0, np.float32)
    return tensors


def of_xlabs() -> dict[str, np.ndarray]:
    """Of the first block, at the published width."""
    tensors = {}
    for name, (_, layers) in XLABS.items():
        columns = 15360 if "single" in name and "proj" in name else 3072
        name = name.replace(".1.", ".0.").replace(".2.", ".0.")
        down, up = pair((3072 * len(layers), columns), name)
        tensors |= {f"{name}.down.weight": down, f"{name}.up.weight": up}
    return tensors


@pytest.mark.parametrize("layout", ["kohya", "xlabs"])
def test_other_layouts_become_what_the_reference_makes_of_them(layout):
    import torch
    from diffusers.loaders import lora_conversion_utils as conversion

    tensors = of_kohya() if layout == "kohya" else of_xlabs()
    convert = getattr(conversion, f"_convert_{layout}_flux_lora_to_diffusers")
    theirs = {
        name.removeprefix("transformer."): x.numpy()
        for name, x in convert({name: torch.from_numpy(x) for name, x in tensors.items()}).items()
    }
    networks = {"transformer": shapes_of(FluxTransformer2DModel(**ONE_BLOCK))}
    ours = LoraFile(stored(tensors), LORA).layers(networks)["transformer"]
    assert {f"{name.removesuffix('.weight')}.lora_A.weight" for name in ours} == {n for n in theirs if "lora_A" in n}
    for name, change in ours.items():
        layer = name.removesuffix(".weight")
        down, up = (theirs[f"{layer}.lora_{side}.weight"] for side in "AB")
        # A part of the product says as much as the whole one.
        expected = up[:64] @ down[:, :64]
        if name == "norm_out.linear.weight":
            continue  # below
        np.testing.assert_allclose(
            change.up.numpy()[:64] @ change.down.numpy()[:, :64] * change.scale, expected, atol=1e-5, err_msg=name
        )
    if "norm_out.linear.weight" in ours:
        # The reference swaps the halves of both matrices; only the outputs have such halves.
        up = tensors["lora_unet_final_layer_adaLN_modulation_1.lora_up.weight"]
        np.testing.assert_array_equal(ours["norm_out.linear.weight"].up.numpy(), np.roll(up, 3072, 0))
