"""Errors in one line, for people."""

from .printable import printable

_LONGEST = 500
"""Characters of a message; what a file says may be quoted in it."""


def in_one_line(error: BaseException) -> str:
    """What an error says. What a user can cause is a ValueError or an OSError; others get the name of their kind.

    Characters that do not print are escaped, and of a long message the beginning and the end are kept.
    """
    message = printable(" ".join(str(error).split()))
    if isinstance(error, MemoryError):
        message = f"out of memory{': ' if message else ''}{message}"
    elif not (isinstance(error, (ValueError, OSError)) and message):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    if len(message) <= _LONGEST:
        return message
    end = _LONGEST // 3
    return f"{message[: _LONGEST - end - 1]}…{message[-end:]}"
