"""Checks API keys in constant time, and keeps only their hashes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import string

from ..utils.files import numbered_lines

_CARRIED = frozenset(string.ascii_letters + string.digits + string.punctuation)
"""Characters that every client encodes in a header in the same way."""


class Keys:
    """The keys of a file, one per line; it skips empty lines and lines that begin with #.

    Raises:
        OSError: the file is unreadable.
        ValueError: the file is not UTF-8 or has no key, or a key has fewer than 16 characters or one that a header
            cannot carry.
    """

    def __init__(self, path: str | os.PathLike[str]):
        name, keys = os.fspath(path), []
        for number, line in numbered_lines(path):
            if line.startswith("#"):
                continue
            if not _CARRIED.issuperset(line):
                raise ValueError(
                    f"{name}, line {number}: a key may have ASCII letters, digits and punctuation only, and no space: "
                    "clients encode other characters in different ways"
                )
            if len(line) < 16:
                raise ValueError(
                    f"{name}, line {number}: a key needs at least 16 characters; a shorter one can be guessed"
                )
            keys.append(line)
        if not keys:
            raise ValueError(f"{name} holds no key: write one per line")
        self._digests = [_digest(key) for key in keys]

    def find(self, authorization: str) -> int | None:
        """The number of the key in a request's ``Authorization`` header, from 1; None if it has no valid key.

        The header is ``Bearer KEY``, or ``Basic`` with the key as the password and any user name.
        """
        scheme, _, credentials = authorization.partition(" ")
        shown = _password(credentials) if scheme.lower() == "basic" else credentials.strip()
        if scheme.lower() not in ("bearer", "basic"):
            return None
        digest = _digest(shown)
        equal = [hmac.compare_digest(digest, each) for each in self._digests]  # compares all keys, for constant time
        return equal.index(True) + 1 if any(equal) else None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
