"""IP-Adapter files against the reference's conversion rules."""

import numpy as np
import pytest

from adapter_cases import ip_adapter
from checkpoints import UNETS
from lora_cases import networks, stored
from mindone.diffusers.adapters.ip_adapter_files import read_ip_adapter
from mindone.diffusers.families.stable_diffusion.adapters import text_attentions

pytestmark = pytest.mark.oracle

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("kind", ["plain", "plus"])
def test_ip_adapters_are_read_as_the_reference_reads_them(family, kind):
    unet = networks(family)["unet"]
    tensors = ip_adapter(unet, kind)
    ours = read_ip_adapter(stored(tensors), unet, text_attentions(unet))

    state = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in tensors.items():
        part, name = name.split(".", 1)
        state[part][name] = torch.from_numpy(tensor)
    network = diffusers.UNet2DConditionModel.from_config(UNETS[family])
    network._load_ip_adapter_weights([state], low_cpu_mem_usage=False)

    projection = network.encoder_hid_proj.image_projection_layers[0].state_dict()
    assert ours.projection.keys() == projection.keys()
    assert all(np.array_equal(ours.projection[name].numpy(), value.numpy()) for name, value in projection.items())
    attention = {
        f"{name.removesuffix('.processor')}.to_{letter}_ip.weight": getattr(processor, f"to_{letter}_ip")[0].weight
        for name, processor in network.attn_processors.items()
        if hasattr(processor, "to_k_ip")
        for letter in "kv"
    }
    assert ours.attention.keys() == attention.keys()
    for name, value in attention.items():
        assert np.array_equal(ours.attention[name].numpy(), value.detach().numpy())
