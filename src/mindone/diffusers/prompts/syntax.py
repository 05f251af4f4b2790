"""AUTOMATIC1111's syntax for prompt weights: turns a prompt into texts, each with a weight.

``(cat)`` weighs 1.1, ``[cat]`` 1/1.1, ``(cat:1.3)`` 1.3; nested weights multiply. A bracket that is never closed
reaches to the end; a closing one without a partner is text, and so is a bracket after a backslash. ``BREAK`` begins a
new piece.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LONGEST = 50_000
"""The most characters to parse, far more than may be encoded: nested weights are multiplied level by level."""

_MARKS = re.compile(r"\\[()\[\]\\]?|[(\[]|:\s*([+-]?[.\d]+)\s*\)|[)\]:]|[^\\()\[\]:]+")
_BREAK = re.compile(r"\bBREAK\b")
_STEP = re.compile(r"(?<!\\):\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\]\Z")
_LONGEST_STEP = 40
_AND = re.compile(r"\bAND\b")
_ROUND, _SQUARE = 1.1, 1 / 1.1


class Part(NamedTuple):
    """A text and its weight."""

    text: str
    weight: float

    @property
    def is_break(self) -> bool:
        """Whether the following text begins a new piece.

        As in AUTOMATIC1111, BREAK inside brackets is an ordinary word.
        """
        return self == _PIECE_ENDS


_PIECE_ENDS = Part("BREAK", -1.0)


@dataclass
class _Square:
    """An open square bracket."""

    first: int
    """The part that it begins with."""
    position: int
    rounds: int
    """How many round brackets were open when it began."""
    alternates: bool = False


def parse_prompt(prompt: str, name: str = "prompt") -> list[Part]:
    """The texts of a prompt with their weights; neighbours with the same weight are joined.

    Args:
        prompt: a text with weights.
        name: its name in errors.

    Raises:
        ValueError: a weight is no number; the prompt has more than 50,000 characters; or it asks for prompt editing
            (``[cat:dog:0.5]``) or alternation (``[cat|dog]``), which are not supported.
    """
    if len(prompt) > LONGEST:
        raise ValueError(f"{name} has {len(prompt)} characters; with weights at most {LONGEST} are read")
    parts: list[Part] = []
    factors: list[tuple[int, int, float]] = []
    rounds: list[int] = []
    squares: list[_Square] = []
    for match in _MARKS.finditer(prompt):
        mark, weight = match[0], match[1]
        if mark[0] == "\\":
            parts.append(Part(mark[1:], 1.0))
        elif mark == "(":
            rounds.append(len(parts))
        elif mark == "[":
            squares.append(_Square(len(parts), match.start(), len(rounds)))
        elif weight is not None and rounds:
            factors.append((rounds.pop(), len(parts), _number(weight, name)))
        elif mark == ")" and rounds:
            factors.append((rounds.pop(), len(parts), _ROUND))
        elif mark == "]" and squares:
            square = squares.pop()
            _refuse_schedule(prompt, square, match.end(), name)
            factors.append((square.first, len(parts), _SQUARE))
        else:
            if squares and "|" in mark and len(rounds) <= squares[-1].rounds:
                squares[-1].alternates = True
            parts += _with_breaks(mark)
    factors += [(first, len(parts), _ROUND) for first in rounds]
    factors += [(square.first, len(parts), _SQUARE) for square in squares]
    return _merged(parts, factors, name)


def plain_text(prompt: str, name: str = "prompt") -> str | None:
    """The text of a prompt without weights and breaks; None for other prompts.

    Raises:
        ValueError: see `parse_prompt`.
    """
    parts = parse_prompt(prompt, name)
    return "".join(part.text for part in parts) if all(part.weight == 1 for part in parts) else None


def has_weight(prompt: str) -> bool:
    """Whether a prompt has a weight as a number, as in ``(cat:1.3)``: mere brackets may well be text."""
    rounds = 0
    for match in _MARKS.finditer(prompt[:LONGEST]):
        if match[1] is not None and rounds:
            return True
        rounds += match[0] == "("
        rounds -= match[0] == ")" and rounds > 0
    return False


def refuse_composition(prompt: str, name: str = "prompt") -> None:
    """Raise ValueError if a prompt joins several with ``AND``. In negative prompts it is an ordinary word."""
    if _AND.search(prompt):
        raise ValueError(f"{name} joins several with AND, which is not supported; write 'and', or BREAK")


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} has the weight {text[:40]!r}, which is no number such as (cat:1.3)") from None


def _refuse_schedule(prompt: str, square: _Square, end: int, name: str) -> None:
    """Refuse syntax that AUTOMATIC1111 changes from step to step."""
    shown = prompt[square.position : end]
    if square.alternates or _STEP.search(prompt, max(square.position, end - _LONGEST_STEP), end):
        kind = "alternation" if square.alternates else "prompt editing"
        shown = shown if len(shown) <= 60 else f"{shown[:59]}…"
        raise ValueError(f"{name} has {kind}, {shown!r}, which is not supported; write \\[ for a bracket that is text")


def _with_breaks(text: str) -> list[Part]:
    """A text without brackets, cut at each BREAK; spaces around it do not count."""
    first, *rest = _BREAK.split(text)
    if not rest:
        return [Part(text, 1.0)]
    texts = [first.rstrip(), *(each.strip() for each in rest[:-1]), rest[-1].lstrip()]
    parts = [part for each in texts for part in (_PIECE_ENDS, Part(each, 1.0))]
    return parts[1:]


def _merged(parts: list[Part], factors: list[tuple[int, int, float]], name: str) -> list[Part]:
    """Parts with their weights multiplied by the factors; each factor covers the parts from its first to its end."""
    weights = np.array([part.weight for part in parts])
    with np.errstate(over="ignore", invalid="ignore"):
        for first, end, factor in factors:
            weights[first:end] *= factor
    if not np.isfinite(weights).all():
        raise ValueError(f"{name} has weights that no number can hold; close some of its brackets")
    texts: list[tuple[list[str], float]] = []
    for part, weight in zip(parts, weights.tolist()):
        if texts and texts[-1][1] == weight:
            texts[-1][0].append(part.text)
        else:
            texts.append(([part.text], weight))
    return [Part("".join(several), weight) for several, weight in texts] or [Part("", 1.0)]
