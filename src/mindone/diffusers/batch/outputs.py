"""Where images go: a folder on this machine, or an address that fsspec knows (``remote``)."""

import contextlib
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Protocol

from ..utils.files import atomic_write, check_folder

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LEFTOVER = re.compile(r"\..*\.[0-9a-f]{32}\.part")
"""The names of files that were being written when a process was killed."""


class Log(Protocol):
    """A text file that lines are added to."""

    def text(self) -> str:
        """What it holds: whole lines, the one that was being written when a process was killed left out."""

    def add(self, line: str) -> None:
        """Add a line, for good."""

    def close(self) -> None:
        """See to it that all of it is there."""


class Output(Protocol):
    """A folder, wherever it is."""

    is_local: bool
    """Whether reading its files costs little."""

    def names(self) -> set[str]:
        """The names of the files in it."""

    def read(self, name: str) -> bytes:
        """A file's content."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, completely or not at all."""

    def open_log(self, name: str) -> Log:
        """The text file of this name, made when missing."""

    def __str__(self) -> str: ...


def open_output(address: str | os.PathLike[str]) -> Output:
    """The folder of this name, which is made, or the one that an fsspec URL such as ``s3://bucket/images`` names.

    Raises:
        OSError: it cannot be written to.
        ImportError: a URL without fsspec, or without what its kind of storage needs.
    """
    text = os.fspath(address)
    if "://" not in text:
        return LocalFolder(Path(text))
    from .remote import RemoteFolder

    return RemoteFolder(text)


def log_text(content: bytes, path: object) -> str:
    """The text of a log.

    Raises:
        ValueError: it is not UTF-8; the message names the line.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte {error.start} is not UTF-8; mend the file or give another folder"
        ) from None


class LocalFolder:
    """A folder on this machine. What a killed process left half-written is cleared away when its log is opened."""

    is_local = True

    def __init__(self, path: Path):
        check_folder(path)
        path.mkdir(parents=True, exist_ok=True)
        self.path = path

    def names(self) -> set[str]:
        """See `Output`."""
        return set(os.listdir(self.path))

    def read(self, name: str) -> bytes:
        """See `Output`."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """See `Output`."""
        with atomic_write(self.path / name) as file:
            file.write(content)

    def open_log(self, name: str) -> "LocalLog":
        """See `Output`; raises BlockingIOError while another process has it open."""
        log = LocalLog(self.path / name)
        for leftover in filter(LEFTOVER.fullmatch, self.names()):
            with contextlib.suppress(OSError):
                (self.path / leftover).unlink()
        return log

    def __str__(self) -> str:
        return str(self.path)


class LocalLog:
    """A file whose lines are on the disk once they are added; locked, so that no two processes draw the same jobs."""

    def __init__(self, path: Path):
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  it stays open, and locked, until close()
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise BlockingIOError(
                    f"another batch is writing to {path.parent}; wait for its end, or give another --output"
                ) from None
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            self._text = log_text(whole, path)
        except ValueError:
            self._file.close()
            raise
        self._size = len(whole)
        self._file.truncate(self._size)

    def text(self) -> str:
        """See `Log`."""
        return self._text

    def add(self, line: str) -> None:
        """See `Log`. A line that does not fit on the disk is taken back: the next one would go on in it."""
        content = line.encode() + b"\n"
        try:
            written = 0
            while written < len(content):
                written += self._file.write(content[written:])
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(self._size)
            raise
        self._size += len(content)

    def close(self) -> None:
        """See `Log`."""
        self._file.close()
