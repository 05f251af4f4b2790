"""From prompts to Gemma's embeddings, after an instruction to imagine the picture in detail (Sana, §2.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...engines import Array, Engine
from ...loading.lost_texts import lost_part, warn_of
from ..captions import cleaned
from ..components import CausalTextEncoder, TextTokenizer

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
class Reading:
    """How to read texts: the instruction before each, how many tokens to keep, and whether to clean them first."""

    instruction: Sequence[str] | None = None
    length: int = 300
    clean: bool = False

    @property
    def prefix(self) -> str:
        """The instruction before each text."""
        return "\n".join(self.instruction or ())

    def room(self, tokenizer: TextTokenizer) -> int:
        """The number of tokens to read: the instruction's, and ``length`` for a text, including its start."""
        return len(tokenizer.encode(self.prefix)) + self.length - 2 if self.prefix else self.length

    def ids(self, tokenizer: TextTokenizer, text: str) -> list[int]:
        """All tokens of a text, after a start and the instruction."""
        return tokenizer.encode(self.prefix + (cleaned(text) if self.clean else text.lower().strip()))

    def unread(self, tokenizer: TextTokenizer, text: str) -> str | None:
        """A sentence that names the part of a text that is cut, where one is."""
        return self._lost(tokenizer, self.ids(tokenizer, text))

    def rows(
        self, tokenizer: TextTokenizer, texts: Sequence[str], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids (texts, tokens) and a mask, 1 for words and 0 for the padding that follows; longer texts are cut.

        Raises:
            ValueError: more tokens are requested than the ``most`` that the text encoder reads.
        """
        room = self.room(tokenizer)
        if room > most:
            raise ValueError(
                f"max_sequence_length={self.length} exceeds the text encoder's limit of {most} tokens with "
                "the instruction"
            )
        rows = [self.ids(tokenizer, text) for text in texts]
        warn_of(self._lost(tokenizer, row) for row in rows)
        ids = np.full((len(rows), room), tokenizer.pad_token_id, np.int64)
        mask = np.zeros((len(rows), room), np.float32)
        for i, row in enumerate(rows):
            kept = row[:room]
            ids[i, : len(kept)], mask[i, : len(kept)] = kept, 1.0
        return ids, mask

    def encode(
        self, engine: Engine, network: CausalTextEncoder, tokenizer: TextTokenizer, texts: Sequence[str]
    ) -> tuple[Array, Array]:
        """The denoiser's inputs from texts: hidden states (texts, length, channels), and the mask.

        They are those of the start and of the last ``length`` - 1 tokens; the instruction's own tokens are dropped
        after they have influenced the text's.

        Raises:
            ValueError: an id is not in the encoder's vocabulary.
        """
        ids, mask = self.rows(tokenizer, texts, network.most_tokens)
        beginning = tokenizer.encode(self.prefix) if self.prefix else ()
        hidden = network.encode_with(engine, ids, mask, beginning)
        if ids.shape[1] == self.length:
            return hidden, engine.asarray(mask)
        first = ids.shape[1] - self.length + 1
        kept = engine.concat([hidden[:, :1], hidden[:, first:]], axis=1)
        return kept, engine.asarray(np.concatenate([mask[:, :1], mask[:, first:]], axis=1))

    def _lost(self, tokenizer: TextTokenizer, ids: Sequence[int]) -> str | None:
        return lost_part(tokenizer, ids, self.room(tokenizer), self.length)
