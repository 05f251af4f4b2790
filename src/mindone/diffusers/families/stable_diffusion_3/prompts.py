"""From three texts to what Stable Diffusion 3 reads: two CLIPs side by side, then T5 (Esser et al. 2024, §4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...engines import Array, Engine
from ...loading.lost_texts import warn_of
from ..clip_texts import TextTower, run_tower
from ..components import LanguageModel, TextTokenizer
from ..t5_texts import padded_to

WITHOUT_T5 = 77
"""How many tokens of zeros stand in for T5's: the transformer attends to them, and was trained with that."""
MOST_TOKENS = 512
"""Of T5, as the pipelines are published."""


@dataclass(frozen=True)
class Readers:
    """What reads prompts, and how: two CLIP text encoders, and T5 or None."""

    clips: Sequence[TextTower]
    t5: tuple[LanguageModel, TextTokenizer] | None
    channels: int
    """Of what the transformer reads."""
    length: int = 256
    """How many tokens T5 reads; padding counts as words do."""
    clip_skip: int = 0
    """How many of CLIP's last layers are left out, besides the last one."""

    def read(self, engine: Engine, texts: Sequence[list[str]], between: Callable[[], None]) -> tuple[Array, Array]:
        """What the transformer is conditioned on.

        Args:
            engine: who runs the text encoders.
            texts: for each of the three a text for every prompt.
            between: called when the CLIPs have read and T5, which is much larger, has not yet.

        Returns:
            Embeddings (prompts, 77 + T5's tokens, channels), and pooled texts (prompts, channels of both CLIPs).
        """
        read = [self._read_by_clip(engine, tower, own, texts[2]) for tower, own in zip(self.clips, texts)]
        hidden, pooled = (engine.concat([*each], axis=-1) for each in zip(*read))
        between()
        rows, tokens, width = hidden.shape
        wide = engine.concat([hidden, _zeros(engine, rows, tokens, self.channels - width)], axis=-1)
        return engine.concat([wide, self._read_by_t5(engine, texts[2])], axis=1), pooled

    def _read_by_clip(
        self, engine: Engine, tower: TextTower, texts: list[str], long_texts: list[str]
    ) -> tuple[Array, Array]:
        """As `encode_text`, with no warning of what is cut here and read by T5."""
        rows = [tower.ids(text) for text in texts]
        pairs = zip(texts, long_texts)
        warn_of(tower.lost(row) for row, (own, long) in zip(rows, pairs) if self.t5 is None or own != long)
        return run_tower(engine, tower, np.array([tower.framed(row) for row in rows], np.int64), self.clip_skip)

    def _read_by_t5(self, engine: Engine, texts: list[str]) -> Array:
        if self.t5 is None:
            return _zeros(engine, len(texts), WITHOUT_T5, self.channels)
        network, tokenizer = self.t5
        ids, _ = padded_to(tokenizer, [tokenizer.encode(text) for text in texts], self.length)
        return network.encode_with(engine, ids)


def _zeros(engine: Engine, *shape: int) -> Array:
    return engine.asarray(np.zeros(shape, np.float32))
