"""CLIP's text towers in single files: in transformers' layout, and in OpenCLIP's (Stable Diffusion 2 and XL).

OpenCLIP stores queries, keys and values in one fused matrix. It also transposes the projection of XL's
second text encoder: (channels, projected) there, and (projected, channels) here.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from ...utils.printable import shown
from ..clip_vocabulary import SIZE, clip_tokenizer
from ..deferred import Deferred
from ..key_maps import RENAMES
from ..safetensors import ITEM_BYTES, StoredTensor
from ..tokenizer import CLIPTokenizer
from .key_map import KeyMap, indices_after, joined, sides
from .layout import NetworkLayout, Tensors, Vocabulary

HEAD_CHANNELS = 64
"""Channels per head of every published CLIP text tower (768 / 12, 1,024 / 16, 1,280 / 20)."""

PROJECTION = "text_projection"
_LAYER = (
    ("ln_1", "layer_norm1"),
    ("ln_2", "layer_norm2"),
    ("mlp.c_fc", "mlp.fc1"),
    ("mlp.c_proj", "mlp.fc2"),
    ("attn.out_proj", "self_attn.out_proj"),
)
_FUSED = "qkv"
_UNUSED, _VISION = ("logit_scale", "attn_mask"), "visual."


def open_clip_key_map(names: Collection[str]) -> KeyMap:
    """The map of a text tower's names in either layout, except the fused matrices."""
    layers = indices_after(names, "transformer.resblocks.") or indices_after(names, "text_model.encoder.layers.")
    pairs = [
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("token_embedding", "text_model.embeddings.token_embedding"),
        ("ln_final", "text_model.final_layer_norm"),
        (PROJECTION, f"{PROJECTION}.weight"),
    ]
    for i in layers:
        pairs += [(f"transformer.resblocks.{i}.{a}", f"text_model.encoder.layers.{i}.{b}") for a, b in _LAYER]
    return KeyMap(pairs)


def from_open_clip(tensors: Tensors, *, penultimate: bool) -> dict[str, StoredTensor]:
    """The tensors under our names. All are views of the stored ones except the projection, which is transposed.

    Args:
        tensors: the tower's, without a prefix such as ``cond_stage_model.model.``.
        penultimate: leave out the last layer and the projection, which Stable Diffusion 2 does not use. A file
            converted from our layout lacks them already: only a complete tower loses a layer.
    """
    keys = open_clip_key_map(tensors)
    layers = len(indices_after(tensors, "transformer.resblocks."))
    complete = PROJECTION in tensors or layers == 24  # OpenCLIP ViT-H/14 has 24 layers
    dropped = f"transformer.resblocks.{layers - 1}." if penultimate and complete else None
    result: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if (
            name in _UNUSED
            or name.startswith(_VISION)
            or (dropped is not None and (name.startswith(dropped) or name == PROJECTION))
        ):
            continue
        if ".attn.in_proj_" in name:
            sides(tensors, name, 2 if name.endswith("weight") else 1)
            result |= _split(name, tensor)
            continue
        ours = keys.ours(name)
        if ours is None:
            raise ValueError(f"tensor {shown(name)} does not belong to an OpenCLIP text tower")
        if name == PROJECTION:
            sides(tensors, name, 2)
            tensor = transposed(tensor)
        result[ours] = tensor
    return result


def to_open_clip(tensors: Tensors) -> Deferred[StoredTensor]:
    """Our tensors under the original layout's names, fused and transposed one at a time on demand.

    Raises:
        ValueError: that layout has no place for a tensor.
    """
    keys = open_clip_key_map(tensors)
    makers = {}
    for name in tensors:
        if ".self_attn." in name and ".out_proj." not in name:
            if ".q_proj." in name:
                sources = [name.replace(".q_proj.", f".{letter}_proj.") for letter in _FUSED]
                makers[_fused_name(name)] = partial(_fused, tensors, sources)
            continue
        original = keys.original(name)
        if original is None:
            raise ValueError(f"tensor {shown(name)} has no place in an OpenCLIP text tower")
        as_it_is = partial(tensors.__getitem__, name)
        makers[original] = partial(_turned, tensors, name) if original == PROJECTION else as_it_is
    return Deferred(makers)


def transposed(tensor: StoredTensor) -> StoredTensor:
    """A transposed copy of a matrix."""
    rows, columns = tensor.shape
    elements = tensor.data.view(f"<u{ITEM_BYTES[tensor.dtype]}").reshape(rows, columns)
    turned = np.ascontiguousarray(elements.T).reshape(-1)
    return StoredTensor(tensor.dtype, (columns, rows), turned.view(np.uint8))


def _turned(tensors: Tensors, name: str) -> StoredTensor:
    return transposed(tensors[name])


def _fused(tensors: Tensors, names: list[str]) -> StoredTensor:
    return joined([tensors[name] for name in names])


def _split(name: str, fused: StoredTensor) -> dict[str, StoredTensor]:
    layer, kind = name.removeprefix("transformer.resblocks.").split(".attn.in_proj_")
    rows = fused.shape[0] // len(_FUSED)
    return {
        f"text_model.encoder.layers.{layer}.self_attn.{letter}_proj.{kind}": fused.rows(i * rows, (i + 1) * rows)
        for i, letter in enumerate(_FUSED)
    }


def _fused_name(query: str) -> str:
    layer, kind = query.removeprefix("text_model.encoder.layers.").split(".self_attn.q_proj.")
    return f"transformer.resblocks.{layer}.attn.in_proj_{kind}"


def text_config(tensors: Tensors, *, open_clip: bool) -> dict[str, object]:
    """A text encoder's config in the published fields; with its projection it is a ``CLIPTextModelWithProjection``.

    Args:
        tensors: under our names.
        open_clip: trained by OpenCLIP, whose activation is the exact ``gelu``; OpenAI's is ``quick_gelu``.
    """
    embeddings = "text_model.embeddings"
    vocabulary, width = sides(tensors, f"{embeddings}.token_embedding.weight", 2)
    projection = sides(tensors, "text_projection.weight", 2)[0] if "text_projection.weight" in tensors else None
    return {
        "architectures": ["CLIPTextModel" if projection is None else "CLIPTextModelWithProjection"],
        "model_type": "clip_text_model",
        "hidden_size": width,
        "intermediate_size": sides(tensors, "text_model.encoder.layers.0.mlp.fc1.weight", 2)[0],
        "num_hidden_layers": len(indices_after(tensors, "text_model.encoder.layers.")),
        "num_attention_heads": max(width // HEAD_CHANNELS, 1),
        "max_position_embeddings": sides(tensors, f"{embeddings}.position_embedding.weight", 2)[0],
        "vocab_size": vocabulary,
        "projection_dim": width if projection is None else projection,
        "hidden_act": "gelu" if open_clip else "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
    }


def projected_clip(tensors: Tensors) -> dict[str, StoredTensor]:
    """A text tower in transformers' layout, with its projection if it has one."""
    named = {name: RENAMES["CLIPTextModelWithProjection"](name) for name in tensors}
    texts = ("text_model.", f"{PROJECTION}.")
    return {ours: tensors[name] for name, ours in named.items() if ours is not None and ours.startswith(texts)}


_EMBEDDINGS = "text_model.embeddings.token_embedding.weight"
_VIT_H_WIDTH = 1024
_VIT_H_LAYERS = 24


def is_vit_h(tensors: Tensors) -> bool:
    """Whether a tower is OpenCLIP ViT-H/14, which stable-diffusion.cpp stores in transformers' layout."""
    return _EMBEDDINGS in tensors and sides(tensors, _EMBEDDINGS, 2)[1] == _VIT_H_WIDTH


def _of_clip(tensors: Tensors) -> dict[str, StoredTensor]:
    found = {n: tensor for n, tensor in projected_clip(tensors).items() if not n.startswith(f"{PROJECTION}.")}
    unused = f"text_model.encoder.layers.{_VIT_H_LAYERS - 1}."  # Stable Diffusion 2 skips the last layer
    return {n: tensor for n, tensor in found.items() if not (n.startswith(unused) and is_vit_h(found))}


def is_open_clip(config: Mapping[str, object]) -> bool:
    """Whether a text encoder's config is that of an OpenCLIP."""
    return config.get("hidden_act") == "gelu"


_CLASSES = ("CLIPTextModel", "CLIPTextModelWithProjection")
VOCABULARY = Vocabulary(
    "CLIPTokenizer",
    _EMBEDDINGS,
    CLIPTokenizer.from_pretrained,
    SIZE,
    clip_tokenizer,
)
CLIP = NetworkLayout(
    _of_clip,
    lambda tensors: tensors,
    lambda tensors, *_: text_config(tensors, open_clip=is_vit_h(tensors)),
    _CLASSES,
    lambda config: not is_open_clip(config),
    VOCABULARY,
)
OPEN_CLIP = NetworkLayout(
    partial(from_open_clip, penultimate=False),
    to_open_clip,
    lambda tensors, *_: text_config(tensors, open_clip=True),
    _CLASSES,
    is_open_clip,
    VOCABULARY,
)
PENULTIMATE_OPEN_CLIP = replace(OPEN_CLIP, ours=partial(from_open_clip, penultimate=True))
"""As Stable Diffusion 2 uses it: without the last layer."""
