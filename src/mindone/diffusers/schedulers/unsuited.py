"""The error for a scheduler that cannot do what is asked: it names those that can, as classes or by short names."""

from __future__ import annotations

from collections.abc import Sequence

from ..utils.errors import one_line
from .registry import SHORT_NAMES, SIGMA_SPACINGS


class UnsuitedScheduler(ValueError):
    """A scheduler cannot do what is asked.

    Args:
        name: its class.
        what: what it cannot do, as a sentence that begins with its name.
        suited: the classes that can.
        advice: what to do instead of using one of those.
    """

    def __init__(self, name: str, what: str, suited: Sequence[str], advice: str | None = None):
        self._sentence = (name, what, tuple(suited), advice)
        super().__init__(_in_words(name, what, suited, advice))

    @property
    def in_short_names(self) -> str:
        """The message in the words of jobs and the command line, which know schedulers by their short names."""
        name, what, suited, advice = self._sentence
        short = [each for class_name in suited for each in _short_names(class_name)]
        return _in_words(next(iter(_short_names(name)), name), what, short, advice)


def _in_words(name: str, what: str, suited: Sequence[str], advice: str | None) -> str:
    instead = f"use {', '.join(suited)}" if suited else "no scheduler here does"
    return one_line(f"{name} {what}; {advice or instead}")


def _short_names(class_name: str) -> list[str]:
    """A class's short names, without those that add a spacing of σ."""
    spaced = tuple(f"-{each}" for each in SIGMA_SPACINGS)
    return [name for name, setup in SHORT_NAMES.items() if setup.class_name == class_name and not name.endswith(spaced)]
