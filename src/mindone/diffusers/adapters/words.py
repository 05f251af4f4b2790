"""The words that text encoders learned (textual inversions), as ``pipe.words``."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import mindspore as ms
import numpy as np
from numpy.typing import NDArray

from ..engines import Array
from ..loading.hub_files import FileSource
from ..loading.safetensors import StoredTensor
from ..loading.tokenizer import CLIPTokenizer
from ..models.clip_text import CLIPTextModel
from ..utils.nearest import names_in
from ..utils.printable import shown
from .textual_inversion import NetworkWords, spelled_out
from .textual_inversion_files import TextualInversion, open_textual_inversion, read_textual_inversion

USUAL_NAME = "learned_embeds.safetensors"

Tensor = NDArray[np.generic] | StoredTensor | Array
Inversion = str | os.PathLike[str] | Mapping[str, Tensor | Mapping[str, Tensor] | str] | Tensor
"""A file, folder or hub id; its tensors by name; or the vectors themselves, (width,) or (vectors, width)."""


class Words:
    """The added words of text encoders.

    Args:
        encoders: the network and its tokenizer, by the text encoder's name.
    """

    def __init__(self, encoders: Mapping[str, tuple[CLIPTextModel, CLIPTokenizer]]):
        self._encoders = encoders

    @property
    def loaded(self) -> list[str]:
        """The loaded words."""
        every = [network.put_on.of(NetworkWords).beside(tokenizer) for network, tokenizer in self._encoders.values()]
        return list(dict.fromkeys(word for each in every for word in each.vectors))

    def load(
        self,
        pretrained_model_name_or_path: Inversion | list[Inversion],
        token: str | Sequence[str] | None = None,
        tokenizer: CLIPTokenizer | None = None,
        text_encoder: CLIPTextModel | None = None,
        *,
        weight_name: str | None = None,
        subfolder: str | None = None,
        use_safetensors: bool | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        hf_token: str | bool | None = None,
    ) -> None:
        """Load words that were learned from pictures, for use in prompts.

        Args:
            pretrained_model_name_or_path: a ``.safetensors`` file, a folder or a hub id with one, its address on the
                hub, its tensors by name (for SDXL ``clip_l`` and ``clip_g`` for both text encoders), or the vectors: an
                array or a tensor of shape (width,) or (vectors, width). A list of these loads several words.
            token: the word, or one for each item of the list; by default the file's own word, or its name. Several
                words for one array take a row each.
            tokenizer: the text encoder's, for published scripts; it is found without this.
            text_encoder: the pipeline's text encoder that the vectors are for, if their width leaves it open.
            weight_name: the file in a folder or repository that has several.
            subfolder: the folder inside it that holds the file.
            use_safetensors: must not be False: pickles are not read.
            revision, cache_dir, local_files_only, hf_token: as in huggingface_hub.

        Raises:
            ValueError: an unknown layout, vectors that fit no text encoder's width, more of them than a prompt holds, a
                word that is known already, a number of words that does not match what there is to load, or a text
                encoder or tokenizer that is not the pipeline's. Then no word is loaded.
            FileNotFoundError: no such file, or several that would fit.
        """
        if use_safetensors is False:
            raise ValueError(
                "use_safetensors must be True: pickle files are not read; take the word's .safetensors file"
            )
        words = self._chosen(tokenizer, text_encoder)
        widths = {name: int(each.network.config["hidden_size"]) for name, each in words.items()}
        inversions: list[TextualInversion] = []
        for each, word in _pairs(pretrained_model_name_or_path, token):
            if isinstance(each, str | os.PathLike):
                source = FileSource(each, revision, cache_dir, local_files_only, hf_token)
                inversions.append(
                    open_textual_inversion(source.file(weight_name, USUAL_NAME, subfolder=subfolder), widths, word)
                )
            else:
                tensors, own = _tensors(each)
                inversions.append(read_textual_inversion(tensors, widths, word, name=own))
        added = {
            name: {found.token: found.vectors[name] for found in inversions if name in found.vectors} for name in words
        }
        if sum(map(len, added.values())) < sum(len(found.vectors) for found in inversions):
            raise ValueError(f"every token must be a different word, got {[found.token for found in inversions]}")
        for name, new in added.items():
            words[name].check(new)
        for name, new in added.items():
            if new:
                words[name].add(new)

    def unload(
        self,
        tokens: str | Sequence[str] | None = None,
        tokenizer: CLIPTokenizer | None = None,
        text_encoder: CLIPTextModel | None = None,
    ) -> None:
        """Forget loaded words: these, or all; from all text encoders, or from the given one.

        Raises:
            ValueError: a word is not loaded, or a text encoder or tokenizer is not the pipeline's.
        """
        words = self._chosen(tokenizer, text_encoder)
        loaded = list(dict.fromkeys(word for each in words.values() for word in each.vectors))
        names = loaded if tokens is None else names_in("tokens", tokens)
        unknown = [name for name in names if name not in loaded]
        if unknown:
            raise ValueError(f"no textual inversion {', '.join(map(repr, unknown))} is loaded; loaded are {loaded}")
        for each in words.values():
            each.remove(names)

    def spelled_out(self, prompt: str | list[str], tokenizer: CLIPTokenizer) -> str | list[str]:
        """Prompts with each added word replaced by all its tokens; a call does this itself."""
        if isinstance(prompt, str):
            return spelled_out(tokenizer, prompt)
        return [spelled_out(tokenizer, text) for text in prompt]

    def _chosen(
        self, tokenizer: CLIPTokenizer | None = None, text_encoder: CLIPTextModel | None = None
    ) -> dict[str, NetworkWords]:
        """The added words by text encoder, for those that have this tokenizer and are this network."""
        found = {}
        for name, (network, own) in self._encoders.items():
            if text_encoder in (None, network) and tokenizer in (None, own):
                found[name] = network.put_on.of(NetworkWords).beside(own)
        if not self._encoders:
            raise ValueError("the pipeline has no CLIP text encoder with a tokenizer, so it cannot learn words")
        if not found:
            raise ValueError("text_encoder and tokenizer must be the pipeline's own, such as pipe.text_encoder_2")
        return found


def _pairs(given: Inversion | list[Inversion], token: str | Sequence[str] | None) -> list[tuple[Inversion, str | None]]:
    """The sources to load, each with its word if one is given."""
    sources = list(given) if isinstance(given, list | tuple) else [given]
    words: list[str | None] = [None] * len(sources) if token is None else [*names_in("token", token)]
    if len(words) > 1 and len(sources) == 1 and _is_tensor(sources[0]):
        rows = _stored(sources[0])
        if len(rows.shape) == 2:
            sources = [rows.rows(i, i + 1) for i in range(rows.shape[0])]
    if len(words) != len(sources):
        what = "vectors" if all(map(_is_tensor, sources)) else "textual inversions"
        raise ValueError(f"token must name one word for each of the {len(sources)} {what}, got {len(words)}")
    twice = [word for word, count in Counter(words).items() if word is not None and count > 1]
    if twice:
        raise ValueError(f"token names {shown(twice[0])} twice; each word needs a name of its own")
    return list(zip(sources, words))


def _is_tensor(given: object) -> TypeGuard[Tensor]:
    return hasattr(given, "shape")


def _tensors(given: Mapping[str, object] | Tensor) -> tuple[dict[str, StoredTensor], str | None]:
    """The tensors of a file by name, and the word if the file has AUTOMATIC1111's older layout."""
    if not isinstance(given, Mapping):
        return {"emb_params": _stored(given)}, None
    inner, name = given.get("string_to_param"), given.get("name")
    if isinstance(inner, Mapping):
        return {key: _stored(tensor) for key, tensor in inner.items()}, name if isinstance(name, str) else None
    return {key: _stored(tensor) for key, tensor in given.items()}, None


def _stored(tensor: object) -> StoredTensor:
    if isinstance(tensor, StoredTensor):
        return tensor
    array = tensor.float().asnumpy() if isinstance(tensor, ms.Tensor) else np.asarray(tensor)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"vectors must be an array or a tensor of floats, got {type(tensor).__name__}")
    return StoredTensor.from_numpy(array)
