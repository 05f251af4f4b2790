"""From two texts to FLUX.1's conditions: T5's tokens, and CLIP's pooled text (arXiv 2506.15742, §2)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...engines import Array, Engine
from ..clip_texts import TextTower, encode_beside
from ..components import LanguageModel, TextTokenizer
from ..t5_texts import encode_padded


class Readers(NamedTuple):
    """The readers of prompts."""

    clip: TextTower
    t5: tuple[LanguageModel, TextTokenizer]
    length: int
    """How many tokens T5 reads; padding counts like words."""

    def read(self, engine: Engine, texts: Sequence[list[str]], between: Callable[[], None]) -> tuple[Array, Array]:
        """The transformer's conditions.

        Args:
            engine: runs the text encoders.
            texts: for CLIP and for T5 one text per prompt.
            between: called after CLIP and before T5, which is much larger.

        Returns:
            Embeddings (prompts, length, T5's channels), and pooled texts (prompts, CLIP's channels).
        """
        own, long = texts
        _, pooled = encode_beside(engine, self.clip, own, long)
        between()
        return encode_padded(engine, *self.t5, long, self.length), pooled
