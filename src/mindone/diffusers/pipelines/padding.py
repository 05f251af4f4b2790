"""Cuts padding, so that no network multiplies it."""

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
