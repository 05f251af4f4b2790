"""What every family does alike with the texts of a call, whatever its text encoder."""

from collections.abc import Iterable, Sequence

from ..engines import Array, Engine
from ..utils import logging
from .components import TextTokenizer

logger = logging.get_logger(__name__)

_LONGEST_SHOWN = 300
"""Characters of a lost text that a warning shows."""


def as_list(text: str | list[str] | None, count: int) -> list[str]:
    """One text for each of ``count`` prompts: a single one serves all, None is the empty text."""
    return list(text) if isinstance(text, list) else [text or ""] * count


def repeat_each(engine: Engine, x: Array, times: int) -> Array:
    """Rows ``a, b`` of ``x`` as ``a, a, b, b`` (for two times)."""
    if times == 1:
        return x
    return engine.concat([x[row : row + 1] for row in range(x.shape[0]) for _ in range(times)])


def lost_part(tokenizer: TextTokenizer, ids: Sequence[int], kept: int, length: int) -> str | None:
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
