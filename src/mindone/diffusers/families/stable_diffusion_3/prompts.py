"""From three texts to Stable Diffusion 3's conditions: two concatenated CLIPs, then T5 (Esser et al. 2024, §4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines import Array, Engine
from ..clip_texts import TextTower, encode_beside
from ..components import LanguageModel, TextTokenizer
from ..t5_texts import encode_padded

WITHOUT_T5 = 77
"""The number of zero tokens in place of T5's: the transformer attends to them, as in its training."""


@dataclass(frozen=True)
class Readers:
    """The readers of prompts: two CLIP text encoders, and T5 or None."""

    clips: Sequence[TextTower]
    t5: tuple[LanguageModel, TextTokenizer] | None
    channels: int
    """The channels that the transformer reads."""
    length: int = 256
    """How many tokens T5 reads; padding counts like words."""
    clip_skip: int = 0
    """How many of CLIP's last layers to skip, in addition to the last one."""

    def read(self, engine: Engine, texts: Sequence[list[str]], between: Callable[[], None]) -> tuple[Array, Array]:
        """The transformer's conditions.

        Args:
            engine: runs the text encoders.
            texts: for each of the three encoders one text per prompt.
            between: called after the CLIPs and before T5, which is much larger.

        Returns:
            Embeddings (prompts, 77 + T5's tokens, channels), and pooled texts (prompts, channels of both CLIPs).
        """
        long = texts[2] if self.t5 is not None else [None] * len(texts[2])
        read = [encode_beside(engine, tower, own, long, self.clip_skip) for tower, own in zip(self.clips, texts)]
        hidden, pooled = (engine.concat([*each], axis=-1) for each in zip(*read))
        between()
        rows, tokens, width = hidden.shape
        wide = engine.concat([hidden, _zeros(engine, rows, tokens, self.channels - width)], axis=-1)
        return engine.concat([wide, self._read_by_t5(engine, texts[2])], axis=1), pooled

    def _read_by_t5(self, engine: Engine, texts: list[str]) -> Array:
        if self.t5 is None:
            return _zeros(engine, len(texts), WITHOUT_T5, self.channels)
        return encode_padded(engine, *self.t5, texts, self.length)


def _zeros(engine: Engine, *shape: int) -> Array:
    return engine.asarray(np.zeros(shape, np.float32))
