"""Texts with a mask that marks their padding, which the denoisers of PixArt and Sana read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine
from .captions import cleaned
from .components import TextTokenizer


def filled(rows: Sequence[Sequence[int]], length: int, padding: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids (rows, length), filled with padding at the end, and a mask, 1 for the rows' own and 0 for padding."""
    ids = np.full((len(rows), length), padding, np.int64)
    mask = np.zeros((len(rows), length), np.float32)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1.0
    return ids, mask


@dataclass(frozen=True)
class TextReading(ABC):
    """How to read texts: how many tokens to keep, and whether to clean them first."""

    length: int
    clean: bool = False

    def ids(self, tokenizer: TextTokenizer, text: str, prefix: str = "") -> list[int]:
        """All tokens of a text after a prefix."""
        return tokenizer.encode(prefix + (cleaned(text) if self.clean else text.lower().strip()))

    @abstractmethod
    def unread(self, tokenizer: TextTokenizer, text: str) -> str | None:
        """A sentence that quotes the part of a text that is cut off, if any."""

    @abstractmethod
    def encode(
        self, engine: Engine, network: Any, tokenizer: TextTokenizer, texts: Sequence[str]
    ) -> tuple[Array, Array]:
        """The denoiser's inputs: embeddings (texts, length, channels), and a mask, 1 for words and 0 for padding.

        Texts that are too long are cut, with a warning that quotes the part that is lost.

        Raises:
            ValueError: more tokens are requested than the text encoder reads, or it does not know one.
        """
