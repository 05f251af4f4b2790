"""Textual inversions under the published names; `adapters.textual_inversion` puts them on a text encoder."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..adapters.textual_inversion import Words, words_of
from ..adapters.textual_inversion_files import open_textual_inversion, read_textual_inversion
from ..loading.hub_files import FileSource
from ..loading.safetensors import StoredTensor
from ..loading.tokenizer import CLIPTokenizer
from ..models.clip_text import CLIPTextModel

USUAL_NAME = "learned_embeds.safetensors"


class TextualInversionPipeline:
    """The methods of a pipeline whose text encoders learn words."""

    def load_textual_inversion(
        self,
        path_or_id_or_dict: str | os.PathLike[str] | Mapping[str, NDArray[np.float32]],
        token: str | None = None,
        *,
        weight_name: str | None = None,
        text_encoder: CLIPTextModel | None = None,
        tokenizer: CLIPTokenizer | None = None,
        revision: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        """Have prompts know a word that was learned from pictures.

        Args:
            path_or_id_or_dict: a ``.safetensors`` file, a folder or a hub id with one, its address on the hub, or its
                tensors by name; for SDXL one with ``clip_l`` and ``clip_g`` for both text encoders.
            token: the word; by default what the file says, or its name.
            weight_name: the file in a folder or repository that has several.
            text_encoder: the one of the pipeline's that the vectors are for, where their width leaves it open.
            tokenizer: that text encoder's, as published calls name it; it is found without.
            revision, cache_dir, local_files_only: as in huggingface_hub.

        Raises:
            ValueError: another layout, vectors as wide as no text encoder, a word that is known, or a text encoder or
                tokenizer that is not the pipeline's.
            FileNotFoundError: no such file, or several that could be meant.
        """
        words = self._words()
        if text_encoder is not None:
            words = {name: each for name, each in words.items() if each.network is text_encoder}
        if tokenizer is not None:
            words = {name: each for name, each in words.items() if each.tokenizer is tokenizer}
        if not words:
            raise ValueError("text_encoder and tokenizer must be the pipeline's own, such as pipe.text_encoder_2")
        widths = {name: int(each.network.config["hidden_size"]) for name, each in words.items()}
        if isinstance(path_or_id_or_dict, Mapping):
            tensors = {name: StoredTensor.from_numpy(np.asarray(x)) for name, x in path_or_id_or_dict.items()}
            found = read_textual_inversion(tensors, widths, token)
        else:
            source = FileSource(path_or_id_or_dict, revision, cache_dir, local_files_only)
            found = open_textual_inversion(source.file(weight_name, USUAL_NAME), widths, token)
        for name in found.vectors:
            known = [each for each in found.tokens if each in words[name].tokenizer.get_vocab()]
            if known:
                raise ValueError(f"the tokenizer knows {known[0]!r} already; pass another token=")
        for name, vectors in found.vectors.items():
            words[name].add({found.token: vectors})

    def unload_textual_inversion(self, tokens: str | Sequence[str] | None = None) -> None:
        """Forget words that were loaded: these, or all.

        Raises:
            ValueError: a word that was not loaded.
        """
        words = self._words()
        loaded = list(dict.fromkeys(word for each in words.values() for word in each.vectors))
        names = loaded if tokens is None else [tokens] if isinstance(tokens, str) else list(tokens)
        unknown = [name for name in names if name not in loaded]
        if unknown:
            raise ValueError(f"no textual inversion {', '.join(map(repr, unknown))} is loaded; loaded are {loaded}")
        for each in words.values():
            each.remove(names)

    def maybe_convert_prompt(self, prompt: str | list[str], tokenizer: CLIPTokenizer) -> str | list[str]:
        """Prompts with all tokens of each loaded word in the word's place; a call does it by itself."""
        words = next((each for each in self._words().values() if each.tokenizer is tokenizer), None)
        if words is None:
            raise ValueError("tokenizer must be the pipeline's own, such as pipe.tokenizer")
        if isinstance(prompt, str):
            return words.spelled_out(prompt)
        return [words.spelled_out(text) for text in prompt]

    def _words(self) -> dict[str, Words]:
        """The added words by text encoder."""
        found = {}
        for name in ("text_encoder", "text_encoder_2"):
            network = getattr(self, name, None)
            if isinstance(network, CLIPTextModel):
                found[name] = words_of(network, getattr(self, name.replace("text_encoder", "tokenizer")))
        return found
