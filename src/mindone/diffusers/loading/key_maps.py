"""The tensor names in published checkpoints that differ from today's layout; only this module knows them.

- Autoencoders of Stable Diffusion 1.x and 2.x name their attention weights `query/key/value/proj_attn`, in some exports
  as 1×1 convolutions; today they are `to_q/to_k/to_v/to_out.0` and matrices.
- CLIP text encoders carry the buffer `embeddings.position_ids`, which is `arange(77)`; newer transformers omits the
  `text_model.` prefix that all published files have. Vision towers have the same buffer.
- Batch normalization has a counter, `num_batches_tracked`, that only training reads.
- A PixArt transformer may carry its positions, `pos_embed.pos_embed`, which we compute.
- A language model with its head over the vocabulary has the prefix `model.` before the model's tensors; we skip the
  head, which repeats the embeddings.
- T5's embeddings are `shared.weight`, and in many files `encoder.embed_tokens.weight` as well, or instead. A file of
  the whole network has a decoder and a head.
- A file of a whole CLIP has both towers, both projections and `logit_scale`; each network takes its own.
"""

import re
from collections.abc import Callable, Iterable

from ..utils.printable import shown
from .safetensors import StoredTensor

_OLD_ATTENTION = re.compile(r"^(.*attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)$")
_NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_ATTENTION_MATRIX = re.compile(r"attentions\.\d+\.(?:to_q|to_k|to_v|to_out\.0)\.weight$")
_CLIP_TEXT_PARTS = ("embeddings.", "encoder.", "final_layer_norm.")
_TEXT = ("text_model.", "text_projection.")
_VISION = ("vision_model.", "visual_projection.")
_NEITHER = ("logit_scale",)

Rename = Callable[[str], str | None]
"""Maps a stored name to today's, or to None for a tensor that no model has."""


def autoencoder_key(name: str) -> str:
    """Today's name of an autoencoder's tensor."""
    match = _OLD_ATTENTION.match(name)
    return f"{match[1]}.{_NEW_ATTENTION[match[2]]}.{match[3]}" if match else name


def clip_text_key(name: str) -> str | None:
    """The published name of a CLIP text encoder's tensor, with the `text_model.` prefix; None for other tensors."""
    if name.endswith("embeddings.position_ids") or name.startswith((*_VISION, *_NEITHER)):
        return None
    return "text_model." + name if name.startswith(_CLIP_TEXT_PARTS) else name


def clip_text_key_without_projection(name: str) -> str | None:
    """The same for a text encoder without a projection."""
    return None if name.startswith("text_projection.") else clip_text_key(name)


def clip_vision_key(name: str) -> str | None:
    """The name of a vision tower's tensor; None for `position_ids`."""
    return None if name.endswith("embeddings.position_ids") else name


def clip_image_encoder_key(name: str) -> str | None:
    """The name of an image encoder's tensor; None for the text tower's and those of neither."""
    return None if name.startswith((*_TEXT, *_NEITHER)) else clip_vision_key(name)


def autoencoder_dc_key(name: str) -> str | None:
    """The name of a deep-compression autoencoder's tensor; None for a counter that only training reads."""
    return None if name.endswith(".num_batches_tracked") else name


def causal_text_key(name: str) -> str | None:
    """The name of a language model's tensor without the prefix `model.`; None for its head over the vocabulary."""
    return None if name.startswith("lm_head.") else name.removeprefix("model.")


def t5_encoder_key(name: str) -> str | None:
    """The name of a tensor of T5's encoder; None for the decoder's."""
    return None if name.startswith(("decoder.", "lm_head.")) else name


def pixart_key(name: str) -> str | None:
    """The name of a PixArt transformer's tensor; None for the positions for its training size."""
    return None if name == "pos_embed.pos_embed" else name


RENAMES: dict[str, Rename] = {
    "AutoencoderDC": autoencoder_dc_key,
    "AutoencoderKL": autoencoder_key,
    "CLIPTextModel": clip_text_key_without_projection,
    "CLIPTextModelWithProjection": clip_text_key,
    "Gemma2Model": causal_text_key,
    "PixArtTransformer2DModel": pixart_key,
    "CLIPVisionModelWithProjection": clip_image_encoder_key,
    "StableDiffusionSafetyChecker": clip_vision_key,
    "T5EncoderModel": t5_encoder_key,
}

REPEATED: dict[str, dict[str, str]] = {"T5EncoderModel": {"encoder.embed_tokens.weight": "shared.weight"}}
"""For each class, the tensors that repeat another one; we read them if that one is missing."""


def normalize_keys(names: Iterable[str], model_class: str) -> dict[str, str]:
    """Maps today's name of every tensor that a model of class `model_class` has to its stored name.

    Raises:
        ValueError: two stored names mean the same tensor.
    """
    rename: Rename = RENAMES.get(model_class, str)
    repeated, names = REPEATED.get(model_class, {}), list(names)
    stored: dict[str, str] = {}
    for name in names:
        new_name = rename(name)
        if name in repeated:
            new_name = None if repeated[name] in names else repeated[name]
        if new_name is None:
            continue
        if new_name in stored:
            raise ValueError(
                f"{shown(stored[new_name])} and {shown(name)} are the same tensor of {model_class}, {shown(new_name)}"
            )
        stored[new_name] = name
    return stored


def normalize_tensor(name: str, tensor: StoredTensor, model_class: str) -> StoredTensor:
    """The tensor in today's shape: an autoencoder's attention weight stored as a 1×1 convolution becomes a matrix."""
    if model_class == "AutoencoderKL" and tensor.shape[2:] == (1, 1) and _ATTENTION_MATRIX.search(name):
        return tensor.reshape(tensor.shape[:2])
    return tensor
