"""Errors in one line, for people."""

from .printable import printable

_LONGEST = 500
"""The most characters of a message; it may quote a file."""


def in_one_line(error: BaseException) -> str:
    """An error's message, as `one_line`; any but a ValueError or an OSError, which users cause, begins with its
    type."""
    message = str(error)
    if isinstance(error, MemoryError):
        message = f"out of memory{': ' if message else ''}{message}"
    elif not (isinstance(error, (ValueError, OSError)) and message):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return one_line(message)


def one_line(message: str) -> str:
    """A message in one line: characters that do not print are escaped, a long message keeps its two ends."""
    message = printable(" ".join(message.split()))
    if len(message) <= _LONGEST:
        return message
    end = _LONGEST // 3
    return f"{message[: _LONGEST - end - 1]}…{message[-end:]}"
