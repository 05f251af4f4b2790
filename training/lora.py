"""Low-rank adapters on the layers of a UNet, stored in the layout of the published ones.

Source: Hu et al. 2021, "LoRA: low-rank adaptation of large language models"; on convolutions the inner layer has the
kernel and the outer one is 1×1. The scale is 1: alpha is the rank, and the file holds none.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FILE = "pytorch_lora_weights.safetensors"
PREFIX = "unet."
# The ends of the names of the layers that get an adapter: those of LCM-LoRA (Luo et al. 2023b).
ADAPTED = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "proj_in",
    "proj_out",
    "ff.net.0.proj",
    "ff.net.2",
    "conv1",
    "conv2",
    "conv_shortcut",
    "downsamplers.0.conv",
    "upsamplers.0.conv",
    "time_emb_proj",
)


class Adapted(nn.Module):
    """A frozen layer and what is learned on top of it; at the start ``lora_B`` is zero, so nothing changes."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int):
        super().__init__()
        self.layer = layer
        if isinstance(layer, nn.Linear):
            self.lora_A = nn.Linear(layer.in_features, rank, bias=False)
            self.lora_B = nn.Linear(rank, layer.out_features, bias=False)
        else:
            self.lora_A = nn.Conv2d(layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, bias=False)
            self.lora_B = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.lora_B(self.lora_A(x))


def add_adapters(unet: nn.Module, rank: int) -> dict[str, Adapted]:
    """Put an adapter on every layer of ``ADAPTED``, in place, and freeze all else; by the layer's name."""
    unet.requires_grad_(False)
    adapters = {}
    for name, layer in list(unet.named_modules()):
        if name.endswith(ADAPTED) and isinstance(layer, nn.Linear | nn.Conv2d):
            adapters[name] = Adapted(layer, rank)
            parent, _, attribute = name.rpartition(".")
            setattr(unet.get_submodule(parent), attribute, adapters[name])
    return adapters


def save_adapters(adapters: dict[str, Adapted], folder: Path) -> None:
    """Write float16 ``pytorch_lora_weights.safetensors`` with keys ``unet.<layer>.lora_A.weight`` and ``lora_B``."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, adapter in adapters.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = adapter.lora_A.weight.detach().half().contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = adapter.lora_B.weight.detach().half().contiguous()
    save_file(tensors, folder / FILE, metadata={"format": "pt"})


@torch.no_grad()
def fuse(unet: nn.Module, folder: Path) -> None:
    """Add the adapters stored in ``folder`` to the weights of ``unet``."""
    stored = load_file(folder / FILE)
    for key, inner in stored.items():
        if not key.endswith("lora_A.weight"):
            continue
        outer = stored[key.replace("lora_A", "lora_B")].float().flatten(1)
        weight = unet.get_submodule(key.removeprefix(PREFIX).removesuffix(".lora_A.weight")).weight
        weight += (outer @ inner.float().flatten(1)).view_as(weight)
