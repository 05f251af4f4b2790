"""From prompts to the embeddings of CLIP text encoders."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engines import Array, Engine, several
from ..loading.lost_texts import lost_part, warn_of
from .components import TextEncoder, Tokenizer


class TextTower(NamedTuple):
    """A text encoder with its tokenizer, and the layer that the denoising network was trained with."""

    network: TextEncoder | None
    tokenizer: Tokenizer | None
    skip: int
    """How many of the last layers to skip even without a ``clip_skip``."""
    apply_final_norm: bool
    """Whether the final layer norm follows the last layer run."""

    @property
    def both(self) -> tuple[TextEncoder, Tokenizer]:
        """The text encoder and the tokenizer; raises ValueError if one is None."""
        if self.network is None or self.tokenizer is None:
            name = "text_encoder" if self.network is None else "tokenizer"
            raise ValueError(
                f"the pipeline's {name} is None, so it reads no texts; pass prompt_embeds, and with guidance "
                "negative_prompt_embeds, or set one"
            )
        return self.network, self.tokenizer

    @property
    def length(self) -> int:
        """The tokens of one run, including start and end: CLIP's 77."""
        network, tokenizer = self.both
        return int(min(tokenizer.model_max_length, network.config["max_position_embeddings"]))

    def ids(self, text: str) -> list[int]:
        """All tokens of a text, without start and end."""
        return encoded(self.both[1], text)

    def framed(self, ids: Sequence[int]) -> list[int]:
        """The tokens of a text with start and end, padded or cut to the length of one run."""
        _, tokenizer = self.both
        row = [tokenizer.bos_token_id, *ids[: self.length - 2], tokenizer.eos_token_id]
        return row + [tokenizer.pad_token_id] * (self.length - len(row))

    def lost(self, ids: Sequence[int]) -> str | None:
        """A sentence that quotes the part of a text that is cut off, if any."""
        return lost_part(self.both[1], ids, self.length - 2, self.length)


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, with the first id of each added word replaced by all its ids.

    The tokenizer has found the words: it takes the longest if one begins with another, ignoring case.
    """
    ids, found, position = tokenizer.encode(text, add_special_tokens=False), [], 0
    while position < len(ids):
        group = tokenizer.groups.get(ids[position], [ids[position]])
        found += group
        is_spelled_out = ids[position : position + len(group)] == group
        position += len(group) if is_spelled_out else 1
    return found


def encode_text(engine: Engine, tower: TextTower, texts: list[str], clip_skip: int = 0) -> tuple[Array, Array]:
    """Run a CLIP text encoder on texts; see `run_tower`.

    Texts beyond the encoder's length (77 tokens) are cut off, with a warning that quotes the lost part.
    """
    rows = [tower.ids(text) for text in texts]
    warn_of(map(tower.lost, rows))
    return run_tower(engine, tower, np.array([tower.framed(row) for row in rows], np.int64), clip_skip)


def encode_beside(
    engine: Engine, tower: TextTower, texts: Sequence[str], read_too: Sequence[str | None], clip_skip: int = 0
) -> tuple[Array, Array]:
    """As `encode_text`, but without a warning about cut text, which another text encoder reads.

    ``read_too`` says for each text what that one reads; None where there is none.
    """
    rows = [tower.ids(text) for text in texts]
    warn_of(tower.lost(row) for row, text, other in zip(rows, texts, read_too) if text != other)
    return run_tower(engine, tower, np.array([tower.framed(row) for row in rows], np.int64), clip_skip)


def run_tower(
    engine: Engine, tower: TextTower, ids: NDArray[np.int64], clip_skip: int = 0, pool_at: int | None = None
) -> tuple[Array, Array]:
    """Run a CLIP text encoder on ids (texts, tokens); ``pool_at`` as in `CLIPTextModel.construct`.

    Returns:
        Hidden states (texts, tokens, channels), and the pooled or projected text (texts, channels).

    Raises:
        ValueError: an id is not in the encoder's vocabulary.
    """
    network, _ = tower.both
    vocabulary = network.config["vocab_size"]
    if ids.max() >= vocabulary:
        raise ValueError(
            f"the tokenizer gave the id {ids.max()}, but the text encoder knows {vocabulary} tokens: they are not from "
            "one checkpoint"
        )
    skip, norm = tower.skip + clip_skip, tower.apply_final_norm
    hidden, pooled, *_ = several(engine.run(network, ids, skip=skip, apply_final_norm=norm, pool_at=pool_at))
    return hidden, pooled
