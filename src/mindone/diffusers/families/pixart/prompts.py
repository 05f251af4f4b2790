"""From prompts to T5's embeddings and the mask of their words (PixArt-α, §2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...engines import Array, Engine
from ..captions import cleaned
from ..components import LanguageModel, TextTokenizer
from ..t5_texts import lost, padded_to


@dataclass(frozen=True)
class PixArtReading:
    """How to read texts: how many tokens to keep, including the end, and whether to clean them first."""

    length: int
    clean: bool = False

    def ids(self, tokenizer: TextTokenizer, text: str) -> list[int]:
        """All tokens of a text, with its end."""
        return tokenizer.encode(cleaned(text) if self.clean else text.lower().strip())

    def unread(self, tokenizer: TextTokenizer, text: str) -> str | None:
        """A sentence that names the part of a text that is cut, where one is."""
        return lost(tokenizer, self.ids(tokenizer, text), self.length)

    def rows(self, tokenizer: TextTokenizer, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids (texts, length) and a mask, 1 for words and 0 for the padding that follows.

        Texts that are too long lose tokens before their end.
        """
        return padded_to(tokenizer, [self.ids(tokenizer, text) for text in texts], self.length)

    def encode(
        self, engine: Engine, network: LanguageModel, tokenizer: TextTokenizer, texts: Sequence[str]
    ) -> tuple[Array, Array]:
        """The denoiser's inputs from texts: hidden states (texts, length, channels), and the mask.

        Raises:
            ValueError: more tokens are requested than the text encoder reads.
        """
        if self.length > network.most_tokens:
            raise ValueError(
                f"max_sequence_length={self.length} exceeds the text encoder's limit of {network.most_tokens} tokens"
            )
        ids, mask = self.rows(tokenizer, texts)
        return network.encode_with(engine, ids, mask), engine.asarray(mask)
