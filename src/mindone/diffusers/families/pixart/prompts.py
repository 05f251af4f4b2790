"""From prompts to T5's embeddings and the mask of their words (PixArt-α, §2.2)."""

from collections.abc import Sequence

from ...engines import Array, Engine
from ..components import LanguageModel, TextTokenizer
from ..masked_texts import TextReading
from ..t5_texts import lost, padded_to


class PixArtReading(TextReading):
    """T5 reads the beginning of a text, and its end token."""

    def unread(self, tokenizer: TextTokenizer, text: str) -> str | None:
        """See `TextReading`."""
        return lost(tokenizer, self.ids(tokenizer, text), self.length)

    def encode(
        self, engine: Engine, network: LanguageModel, tokenizer: TextTokenizer, texts: Sequence[str]
    ) -> tuple[Array, Array]:
        """See `TextReading`."""
        if self.length > network.most_tokens:
            raise ValueError(
                f"max_sequence_length={self.length} exceeds the text encoder's limit of {network.most_tokens} tokens"
            )
        ids, mask = padded_to(tokenizer, [self.ids(tokenizer, text) for text in texts], self.length)
        return network.encode_with(engine, ids, mask), engine.asarray(mask)
