"""OpenCLIP's text towers as Stable Diffusion 2 and XL store them: queries, keys and values in one fused matrix.

The second text encoder of XL also has its projection the other way round: (channels, projected) there, and (projected,
channels) here.
"""

from collections.abc import Collection, Iterator, Mapping

import numpy as np

from ...utils.printable import shown
from ..safetensors import ITEM_BYTES, StoredTensor
from .key_map import KeyMap, indices_after, sides

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
    """The map of a text tower's names in either layout, but for the fused matrices."""
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


def from_open_clip(tensors: Mapping[str, StoredTensor], *, penultimate: bool) -> dict[str, StoredTensor]:
    """The tensors under our names. All are views of what is stored but the projection, which is turned.

    Args:
        tensors: those of the tower, without a prefix such as ``cond_stage_model.model.``.
        penultimate: leave out the last layer and the projection, which Stable Diffusion 2 does not use. A file that was
            written from our layout lacks them already: only a complete tower loses a layer.
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


class OpenClipView(Mapping[str, StoredTensor]):
    """Our tensors of a text tower under the original layout's names, fused one at a time when asked for."""

    def __init__(self, tensors: Mapping[str, StoredTensor]):
        self._tensors = tensors
        self._sources: dict[str, tuple[str, ...]] = {}
        keys = open_clip_key_map(tensors)
        for name in tensors:
            if ".self_attn." in name and ".out_proj." not in name:
                if ".q_proj." in name:
                    sources = tuple(name.replace(".q_proj.", f".{letter}_proj.") for letter in _FUSED)
                    self._sources[_fused_name(name)] = sources
                continue
            original = keys.original(name)
            if original is None:
                raise ValueError(f"tensor {shown(name)} has no place in an OpenCLIP text tower")
            self._sources[original] = (name,)

    def __getitem__(self, name: str) -> StoredTensor:
        parts = [self._tensors[source] for source in self._sources[name]]
        if len(parts) > 1:
            return concatenated(parts)
        return transposed(parts[0]) if name == PROJECTION else parts[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)


def transposed(tensor: StoredTensor) -> StoredTensor:
    """A copy of a matrix with rows for columns."""
    rows, columns = tensor.shape
    elements = tensor.data.view(f"<u{ITEM_BYTES[tensor.dtype]}").reshape(rows, columns)
    turned = np.ascontiguousarray(elements.T).reshape(-1)
    return StoredTensor(tensor.dtype, (columns, rows), turned.view(np.uint8))


def concatenated(tensors: list[StoredTensor]) -> StoredTensor:
    """Tensors of one type below one another, as a copy."""
    first = tensors[0]
    rows = sum(tensor.shape[0] for tensor in tensors)
    return StoredTensor(first.dtype, (rows, *first.shape[1:]), np.concatenate([tensor.data for tensor in tensors]))


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
