"""Tiny LoRAs in every spelling, made for the tiny networks."""

import functools

import numpy as np

from checkpoints import TEXTS, UNETS, random_weights, shapes_of
from mindone.diffusers import CLIPTextModel, CLIPTextModelWithProjection, UNet2DConditionModel
from mindone.diffusers.adapters.lora_files import LoraFile
from mindone.diffusers.families.stable_diffusion.adapters import LORA
from mindone.diffusers.families.stable_diffusion.original_unet import unet_numbering
from mindone.diffusers.loading.safetensors import StoredTensor

RANK = 3


@functools.cache
def networks(family: str) -> dict[str, dict[str, tuple[int, ...]]]:
    """The parameters' shapes of a family's UNet and text encoders."""
    kinds = {"sd1": "clip", "bk_sdm": "clip", "sd2": "openclip", "sdxl": "clip"}
    found = {
        "unet": shapes_of(UNet2DConditionModel(**UNETS[family])),
        "text_encoder": shapes_of(CLIPTextModel(**TEXTS[kinds[family]], vocab_size=521)),
    }
    if family == "sdxl":
        found["text_encoder_2"] = shapes_of(CLIPTextModelWithProjection(**TEXTS["projection"], vocab_size=521))
    return found


def layers(family: str, component: str, marks: tuple[str, ...]) -> list[str]:
    """The modules of a network with one of ``marks`` in their names."""
    shapes = networks(family)[component]
    names = [name.removesuffix(".weight") for name in shapes if name.endswith(".weight") and len(shapes[name]) > 1]
    return [name for name in names if any(mark in name for mark in marks)]


def pair(shape: tuple[int, ...], name: str, rank: int = RANK) -> tuple[np.ndarray, np.ndarray]:
    """A layer's down and up, in the shapes that trainers give them: convolutions stay convolutions."""
    ones = (1,) * (len(shape) - 2)
    drawn = random_weights({f"{name} down": (rank, *shape[1:]), f"{name} up": (shape[0], rank, *ones)})
    return drawn[f"{name} down"], drawn[f"{name} up"]


def original_layer(family: str, module: str) -> str:
    """A UNet's layer by its number in the original layout."""
    keys = unet_numbering(networks(family)["unet"])
    name = keys.original(f"{module}.weight")
    assert name is not None
    return name.removesuffix(".weight")


def kohya(
    family: str, modules: dict[str, list[str]], numbering: str = "ours", alpha: float = 2.0
) -> dict[str, np.ndarray]:
    """A LoRA as kohya's trainer names it, of the given modules by component."""
    text = "lora_te1_" if family == "sdxl" else "lora_te_"
    prefixes = {"unet": "lora_unet_", "text_encoder": text, "text_encoder_2": "lora_te2_"}
    tensors = {}
    for component, names in modules.items():
        for module in names:
            down, up = pair(networks(family)[component][f"{module}.weight"], module)
            spelled = original_layer(family, module) if component == "unet" and numbering == "original" else module
            flat = prefixes[component] + spelled.replace(".", "_")
            tensors[f"{flat}.lora_down.weight"], tensors[f"{flat}.lora_up.weight"] = down, up
            tensors[f"{flat}.alpha"] = np.array(alpha, np.float32)
    return tensors


def stored(tensors: dict[str, np.ndarray]) -> dict[str, StoredTensor]:
    """The same as a file has them."""
    return {name: StoredTensor.from_numpy(tensor) for name, tensor in tensors.items()}


def read_lora(tensors, shapes, metadata=None):
    """Take a LoRA's tensors apart for the networks with these shapes."""
    return LoraFile(tensors, LORA, metadata).layers(shapes)


def open_lora(path, shapes):
    """The same of a file."""
    return LoraFile.open(path, LORA).layers(shapes)
