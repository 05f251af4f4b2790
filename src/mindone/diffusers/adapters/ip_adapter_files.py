"""IP-Adapter files: attention to an image alongside the text (Ye et al. 2023).

A file has two parts: ``image_proj`` turns an image's CLIP vectors into a few tokens, and ``ip_adapter`` has keys and
values for them, numbered 1, 3, 5, … over the attentions to the text. The plain adapter
projects one pooled vector with a matrix; *plus* resamples all of the image's vectors (Alayrac et al. 2022, §3.1.1).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..engines.binding import check_finite
from ..families.adapters import Shapes
from ..loading.original.key_map import indices_after
from ..loading.safetensors import SafetensorsFile, StoredTensor
from ..utils.printable import shown

HEAD_CHANNELS = 64
"""Channels per head of the resampler in every published *plus* adapter."""
_MOST_LAYERS = 64
"""Published resamplers have four."""
_PROJECTION, _ATTENTION = "image_proj.", "ip_adapter."
_RESAMPLER = (
    (re.compile(r"^layers\.(\d+)\.0\.norm1\."), r"layers.\1.ln0."),
    (re.compile(r"^layers\.(\d+)\.0\.norm2\."), r"layers.\1.ln1."),
    (re.compile(r"^layers\.(\d+)\.0\.to_out\."), r"layers.\1.attn.to_out.0."),
    (re.compile(r"^layers\.(\d+)\.0\.to_"), r"layers.\1.attn.to_"),
    (re.compile(r"^layers\.(\d+)\.1\.0\."), r"layers.\1.ff.0."),
    (re.compile(r"^layers\.(\d+)\.1\.1\."), r"layers.\1.ff.1.net.0.proj."),
    (re.compile(r"^layers\.(\d+)\.1\.3\."), r"layers.\1.ff.1.net.2."),
)
_OTHERS = (
    ("perceiver_resampler.proj_in.weight", "IP-Adapter FaceID Plus"),
    ("proj.3.weight", "IP-Adapter Full Face"),
    ("proj.0.weight", "IP-Adapter FaceID"),
)


@dataclass(frozen=True)
class IPAdapter:
    """The contents of an IP-Adapter file, under the published names."""

    kind: Literal["plain", "plus"]
    config: Mapping[str, int]
    """The arguments of ``ImageProjection`` (plain) or ``IPAdapterPlusImageProjection``, read from the shapes."""
    projection: Mapping[str, StoredTensor]
    """The tensors of that network."""
    attention: Mapping[str, StoredTensor]
    """``down_blocks.….attn2.to_k_ip.weight`` and ``….to_v_ip.weight``, in the shape of the attention's own."""

    @property
    def tokens(self) -> int:
        """How many tokens one image becomes."""
        return self.config["num_image_text_embeds" if self.kind == "plain" else "num_queries"]

    @property
    def image_channels(self) -> int:
        """The channels of the vectors from the image encoder that it was trained with."""
        return self.config["image_embed_dim" if self.kind == "plain" else "embed_dims"]


def open_ip_adapter(path: str | os.PathLike[str], network: Shapes, attentions: Sequence[str]) -> IPAdapter:
    """Read an IP-Adapter's ``.safetensors`` file; see `read_ip_adapter`."""
    path = Path(path)
    return read_ip_adapter(SafetensorsFile(path), network, attentions, source=str(path))


def read_ip_adapter(
    tensors: Mapping[str, StoredTensor], network: Shapes, attentions: Sequence[str], *, source: str = "the IP-Adapter"
) -> IPAdapter:
    """Split an IP-Adapter into its parts.

    Args:
        tensors: the file's.
        network: the shapes of the denoiser's parameters by name.
        attentions: its attentions to the text, in the order in which such files number them.
        source: the file, for messages.

    Raises:
        ValueError: it is no IP-Adapter, of an unsupported kind, for another network, or has values that are NaN or
            infinite.
    """
    projection = {n.removeprefix(_PROJECTION): t for n, t in tensors.items() if n.startswith(_PROJECTION)}
    numbered = {n.removeprefix(_ATTENTION): t for n, t in tensors.items() if n.startswith(_ATTENTION)}
    if not projection or not numbered:
        has = ", ".join(shown(name) for name in sorted(tensors)[:4])
        raise ValueError(f"{source} is no IP-Adapter: it lacks {_PROJECTION}… or {_ATTENTION}…, and has {has}")
    for mark, kind in _OTHERS:
        if mark in projection:
            raise ValueError(f"{source} is {kind}: it has {_PROJECTION + mark!r}; only plain and plus are supported")
    attention = _by_layer(numbered, network, attentions, source)
    check_finite(tensors, source)
    if "proj.weight" in projection:
        (width,) = _sizes(projection, "norm.weight", 1, source)
        rows, image_width = _sizes(projection, "proj.weight", 2, source)
        config = {
            "image_embed_dim": image_width,
            "cross_attention_dim": width,
            "num_image_text_embeds": rows // width,
        }
        renamed = {re.sub(r"^proj\.", "image_embeds.", name): tensor for name, tensor in projection.items()}
        return IPAdapter("plain", config, renamed, attention)
    if "latents" not in projection:
        has = ", ".join(shown(name) for name in sorted(projection)[:4])
        raise ValueError(f"{source} projects images in an unknown way: it has {has}; only plain and plus are supported")
    renamed = _resampler(projection, source)
    _, queries, hidden = _sizes(projection, "latents", 3, source)
    depth = len(indices_after(renamed, "layers."))
    if depth > _MOST_LAYERS:
        raise ValueError(f"{source} has {depth} layers in its resampler; at most {_MOST_LAYERS} are read")
    config = {
        "embed_dims": _sizes(projection, "proj_in.weight", 2, source)[1],
        "output_dims": _sizes(projection, "proj_out.weight", 2, source)[0],
        "hidden_dims": hidden,
        "depth": depth,
        "heads": max(_sizes(renamed, "layers.0.attn.to_q.weight", 2, source)[0] // HEAD_CHANNELS, 1),
        "num_queries": queries,
    }
    return IPAdapter("plus", config, renamed, attention)


def _sizes(tensors: Mapping[str, StoredTensor], name: str, axes: int, source: str) -> tuple[int, ...]:
    """The sizes of a tensor that gives a network's; raises ValueError if there is none with these axes."""
    tensor = tensors.get(name)
    if tensor is None or len(tensor.shape) != axes or 0 in tensor.shape:
        has = "nothing" if tensor is None else "×".join(map(str, tensor.shape)) or "one number"
        raise ValueError(f"{source} is broken: {name} of its projection must have {axes} sizes above 0, it has {has}")
    return tensor.shape


def _by_layer(
    numbered: Mapping[str, StoredTensor], network: Shapes, attentions: Sequence[str], source: str
) -> dict[str, StoredTensor]:
    """Keys and values, named for the attentions that they join."""
    layers = enumerate(attentions)
    own = {f"{2 * i + 1}.to_{letter}_ip.weight": (layer, letter) for i, layer in layers for letter in "kv"}
    missing, strange = sorted(own.keys() - numbered.keys()), sorted(numbered.keys() - own.keys())
    if missing or strange:
        raise ValueError(
            f"{source} is for another network: it has {len(numbered)} keys and values for {len(own)} here, such as "
            f"{shown(_ATTENTION + (missing or strange)[0])}"
        )
    found = {}
    for name, (layer, letter) in own.items():
        expected, shape = network[f"{layer}.to_{letter}.weight"], numbered[name].shape
        if shape != tuple(expected):
            raise ValueError(
                f"{source} is for another network: {_ATTENTION + name!r} is {'×'.join(map(str, shape))}, {layer} takes "
                f"{'×'.join(map(str, expected))}"
            )
        found[f"{layer}.to_{letter}_ip.weight"] = numbered[name]
    return found


def _resampler(projection: Mapping[str, StoredTensor], source: str) -> dict[str, StoredTensor]:
    """The resampler's tensors under the published names; keys and values, one matrix in the file, are split."""
    renamed: dict[str, StoredTensor] = {}
    for original, tensor in projection.items():
        name = original
        for pattern, replacement in _RESAMPLER:
            name, changed = pattern.subn(replacement, name)
            if changed:
                break
        if ".to_kv." in name:
            half = _sizes(projection, original, 2, source)[0] // 2
            renamed[name.replace("to_kv", "to_k")] = tensor.rows(0, half)
            renamed[name.replace("to_kv", "to_v")] = tensor.rows(half, 2 * half)
        else:
            renamed[name] = tensor
    return renamed
