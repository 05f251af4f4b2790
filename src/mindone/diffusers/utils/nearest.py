"""The name that somebody probably meant when they typed an unknown one."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The most similar known name, as part of an error message; empty if none is similar."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """The most similar known name, or else all known names."""
    known = list(known)
    return nearest(name, known) or f"choose from {', '.join(known)}"
