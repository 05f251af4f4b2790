"""Textual inversion files: vectors for a new word (Gal et al. 2022).

Published layouts: one tensor under the word itself (diffusers), under ``emb_params`` (AUTOMATIC1111, Stable Diffusion 1
and 2), and ``clip_l`` with ``clip_g`` for XL's two text encoders. The last two do not give the word: it is the file's
name.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..engines.binding import check_finite
from ..loading.safetensors import SafetensorsFile, StoredTensor

_XL = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
_WORDLESS = ("emb_params", "*")


@dataclass(frozen=True)
class TextualInversion:
    """A word and its vectors."""

    token: str
    vectors: Mapping[str, StoredTensor]
    """(vectors, width) by text encoder."""


def is_textual_inversion(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a file's tensors are vectors for a word."""
    is_one = len(tensors) == 1 and all(0 < len(tensor.shape) <= 2 for tensor in tensors.values())
    return is_one or tensors.keys() == _XL.keys()


def open_textual_inversion(
    path: str | os.PathLike[str], widths: Mapping[str, int], token: str | None = None
) -> TextualInversion:
    """Read a textual inversion's ``.safetensors`` file; see `read_textual_inversion`."""
    path = Path(path)
    return read_textual_inversion(SafetensorsFile(path), widths, token, name=path.stem, source=str(path))


def read_textual_inversion(
    tensors: Mapping[str, StoredTensor],
    widths: Mapping[str, int],
    token: str | None = None,
    *,
    name: str | None = None,
    source: str = "the textual inversion",
) -> TextualInversion:
    """Find a word and the text encoders that its vectors are for.

    Args:
        tensors: the file's.
        widths: the widths of the pipeline's text encoders, by name: ``{"text_encoder": 768}``.
        token: the word; None for the file's own, or else ``name``.
        name: the file's name without its suffix.
        source: the file, for messages.

    Raises:
        ValueError: an unknown layout, no word, vectors that fit no text encoder's width, or values that are NaN or
            infinite.
    """
    found, named = _found(tensors, source)
    check_finite(tensors, source)
    word = token or named or name
    if not word or not word.strip():
        raise ValueError(f"{source} does not say its word; pass token=")
    vectors: dict[str, StoredTensor] = {}
    for encoder, tensor in found.items():
        if len(tensor.shape) not in (1, 2) or 0 in tensor.shape:
            raise ValueError(f"{source}: vectors must be (vectors, width), got a shape of {tensor.shape}")
        width = tensor.shape[-1]
        fitting = [name for name, own in widths.items() if own == width and encoder in (None, name)]
        if not fitting:
            here = ", ".join(f"{own} ({name})" for name, own in widths.items())
            raise ValueError(f"{source} is for another base: its vectors have width {width}, text encoders here {here}")
        vectors[fitting[0]] = tensor.reshape((tensor.size // width, width))
    if len({tensor.shape[0] for tensor in vectors.values()}) > 1:
        raise ValueError(f"{source} has {' and '.join(str(t.shape[0]) for t in vectors.values())} vectors for one word")
    return TextualInversion(word, vectors)


def _found(tensors: Mapping[str, StoredTensor], source: str) -> tuple[Mapping[str | None, StoredTensor], str | None]:
    """The vectors by text encoder (None: the width decides), and the word if the file gives it."""
    if tensors.keys() == _XL.keys():
        return {encoder: tensors[name] for name, encoder in _XL.items()}, None
    if len(tensors) != 1:
        shown = ", ".join(map(repr, sorted(tensors)[:4]))
        raise ValueError(
            f"{source} is no known textual inversion: it has {shown}; supported: one tensor under its word, "
            "emb_params, or clip_l with clip_g"
        )
    ((name, tensor),) = tensors.items()
    if name in _XL:
        return {_XL[name]: tensor}, None
    return {None: tensor}, None if name in _WORDLESS else name
