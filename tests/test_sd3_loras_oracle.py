"""LoRAs of Stable Diffusion 3 live against diffusers with peft."""

import numpy as np
import pytest

from checkpoints import shapes_of
from lora_cases import pair
from mindone.diffusers import StableDiffusion3Pipeline
from tiny_sd3 import checkpoint

pytestmark = pytest.mark.oracle

LAYERS = {
    "transformer": ("attn.to_q", "attn.to_k", "add_k_proj", "attn.to_out.0", "attn2.to_v", "ff.net.2", "norm1.linear"),
    "text_encoder": ("q_proj", "v_proj", "mlp.fc1"),
    "text_encoder_2": ("k_proj", "out_proj"),
}
ASKED = {"prompt": "a red heart", "height": 64, "width": 64, "num_inference_steps": 2, "max_sequence_length": 16}


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
    return np.random.default_rng(0).standard_normal((1, 16, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("engine", ["openvino", "mindspore"])
def test_a_lora_of_all_networks_does_what_it_does_in_the_reference(engine):
    import diffusers
    import torch

    ours = StableDiffusion3Pipeline.from_pretrained(checkpoint(), engine=engine)
    theirs = diffusers.StableDiffusion3Pipeline.from_pretrained(checkpoint())
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
