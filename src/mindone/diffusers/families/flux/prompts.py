"""From two texts to what FLUX.1 reads: T5's tokens, and the whole text by CLIP (arXiv 2506.15742, §2)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...engines import Array, Engine
from ..clip_texts import TextTower, encode_beside
from ..components import LanguageModel, TextTokenizer
from ..t5_texts import encode_padded


class Readers(NamedTuple):
    """What reads prompts, and how."""

    clip: TextTower
    t5: tuple[LanguageModel, TextTokenizer]
    length: int
    """How many tokens T5 reads; padding counts as words do."""

    def read(self, engine: Engine, texts: Sequence[list[str]], between: Callable[[], None]) -> tuple[Array, Array]:
        """What the transformer is conditioned on.

        Args:
            engine: who runs the text encoders.
            texts: for CLIP and for T5 a text for every prompt.
            between: called when CLIP has read and T5, which is much larger, has not yet.

        Returns:
            Embeddings (prompts, length, T5's channels), and pooled texts (prompts, CLIP's channels).
        """
        own, long = texts
        _, pooled = encode_beside(engine, self.clip, own, long)
        between()
        return encode_padded(engine, *self.t5, long, self.length), pooled
