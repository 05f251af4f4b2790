"""Errors in one line, for people."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from .printable import printable

_LONGEST = 500
"""The most characters of a message; it may quote a file."""


def in_one_line(error: BaseException) -> str:
    """An error's message, as `one_line`; any but a ValueError or an OSError, which users cause, begins with its
    type."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = refusal(error, f"use {os.fsdecode(error.filename)}") if error.filename else error.strerror
    elif isinstance(error, MemoryError):
        message = f"out of memory{': ' if message else ''}{message}"
    elif not (isinstance(error, (ValueError, OSError)) and message):
        message = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return one_line(message)


def rule_of(message: str) -> str:
    """What works, from pydantic's "Input should be a valid integer, unable to …": "must be a valid integer"."""
    rule = re.sub(r"^(Input|String|Tuple|List) should", "must", message.removeprefix("Value error, "))
    return re.sub(r", unable to .*|, got a number .*| after validation", "", rule)


_ROOM, _RIGHTS = "make room, or give a place on another disk", "give a place where you may do so"
_ADVICE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOTDIR: "a part of the path is a file; give another path",
    errno.EEXIST: "it is taken; give another name",
    errno.ENAMETOOLONG: "give a shorter one",
}
"""What would work, for the system's refusals."""


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Let the system's refusals say ``what`` could not be done, why, and what would work; other errors pass.

    They keep their class and their ``errno``.
    """
    try:
        yield
    except OSError as error:
        if not error.strerror:
            raise
        said = type(error)(refusal(error, what))
        said.errno = error.errno
        raise said from None


def refusal(error: OSError, what: str) -> str:
    """The sentence about ``what`` the system refused to do."""
    advice = _ADVICE.get(error.errno or 0)
    return f"cannot {what}: {error.strerror}{f'; {advice}' if advice else ''}"


def one_line(message: str) -> str:
    """A message in one line: characters that do not print are escaped, a long message keeps its two ends."""
    message = printable(" ".join(message.split()))
    if len(message) <= _LONGEST:
        return message
    end = _LONGEST // 3
    return f"{message[: _LONGEST - end - 1]}…{message[-end:]}"
