"""The warning about texts that are longer than a text encoder reads, whatever its tokenizer."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from ..utils import logging

logger = logging.get_logger(__name__)

_LONGEST_SHOWN = 300
"""Characters of a lost text that a warning shows."""


class Decoder(Protocol):
    """What is needed of a tokenizer."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""


def lost_part(tokenizer: Decoder, ids: Sequence[int], kept: int, length: int) -> str | None:
    """A sentence that names the part of a text that is cut, where one is.

    Args:
        tokenizer: what made the ids.
        ids: all tokens of the text, without those that frame it.
        kept: how many of them the text encoder reads.
        length: the tokens that it reads in all, as the sentence gives them.
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
