"""The name that somebody probably meant when they typed an unknown one."""

import difflib
from collections.abc import Iterable

from .printable import shown


def names_in(argument: str, given: object) -> list[str]:
    """One name, or several, as a list; raises ValueError if there is anything but names."""
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    names = [each for each in several if isinstance(each, str)]
    if len(names) != len(several):
        raise ValueError(f"{argument} must be a name or a list of names, got {shown(given)}")
    return names


def check_names(name: str, value: object) -> None:
    """Check for a list of names."""
    if not isinstance(value, Iterable) or isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{name} must be a list of names, got {shown(value)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The most similar known name, as part of an error message; empty if none is similar."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""


def nearest_or_all(name: str, known: Iterable[str]) -> str:
    """The most similar known name, or else all known names."""
    known = list(known)
    return nearest(name, known) or f"choose from {', '.join(known)}"
