"""What somebody meant who wrote a name that is not known."""

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one, as a part of an error message; empty where none is alike."""
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"the nearest is {near[0]!r}" if near else ""
