"""From prompts to Gemma's embeddings, after an instruction to imagine the picture in detail (Sana, §2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...engines import Array, Engine
from ...loading.lost_texts import lost_part, warn_of
from ..components import CausalTextEncoder, TextTokenizer
from ..masked_texts import TextReading, filled

INSTRUCTION = (
    "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions suitable for image "
    "generation. Evaluate the level of detail in the user prompt:",
    "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial "
    "relationships to create vivid and concrete scenes.",
    "- If the prompt is already detailed, refine and enhance the existing details slightly without overcomplicating.",
    "Here are examples of how to transform or refine prompts:",
    "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping "
    "peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.",
    "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street "
    "lamps, a diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass "
    "skyscrapers.",
    "Please generate only the enhanced description for the prompt below and avoid including any additional commentary "
    "or evaluations:",
    "User Prompt: ",
)
"""The instruction of the networks' training, word for word."""


@dataclass(frozen=True)
class Reading(TextReading):
    """Gemma reads a start token, the lines of an instruction, if any, and the beginning of a text."""

    length: int = 300
    instruction: Sequence[str] | None = None

    @property
    def prefix(self) -> str:
        """The instruction before each text."""
        return "\n".join(self.instruction or ())

    def room(self, tokenizer: TextTokenizer) -> int:
        """The number of tokens to read: the instruction's, and ``length`` for a text, including its start."""
        return len(tokenizer.encode(self.prefix)) + self.length - 2 if self.prefix else self.length

    def unread(self, tokenizer: TextTokenizer, text: str) -> str | None:
        """See `TextReading`."""
        return self._lost(tokenizer, self.ids(tokenizer, text, self.prefix))

    def encode(
        self, engine: Engine, network: CausalTextEncoder, tokenizer: TextTokenizer, texts: Sequence[str]
    ) -> tuple[Array, Array]:
        """See `TextReading`; the embeddings are those of the start and of the last ``length`` - 1 tokens.

        The instruction's own tokens are dropped after they have influenced the text's.
        """
        room, most = self.room(tokenizer), network.most_tokens
        if room > most:
            raise ValueError(
                f"max_sequence_length={self.length} exceeds the text encoder's limit of {most} tokens with "
                "the instruction"
            )
        rows = [self.ids(tokenizer, text, self.prefix) for text in texts]
        warn_of(self._lost(tokenizer, row) for row in rows)
        ids, mask = filled([row[:room] for row in rows], room, tokenizer.pad_token_id)
        beginning = tokenizer.encode(self.prefix) if self.prefix else ()
        hidden = network.encode_with(engine, ids, mask, beginning)
        if room == self.length:
            return hidden, engine.asarray(mask)
        first = room - self.length + 1
        kept = engine.concat([hidden[:, :1], hidden[:, first:]], axis=1)
        return kept, engine.asarray(np.concatenate([mask[:, :1], mask[:, first:]], axis=1))

    def _lost(self, tokenizer: TextTokenizer, ids: Sequence[int]) -> str | None:
        return lost_part(tokenizer, ids, self.room(tokenizer), self.length)
