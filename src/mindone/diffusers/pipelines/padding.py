"""Cuts what networks would multiply in vain: padding, and equal tokens at the end of a text."""

import numpy as np

from ..engines import Array, Engine

LENGTHS = (64, 128)
"""Texts are cut to the first of these lengths that holds all words; longer ones stay unchanged. There are few lengths
because each needs its own graph, and compiling that takes longer than an exact length saves."""


def without_padding(engine: Engine, text: Array, mask: Array) -> tuple[Array, Array]:
    """A text (rows, tokens, channels) and its mask (rows, tokens) without the padding at the end of all rows.

    A text without any word stays unchanged: attention that hides everything sees everything.
    """
    words = engine.numpy(mask) > 0
    if not words.any(axis=1).all():
        return text, mask
    last = int(np.flatnonzero(words.any(axis=0))[-1]) + 1
    length = next((length for length in LENGTHS if length >= last), words.shape[1])
    return (text[:, :length], mask[:, :length]) if length < words.shape[1] else (text, mask)


def without_repeats(engine: Engine, text: Array) -> tuple[Array, int]:
    """A text (rows, tokens, channels) with only the first of the equal tokens at its end, and their number.

    They are equal within each row, as zeros are that stand for a text encoder's tokens.
    """
    end = engine.numpy(text[:, -2:])
    if np.any(end[:, 0] != end[:, -1]):
        return text, 1
    others = np.any(engine.numpy(text) != end[:, -1:], axis=(0, 2))
    words = int(np.flatnonzero(others)[-1]) + 1 if others.any() else 0
    return text[:, : words + 1], len(others) - words
