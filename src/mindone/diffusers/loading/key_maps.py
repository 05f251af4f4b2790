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
from dataclasses import dataclass

from ..utils.printable import shown
from .safetensors import StoredTensor

_OLD_ATTENTION = re.compile(r"^(.*attentions\.\d+)\.(query|key|value|proj_attn)\.(weight|bias)$")
_NEW_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_ATTENTION_MATRIX = re.compile(r"attentions\.\d+\.(?:to_q|to_k|to_v|to_out\.0)\.weight$")
_CLIP_TEXT_PARTS = ("embeddings.", "encoder.", "final_layer_norm.")
_TEXT = ("text_model.", "text_projection.")
_VISION = ("vision_model.", "visual_projection.")
_NEITHER = ("logit_scale",)
_POSITIONS = ("embeddings.position_ids",)


@dataclass(frozen=True)
class Rename:
    """Maps a stored name to today's, or to None for a tensor that no model has."""

    begins: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    """How the names of such tensors begin, or end."""
    today: Callable[[str], str] = str
    """Maps the names of the others."""

    def __call__(self, name: str) -> str | None:
        """Today's name."""
        return None if name.startswith(self.begins) or name.endswith(self.ends) else self.today(name)


def _with_new_attention(name: str) -> str:
    match = _OLD_ATTENTION.match(name)
    return f"{match[1]}.{_NEW_ATTENTION[match[2]]}.{match[3]}" if match else name


def _with_prefix(name: str) -> str:
    return "text_model." + name if name.startswith(_CLIP_TEXT_PARTS) else name


RENAMES = {
    "AutoencoderDC": Rename(ends=(".num_batches_tracked",)),
    "AutoencoderKL": Rename(today=_with_new_attention),
    "CLIPTextModel": Rename((*_VISION, *_NEITHER, "text_projection."), _POSITIONS, _with_prefix),
    "CLIPTextModelWithProjection": Rename((*_VISION, *_NEITHER), _POSITIONS, _with_prefix),
    "CLIPVisionModelWithProjection": Rename((*_TEXT, *_NEITHER), _POSITIONS),
    "Gemma2Model": Rename(("lm_head.",), today=lambda name: name.removeprefix("model.")),
    "PixArtTransformer2DModel": Rename(("pos_embed.pos_embed",)),
    "StableDiffusionSafetyChecker": Rename(ends=_POSITIONS),
    "T5EncoderModel": Rename(("decoder.", "lm_head.")),
}
"""How to rename the tensors of each class; those of other classes keep their names."""

REPEATED: dict[str, dict[str, str]] = {"T5EncoderModel": {"encoder.embed_tokens.weight": "shared.weight"}}
"""For each class, the tensors that repeat another one; we read them if that one is missing."""


def normalize_keys(names: Iterable[str], model_class: str) -> dict[str, str]:
    """Maps today's name of every tensor that a model of class `model_class` has to its stored name.

    Raises:
        ValueError: two stored names mean the same tensor.
    """
    rename = RENAMES.get(model_class, Rename())
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
