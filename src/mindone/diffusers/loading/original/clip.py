"""CLIP's text towers in single files: in transformers' layout, and in OpenCLIP's (Stable Diffusion 2 and XL).

OpenCLIP stores queries, keys and values in one fused matrix. It also transposes the projection of XL's
second text encoder: (channels, projected) there, and (projected, channels) here.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from ..clip_vocabulary import SIZE, clip_tokenizer
from ..key_maps import RENAMES
from ..safetensors import ITEM_BYTES, StoredTensor
from ..tokenizer import CLIPTokenizer
from .fused_layers import Blocks, FusedLayout, equal_parts
from .key_map import indices_after, sides
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
_FUSED = {"attn.in_proj_": equal_parts("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")}
_LAYERS = FusedLayout(
    (Blocks("transformer.resblocks.", "text_model.encoder.layers.", _FUSED, _LAYER),),
    (
        ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
        ("token_embedding", "text_model.embeddings.token_embedding"),
        ("ln_final", "text_model.final_layer_norm"),
        (PROJECTION, f"{PROJECTION}.weight"),
    ),
)
"""An OpenCLIP's."""
_UNUSED, _VISION = ("logit_scale", "attn_mask"), "visual."


def from_open_clip(tensors: Tensors, *, penultimate: bool) -> dict[str, StoredTensor]:
    """The tensors under our names. All are views of the stored ones except the projection, which is transposed.

    Args:
        tensors: the tower's, without a prefix such as ``cond_stage_model.model.``.
        penultimate: leave out the last layer and the projection, which Stable Diffusion 2 does not use. A file
            converted from our layout lacks them already: only a complete tower loses a layer.
    """
    layers = len(indices_after(tensors, "transformer.resblocks."))
    complete = PROJECTION in tensors or layers == 24  # OpenCLIP ViT-H/14 has 24 layers
    unused, begins = {*_UNUSED}, [_VISION]
    if penultimate and complete:
        unused.add(PROJECTION)
        begins.append(f"transformer.resblocks.{layers - 1}.")
    kept = {name: x for name, x in tensors.items() if name not in unused and not name.startswith(tuple(begins))}
    return _with_turned_projection(_LAYERS.split(kept))


def _with_turned_projection(tensors: Tensors) -> dict[str, StoredTensor]:
    """Tensors under our names with a transposed copy of the projection, if there is one."""
    name = f"{PROJECTION}.weight"
    if name not in tensors:
        return dict(tensors)
    sides(tensors, name, 2)
    return {**tensors, name: transposed(tensors[name])}


def transposed(tensor: StoredTensor) -> StoredTensor:
    """A transposed copy of a matrix."""
    rows, columns = tensor.shape
    elements = tensor.data.view(f"<u{ITEM_BYTES[tensor.dtype]}").reshape(rows, columns)
    turned = np.ascontiguousarray(elements.T).reshape(-1)
    return StoredTensor(tensor.dtype, (columns, rows), turned.view(np.uint8))


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
    lambda tensors: _LAYERS.fuse(_with_turned_projection(tensors)),
    lambda tensors, *_: text_config(tensors, open_clip=True),
    _CLASSES,
    is_open_clip,
    VOCABULARY,
)
PENULTIMATE_OPEN_CLIP = replace(OPEN_CLIP, ours=partial(from_open_clip, penultimate=True))
"""As Stable Diffusion 2 uses it: without the last layer."""
