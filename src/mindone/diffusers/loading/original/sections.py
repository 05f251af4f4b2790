"""The parts of a single file, found by the prefixes of its tensors' names."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from ..safetensors import StoredTensor

Kind = Literal["original", "clip", "open_clip", "ours"]
"""The layout of a section: the original one, transformers' CLIP, OpenCLIP with fused attention, or already ours."""

UNET = "model.diffusion_model."
_EMA = "model_ema."

_PREFIXES: tuple[tuple[str, str, Kind], ...] = (
    (UNET, "unet", "original"),
    ("control_model.", "controlnet", "original"),
    ("first_stage_model.", "vae", "original"),
    ("vae.", "vae", "original"),
    ("cond_stage_model.transformer.", "text_encoder", "clip"),
    ("cond_stage_model.model.", "text_encoder", "open_clip"),
    ("conditioner.embedders.0.transformer.", "text_encoder", "clip"),
    ("conditioner.embedders.1.model.", "text_encoder_2", "open_clip"),
    ("conditioner.embedders.0.model.", "text_encoder_2", "open_clip"),
)
_BARE: tuple[tuple[Collection[str], str, Kind], ...] = (
    (("input_hint_block.0.weight", "zero_convs.0.0.weight"), "controlnet", "original"),
    (("input_blocks.0.0.weight", "out.2.weight"), "unet", "original"),
    (("encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"), "vae", "original"),
    (("controlnet_cond_embedding.conv_in.weight", "conv_in.weight"), "controlnet", "ours"),
    (("down_blocks.0.resnets.0.conv1.weight", "conv_norm_out.weight"), "unet", "ours"),
    (("encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.conv_in.weight"), "vae", "ours"),
)
"""Components published alone: the names that tell them."""


@dataclass(frozen=True)
class Section:
    """A component's tensors, without their prefix."""

    component: str
    kind: Kind
    tensors: Mapping[str, StoredTensor]
    source: str
    """The file, for messages."""


def sections_of(file: Mapping[str, StoredTensor], *, extract_ema: bool, source: str) -> dict[str, Section]:
    """A file's components by the names that pipelines give them; empty when nothing is known.

    Averages of an autoencoder, losses, buffers of the sampler and the like are left out.

    Raises:
        ValueError: averaged weights were asked for and are not there.
    """
    found: dict[str, Section] = {}
    for prefix, component, kind in _PREFIXES:
        tensors = {name.removeprefix(prefix): tensor for name, tensor in file.items() if name.startswith(prefix)}
        tensors = {name: tensor for name, tensor in tensors.items() if not _is_training_only(name)}
        if tensors and component not in found:
            found[component] = Section(component, kind, tensors, source)
    has_sizes = "unet" in found and any(name.startswith("label_emb.") for name in found["unet"].tensors)
    if "unet" in found and not has_sizes and "text_encoder" not in found and "text_encoder_2" in found:
        # Stable Diffusion 2 as Stability's later code names it: in XL's place.
        found["text_encoder"] = replace(found.pop("text_encoder_2"), component="text_encoder")
    if extract_ema:
        if "unet" not in found:
            raise ValueError(f"{source} has no UNet, so extract_ema=True means nothing")
        found["unet"] = Section("unet", "original", _averaged(file, found["unet"], source), source)
    if not found:
        for marks, component, kind in _BARE:
            if all(mark in file for mark in marks):
                tensors = {name: tensor for name, tensor in file.items() if not _is_training_only(name)}
                return {component: Section(component, kind, tensors, source)}
    return found


def _averaged(file: Mapping[str, StoredTensor], unet: Section, source: str) -> dict[str, StoredTensor]:
    """The exponential moving averages, whose names have lost their dots."""
    names: dict[str, str] = {
        name: _EMA + (UNET.removeprefix("model.") + name).replace(".", "") for name in unet.tensors
    }
    missing = [average for average in names.values() if average not in file]
    if missing:
        raise ValueError(f"{source} has no averaged weights such as {missing[0]!r}; leave extract_ema out")
    return {name: file[average] for name, average in names.items()}


def _is_training_only(name: str) -> bool:
    return name.startswith(("loss.", _EMA))
