"""Texts from anywhere, made safe for a terminal and a log: characters that do not print are escaped.

A prompt in a stranger's file can hold escape sequences that recolour, clear or retitle the terminal, marks that turn
the direction of writing, or line breaks that forge further lines.
"""

import re
import shlex
from collections.abc import Iterable

_LONGEST_SHOWN = 80
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """The text in one line: each character that does not print becomes an escape such as ``\\n`` or ``\\x1b``."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def shown(value: object) -> str:
    """An untrusted value for an error message: as Python writes it, in one line, at most its first 80 characters."""
    try:
        text = printable(repr(value))
    except ValueError:  # Python does not print integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def shell_command(words: Iterable[str]) -> str:
    """Words as one line for a shell. Those with characters that do not print are quoted as ``$'…'``, which bash, zsh
    and ksh read back to the same word."""
    return " ".join(shlex.quote(word) if word.isprintable() else _dollar_quoted(word) for word in words)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    code = ord(character)
    long = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return _SHORT.get(character, long)


def _dollar_quoted(word: str) -> str:
    # A shell reads \x80 as a byte, so beyond ASCII the character's number is written out.
    escaped = "".join(_escaped(each) for each in re.sub(r"(['\\])", r"\\\1", word))
    return "$'" + re.sub(r"\\x([89a-f][0-9a-f])", r"\\u00\1", escaped) + "'"
