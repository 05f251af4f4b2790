"""New words added to a text encoder and its tokenizer (textual inversion, Gal et al. 2022).

A word with several vectors has one token for each, ``cat``, ``cat_1``, ``cat_2``, …; the word in a prompt stands for
all of them. The vectors are an overlay on the embedding's table, which stays unchanged on disk.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..engines.base import Stored
from ..engines.binding import Computed, bind, published_name, stored
from ..loading.config import Config
from ..loading.safetensors import StoredTensor
from ..loading.tokenizer import CLIPTokenizer
from ..models.clip_text import CLIPTextModel
from ..models.layers import parameter
from ..utils.printable import shown


def with_rows(base: Stored, rows: Mapping[int, NDArray[np.float32]]) -> Computed:
    """A table (entries, channels) with some rows replaced or added."""
    shape = max(base.shape[0], max(rows) + 1), base.shape[1]

    def compute() -> NDArray[np.float32]:
        table = np.zeros(shape, np.float32)
        table[: base.shape[0]] = base.numpy(np.float32)
        for index, row in rows.items():
            table[index] = row
        return table

    return Computed(shape, compute)


class NetworkWords:
    """The added words of a text encoder and its tokenizer; pipelines that share these share this."""

    def __init__(self, network: CLIPTextModel):
        self.network = network
        self.vectors: dict[str, StoredTensor] = {}
        """(vectors, channels) by word."""
        self.tokenizer: CLIPTokenizer
        self._embedding = network.text_model.embeddings.token_embedding
        self._own_table = self._embedding.weight
        self._own_config = network.config

    def beside(self, tokenizer: CLIPTokenizer) -> "NetworkWords":
        """Itself; from now on this is the text encoder's ``tokenizer``, unless another one knows its words."""
        if not self.vectors:
            self.tokenizer = tokenizer
        return self

    def check(self, words: Mapping[str, StoredTensor]) -> None:
        """Refuse a word with more vectors than a prompt holds, or one that is known already.

        The tokenizer ignores case: words that differ only in case are the same.
        """
        config, known = self.network.config, self.tokenizer.get_vocab()
        most = min(self.tokenizer.model_max_length, config["max_position_embeddings"]) - 2
        found = {self.tokenizer.normalized(token): token for token in self.tokenizer.added_tokens_encoder}
        for word, vectors in words.items():
            if vectors.shape[0] > most:
                raise ValueError(f"{shown(word)} has {vectors.shape[0]} vectors; a prompt holds at most {most}")
            for token in tokens_of(word, vectors.shape[0]):
                same = token if token in known else found.get(self.tokenizer.normalized(token))
                if same is not None:
                    also = "" if same == token else f", as {shown(same)}"
                    raise ValueError(f"the tokenizer knows {shown(token)} already{also}; pass another token=")
                found[self.tokenizer.normalized(token)] = token

    def add(self, words: Mapping[str, StoredTensor]) -> None:
        """Add words."""
        if not self.vectors:
            self._own_table, self._own_config = self._embedding.weight, self.network.config
        self.vectors |= words
        self._apply()

    def remove(self, words: Sequence[str]) -> None:
        """Forget words; the ids of others may change."""
        for word in words:
            self.vectors.pop(word, None)
        self._apply()

    def _apply(self) -> None:
        spelled = {word: tokens_of(word, vectors.shape[0]) for word, vectors in self.vectors.items()}
        self.tokenizer.set_added_tokens([token for tokens in spelled.values() for token in tokens])
        known = self.tokenizer.get_vocab()
        ids = {word: [known[token] for token in tokens] for word, tokens in spelled.items()}
        rows: dict[int, NDArray[np.float32]] = {}
        for word, group in ids.items():
            rows |= dict(zip(group, self.vectors[word].numpy(np.float32)))
        table, config = self._own_table, self._own_config
        if rows:
            values = with_rows(stored(self._own_table), rows)
            table = parameter(*values.shape)
            bind(table, values, published_name(self._own_table, "text_model.embeddings.token_embedding.weight"))
            config = Config({**self._own_config, "vocab_size": values.shape[0]})
        self._embedding.weight, self.network.config = table, config
        self.network.graphs.clear()


def tokens_of(word: str, count: int) -> list[str]:
    """The tokens of a word of ``count`` vectors, named as published."""
    return [word, *(f"{word}_{i}" for i in range(1, count))]


def spelled_out(tokenizer: CLIPTokenizer, text: str) -> str:
    """``text`` with each added word replaced by all its tokens."""
    parts: list[str] = []
    spans, end = tokenizer.spans(text), 0
    for i, (number, start, stop) in enumerate(spans):
        group = tokenizer.groups.get(number, [number])
        if [each for each, _, _ in spans[i : i + len(group)]] != group:
            parts += [text[end:start], " ".join(tokenizer.convert_ids_to_tokens(group))]
            end = stop
    return "".join([*parts, text[end:]])
