"""What published checkpoints call differently from today's layout: the one place that knows.

- Autoencoders of Stable Diffusion 1.x and 2.x name their attention weights `query/key/value/proj_attn`, in some exports
  as 1×1 convolutions; today they are `to_q/to_k/to_v/to_out.0` and matrices.
- CLIP text encoders carry the buffer `embeddings.position_ids`, which is `arange(77)`; and newer transformers writes
  them without the `text_model.` prefix that all published files have. Vision towers have the same buffer.
"""

import re
from collections.abc import Callable, Iterable

from .safetensors import StoredTensor

_OLD_ATTENTION = re.compile(r"^(.*attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)$")
_NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_ATTENTION_MATRIX = re.compile(r"attentions\.\d+\.(?:to_q|to_k|to_v|to_out\.0)\.weight$")
_CLIP_TEXT_PARTS = ("embeddings.", "encoder.", "final_layer_norm.")

Rename = Callable[[str], str | None]
"""From a stored name to today's, or None for a tensor that no model has."""


def autoencoder_key(name: str) -> str:
    """Today's name of an autoencoder's tensor."""
    match = _OLD_ATTENTION.match(name)
    return f"{match[1]}.{_NEW_ATTENTION[match[2]]}.{match[3]}" if match else name


def clip_text_key(name: str) -> str | None:
    """The published name of a CLIP text encoder's tensor, with the `text_model.` prefix; None for `position_ids`."""
    if name.endswith("embeddings.position_ids"):
        return None
    return "text_model." + name if name.startswith(_CLIP_TEXT_PARTS) else name


def clip_vision_key(name: str) -> str | None:
    """The name of a vision tower's tensor; None for `position_ids`."""
    return None if name.endswith("embeddings.position_ids") else name


RENAMES: dict[str, Rename] = {
    "AutoencoderKL": autoencoder_key,
    "CLIPTextModel": clip_text_key,
    "CLIPTextModelWithProjection": clip_text_key,
    "CLIPVisionModelWithProjection": clip_vision_key,
    "StableDiffusionSafetyChecker": clip_vision_key,
    "CLIPSafetyChecker": clip_vision_key,
}


def normalize_keys(names: Iterable[str], model_class: str) -> dict[str, str]:
    """Today's name of every tensor that a model of class `model_class` has, to the name it is stored under.

    Raises:
        ValueError: two stored names mean the same tensor.
    """
    rename = RENAMES.get(model_class, lambda name: name)
    stored: dict[str, str] = {}
    for name in names:
        new_name = rename(name)
        if new_name is None:
            continue
        if new_name in stored:
            raise ValueError(f"{stored[new_name]!r} and {name!r} are the same tensor of {model_class}, {new_name!r}")
        stored[new_name] = name
    return stored


def normalize_tensor(name: str, tensor: StoredTensor, model_class: str) -> StoredTensor:
    """The tensor in today's shape: an autoencoder's attention weight stored as a 1×1 convolution becomes a matrix."""
    if model_class == "AutoencoderKL" and tensor.shape[2:] == (1, 1) and _ATTENTION_MATRIX.search(name):
        return tensor.reshape(tensor.shape[:2])
    return tensor
