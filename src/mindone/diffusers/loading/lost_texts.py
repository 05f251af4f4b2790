"""Warns of texts that are too long for a text encoder, with any tokenizer."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..utils import logging

logger = logging.get_logger(__name__)

_LONGEST_SHOWN = 300
"""The most characters of a lost text that a warning quotes."""


class Decoder(Protocol):
    """The part of a tokenizer that this module needs."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""


def lost_part(tokenizer: Decoder, ids: Sequence[int], kept: int, length: int) -> str | None:
    """A sentence that quotes the cut part of a text, or None.

    Args:
        tokenizer: the source of the ids.
        ids: all tokens of the text, without start and end tokens.
        kept: the number of them that the text encoder reads.
        length: the total number of tokens that it reads, for the sentence.
    """
    if len(ids) <= kept:
        return None
    text = tokenizer.decode(ids[kept:])
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    reads = f"the {length} tokens that this model's text encoder reads"
    return f"The prompt is longer than {reads}; this part is ignored: {shown}"


def warn_of(sentences: Iterable[str | None]) -> None:
    """Log each sentence once, in their order."""
    for sentence in dict.fromkeys(sentences):
        if sentence is not None:
            logger.warning(sentence)
