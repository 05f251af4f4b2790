"""Tiny IP-Adapters in the published layout."""

import functools
from pathlib import Path

import numpy as np

from checkpoints import SAFETY_CHECKER, random_weights, write_model
from lora_cases import networks
from mindone.diffusers import CLIPVisionModelWithProjection
from mindone.diffusers.families.stable_diffusion.adapters import text_attentions
from mindone.diffusers.loading.safetensors import save_file
from tiny_pipelines import checkpoint

CLIP_WIDTH = 24


def ip_adapter(unet: dict[str, tuple[int, ...]], kind: str) -> dict[str, np.ndarray]:
    """An IP-Adapter's file for a UNet, ``plain`` or ``plus`` (five queries, four blocks of two heads)."""
    layers = text_attentions(unet)
    shapes = {
        f"ip_adapter.{2 * i + 1}.to_{letter}_ip.weight": unet[f"{layer}.to_{letter}.weight"]
        for i, layer in enumerate(layers)
        for letter in "kv"
    }
    width = unet[f"{layers[0]}.to_k.weight"][1]
    if kind == "plain":
        projection = {"proj.weight": (4 * width, CLIP_WIDTH), "proj.bias": (4 * width,)}
        projection |= {"norm.weight": (width,), "norm.bias": (width,)}
    else:
        hidden, inner = 32, 2 * 64
        projection = {
            "latents": (1, 5, hidden),
            "proj_in.weight": (hidden, CLIP_WIDTH),
            "proj_in.bias": (hidden,),
            "proj_out.weight": (width, hidden),
            "proj_out.bias": (width,),
            "norm_out.weight": (width,),
            "norm_out.bias": (width,),
        }
        for i in range(4):
            for norm in ("0.norm1", "0.norm2", "1.0"):
                projection |= {f"layers.{i}.{norm}.{part}": (hidden,) for part in ("weight", "bias")}
            projection[f"layers.{i}.0.to_q.weight"] = (inner, hidden)
            projection[f"layers.{i}.0.to_kv.weight"] = (2 * inner, hidden)
            projection[f"layers.{i}.0.to_out.weight"] = (hidden, inner)
            projection[f"layers.{i}.1.1.weight"] = (4 * hidden, hidden)
            projection[f"layers.{i}.1.3.weight"] = (hidden, 4 * hidden)
    return random_weights(shapes | {f"image_proj.{name}": shape for name, shape in projection.items()})


VISION = {
    **SAFETY_CHECKER["vision_config"],
    "architectures": ["CLIPVisionModelWithProjection"],
    "hidden_size": CLIP_WIDTH,
    "projection_dim": CLIP_WIDTH,
}
SUBFOLDER, WEIGHTS = "models", "ip-adapter_sd15.safetensors"


@functools.cache
def ip_adapter_folder(family: str, kind: str, encoder: bool = True) -> Path:
    """A folder laid out as ``h94/IP-Adapter`` is: the file in ``models``, the image encoder beside it."""
    folder = checkpoint(family).with_name(f"{family}-ip-adapter-{kind}-{encoder}")
    (folder / SUBFOLDER).mkdir(parents=True)
    save_file(ip_adapter(networks(family)["unet"], kind), folder / SUBFOLDER / WEIGHTS)
    if encoder:
        write_model(CLIPVisionModelWithProjection, VISION, folder / SUBFOLDER / "image_encoder")
    return folder
