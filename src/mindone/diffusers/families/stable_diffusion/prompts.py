"""From prompts to the embeddings of CLIP text encoders."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...engines import Array, Engine
from ...utils import logging
from ..components import TextEncoder, Tokenizer

logger = logging.get_logger(__name__)

_LONGEST_SHOWN = 300
"""Characters of a lost text that a warning shows."""


def as_list(text: str | list[str] | None, count: int) -> list[str]:
    """One text for each of ``count`` prompts: a single one serves all, None is the empty text."""
    return list(text) if isinstance(text, list) else [text or ""] * count


class TextTower(NamedTuple):
    """A text encoder with its tokenizer, and which of its layers the denoising network was trained with."""

    network: TextEncoder | None
    tokenizer: Tokenizer | None
    skip: int
    """How many of the last layers are left out even without a ``clip_skip``."""
    apply_final_norm: bool
    """Whether the final layer norm follows the last layer that is run."""

    @property
    def both(self) -> tuple[TextEncoder, Tokenizer]:
        """The text encoder and the tokenizer, which texts need. Raises ValueError where one is None."""
        if self.network is None or self.tokenizer is None:
            name = "text_encoder" if self.network is None else "tokenizer"
            raise ValueError(
                f"the pipeline's {name} is None, so that it reads no texts; pass prompt_embeds, and under guidance "
                "negative_prompt_embeds, or set one"
            )
        return self.network, self.tokenizer

    @property
    def length(self) -> int:
        """Tokens that one run reads, start and end included: CLIP's 77."""
        network, tokenizer = self.both
        return int(min(tokenizer.model_max_length, network.config["max_position_embeddings"]))

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, all of them, without the start and the end."""
        return encoded(self.both[1], text)

    def framed(self, ids: Sequence[int]) -> list[int]:
        """The tokens of a text between the start and the end, padded to what one run reads; what is beyond is cut."""
        _, tokenizer = self.both
        row = [tokenizer.bos_token_id, *ids[: self.length - 2], tokenizer.eos_token_id]
        return row + [tokenizer.pad_token_id] * (self.length - len(row))

    def lost(self, ids: Sequence[int]) -> str | None:
        """A sentence that names the part of a text that is cut, where one is."""
        if len(ids) <= self.length - 2:
            return None
        text = self.both[1].decode(ids[self.length - 2 :])
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        reads = f"the {self.length} tokens that this model's text encoder reads"
        return f"The prompt is longer than {reads}; this part is ignored: {shown}"


def encoded(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, with all ids of each added word where the text has its first one.

    The tokenizer has found the words: it takes the longest where one begins with another, in any case.
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

    Texts beyond the encoder's length (77 tokens) are cut off, with a warning that names the part that is lost.
    """
    rows = [tower.ids(text) for text in texts]
    for warning in dict.fromkeys(map(tower.lost, rows)):
        if warning is not None:
            logger.warning(warning)
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
            f"the tokenizer gave the id {ids.max()}, but the text encoder knows {vocabulary} tokens: they are not of "
            "one checkpoint"
        )
    skip, norm = tower.skip + clip_skip, tower.apply_final_norm
    hidden, pooled, *_ = engine.run(network, ids, skip=skip, apply_final_norm=norm, pool_at=pool_at)
    return hidden, pooled


def repeat_each(engine: Engine, x: Array, times: int) -> Array:
    """Rows ``a, b`` of ``x`` as ``a, a, b, b`` (for two times)."""
    if times == 1:
        return x
    return engine.concat([x[row : row + 1] for row in range(x.shape[0]) for _ in range(times)])
