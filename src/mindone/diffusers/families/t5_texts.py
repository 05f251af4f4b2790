"""T5's tokens for texts: each with its end, padded to one length."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine
from ..loading.lost_texts import lost_part, warn_of
from .components import LanguageModel, TextTokenizer
from .masked_texts import filled

MOST_TOKENS = 512
"""The most tokens of a text in published pipelines whose denoisers attend to padding like words."""


def encode_padded(
    engine: Engine, network: LanguageModel, tokenizer: TextTokenizer, texts: Sequence[str], length: int
) -> Array:
    """Hidden states (texts, length, channels) of texts with their padding, which the network reads as it does words.

    Texts beyond the length are cut off, with a warning that names the part that is lost.
    """
    ids, _ = padded_to(tokenizer, [tokenizer.encode(text) for text in texts], length)
    return network.encode_with(engine, ids)


def padded_to(
    tokenizer: TextTokenizer, rows: Sequence[Sequence[int]], length: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids (texts, length) and a mask, 1 for words and the end, 0 for the padding that follows.

    Args:
        tokenizer: the tokenizer of the ids.
        rows: all tokens of each text, with its end. Texts that are too long lose tokens before the end, with a warning
            that quotes them.
        length: the number of tokens to read, including the end.
    """
    warn_of(lost(tokenizer, row, length) for row in rows)
    kept = [row if len(row) <= length else [*row[: length - 1], row[-1]] for row in rows]
    return filled(kept, length, tokenizer.pad_token_id)


def lost(tokenizer: TextTokenizer, ids: Sequence[int], length: int) -> str | None:
    """A sentence that quotes the part of a text that is cut off, if any."""
    return lost_part(tokenizer, ids[:-1], length - 1, length)
