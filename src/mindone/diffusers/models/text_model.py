"""Text encoders that run only the tokens that count: they skip padding and run texts as one row.

The result is exact: each text has its own mask, and nothing reads the padding after a text. One compiled graph serves
all calls, and a call reads the weights once.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine
from .base import Model
from .outputs import TextOutput

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]
"""Tokens (texts, tokens)."""

LOWEST = np.finfo(np.float32).min
"""Added to the score of a hidden token."""
_STEP = 64
"""If each length needs its own graph, the number of tokens is a multiple of this."""


class TextModel(Model):
    """A network that turns each token of a text into a vector.

    4 bits are for its size alone, so its groups have no zero points: OpenVINO would unpack them, to 0.7 GB for T5-XXL
    beside 2.6 GB of weights.
    """

    zero_points = False

    @property
    def most_tokens(self) -> int:
        """The most tokens of a text."""
        raise NotImplementedError

    def encode_with(self, engine: Engine, input_ids: Array, attention_mask: Array | None = None) -> Array:
        """Encode texts.

        Args:
            engine: runs the network.
            input_ids: (texts, tokens) integers.
            attention_mask: (texts, tokens), 1 for tokens of the text and 0 for the padding after it; None if all count.

        Returns:
            The hidden states after the last norm, (texts, tokens, channels), with zeros for padding.

        Raises:
            ValueError: an id is not in the vocabulary, padding precedes the text, or a text is too long.
        """
        raise NotImplementedError

    def __call__(  # type: ignore[override]
        self, input_ids: Array, attention_mask: Array | None = None, *, return_dict: bool = True
    ) -> TextOutput | tuple[Array, ...]:
        """Encode tokens: tensors with MindSpore's kernels, NumPy arrays with this machine's engine.

        Args:
            input_ids: (batch, tokens) integers.
            attention_mask: 1 for tokens of the text and 0 for the padding after it; see `encode_with`.
            return_dict: false for a plain tuple.

        Raises:
            ValueError: see `encode_with`.
        """
        output = TextOutput(self.encode_with(self._engine_for(input_ids), input_ids, attention_mask))
        return output if return_dict else output.to_tuple()

    def _checked(self, input_ids: Array, attention_mask: Array | None = None) -> tuple[Ids, Ids]:
        """The ids, and how many of each row count."""
        ids, mask = _integers(input_ids), None if attention_mask is None else _integers(attention_mask)
        kind, vocabulary = type(self).__name__, self.config["vocab_size"]
        if ids.ndim != 2 or 0 in ids.shape:
            raise ValueError(f"{kind} takes input_ids of shape (texts, tokens), got {ids.shape}")
        if mask is not None and mask.shape != ids.shape:
            raise ValueError(f"attention_mask must have the shape of input_ids, {ids.shape}, got {mask.shape}")
        if ids.min() < 0 or ids.max() >= vocabulary:
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise ValueError(
                f"{kind} knows {vocabulary} tokens, got the id {wrong}: is the tokenizer of another checkpoint?"
            )
        counts = np.full(len(ids), ids.shape[1]) if mask is None else (mask != 0).sum(axis=1)
        if mask is not None and any((row[:count] == 0).any() for row, count in zip(mask, counts)):
            raise ValueError("attention_mask must be ones and then zeros: pad texts on the right")
        if counts.max() > self.most_tokens:
            raise ValueError(f"{kind} reads at most {self.most_tokens} tokens here, got {counts.max()}")
        return ids, counts


def _integers(x: Array) -> Any:
    """An engine's or NumPy's array as NumPy integers."""
    return np.asarray(x.asnumpy() if hasattr(x, "asnumpy") else x).astype(np.int64)


def grouped(counts: Ids, at_once: int) -> Iterator[list[int]]:
    """Groups of rows to run together: up to ``at_once`` tokens each, at least one row; without empty rows."""
    group: list[int] = []
    for row in np.flatnonzero(counts):
        if group and counts[group].sum() + counts[row] > at_once:
            yield group
            group = []
        group.append(int(row))
    if group:
        yield group


def fillers(engine: Engine, tokens: int) -> int:
    """How many dummy tokens to add, which no token sees, so that the engine need not compile for every length."""
    return 0 if engine.compiles_any_length else -tokens % _STEP
