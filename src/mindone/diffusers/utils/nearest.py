"""What somebody meant who wrote a name that is not known."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, as a part of an error message; empty where none is alike."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, or else all that are known."""
    known = list(known)
    return nearest(name, known) or f"known are {', '.join(known)}"
