"""Prompts of any length, cut into pieces that the text encoder reads one by one, as in AUTOMATIC1111.

A piece is 75 tokens. A full one ends after its last comma if that is among the last 20 tokens, and the rest begins the
next piece; BREAK ends a piece early. A word of several vectors is never cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..families.clip_texts import TextTower
from .syntax import parse_prompt

MOST = 40
"""The most pieces of a prompt: 3,000 tokens."""
_BACK = 20
_COMMA = ",</w>"


@dataclass
class Piece:
    """Tokens, without the start and the end, and the weight of each."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, ids: Sequence[int], weight: float) -> None:
        """Append tokens of one weight."""
        self.ids += ids
        self.weights += [weight] * len(ids)

    def cut(self, at: int) -> "Piece":
        """Remove the tokens from ``at`` on, and return them."""
        rest = Piece(self.ids[at:], self.weights[at:])
        del self.ids[at:], self.weights[at:]
        return rest


def pieces_of(prompt: str, tower: TextTower, name: str = "prompt") -> list[Piece]:
    """A prompt's pieces, at least one; ``name`` is its name in errors.

    Raises:
        ValueError: there are more than 40 of them; also what `parse_prompt` raises.
    """
    _, tokenizer = tower.both
    length, groups = tower.length - 2, tokenizer.groups
    comma = tokenizer.convert_tokens_to_ids(_COMMA)
    pieces, last_comma = [Piece()], -1
    for part in parse_prompt(prompt, name):
        if part.is_break:
            pieces.append(Piece())
            last_comma = -1
            continue
        ids, position = tower.ids(part.text), 0
        while position < len(ids):
            token, piece = ids[position], pieces[-1]
            if token == comma != tokenizer.unk_token_id:
                last_comma = len(piece.ids)
            elif len(piece.ids) == length and last_comma != -1 and length - last_comma <= _BACK:
                pieces.append(piece.cut(last_comma + 1))
                last_comma = -1
            group = groups.get(token, [token])
            if len(group) > length:
                raise ValueError(f"{name} has a word of {len(group)} vectors; a piece holds {length}")
            if len(pieces[-1].ids) + len(group) > length:
                pieces.append(Piece())
                last_comma = -1
            pieces[-1].add(group, part.weight)
            position += len(group)
        if len(pieces) > MOST:
            raise ValueError(f"{name} has more than {MOST} pieces of {length} tokens; shorten it")
    if len(pieces) > 1 and not pieces[-1].ids:
        del pieces[-1]  # a BREAK at the end begins nothing
    return pieces
