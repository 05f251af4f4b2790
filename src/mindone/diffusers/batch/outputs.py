"""Where images go: a folder on this machine, or any storage with an fsspec driver: object stores, SFTP, HDFS,
others."""

import contextlib
import os
import re
import stat
import time
import uuid
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from ..utils.errors import explained
from ..utils.extras import needs
from ..utils.files import atomic_write, check_folder, decoded, folder_to_write, make_folder, shortened

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LEFTOVER = re.compile(r"\..*\.[0-9a-f]{32}\.part")
"""The names of files left half-written by a killed process."""

_MEND = "fix the file or give another folder"
_SECONDS_BETWEEN_WRITES = 10.0
_SHARE_OF_WRITING = 0.05
"""A log is rewritten once writing takes less than this fraction of the time since the last write."""


class LocalFolder:
    """A folder on this machine. Opening its log clears away files left half-written by a killed process.

    Only regular files in it count: a pipe could block a batch for good, and a symbolic link could lead out of the
    folder. A written file replaces them.
    """

    is_local = True
    """Whether reading its files costs little."""

    def __init__(self, path: Path):
        check_folder(path)
        self.path = make_folder(path)

    def names(self) -> set[str]:
        """The names of the files in it."""
        with os.scandir(self.path) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}

    def read(self, name: str) -> bytes:
        """A file's content."""
        with os.fdopen(_opened_regular(self.path / name, os.O_RDONLY), "rb") as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Write a file, completely or not at all."""
        with atomic_write(self.path / name, follows_links=False) as file:
            file.write(content)

    def open_log(self, name: str) -> "LocalLog":
        """The text file of this name, created if missing; raises BlockingIOError if another process has it open."""
        log = LocalLog(self.path / name)
        for leftover in filter(LEFTOVER.fullmatch, self.names()):
            with contextlib.suppress(OSError):
                (self.path / leftover).unlink()
        return log

    def __str__(self) -> str:
        return str(self.path)


def _opened_regular(path: Path, flags: int) -> int:
    """The descriptor of a regular file; raises OSError for links, pipes and devices."""
    if path.is_symlink():
        raise OSError(f"{path} is a symbolic link, not a file; remove it, or give another --output")
    # Guards against a link created in between, and against a pipe without a writer.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is a pipe, a device or a folder, not a file; remove it, or give another --output")
    return descriptor


class LocalLog:
    """A file whose lines are on the disk once added; locked, so that no two processes do the same jobs."""

    def __init__(self, path: Path):
        self._path = path
        descriptor = _opened_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._file = os.fdopen(descriptor, "a+b", buffering=0)  # it stays open, and locked, until close()
        if fcntl is not None:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._file.close()
                raise BlockingIOError(
                    f"another batch is writing to {path.parent}; wait until it ends, or give another --output"
                ) from None
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        try:
            self.text = decoded(whole, path, _MEND)
            """Its content in whole lines, without one left half-written by a killed process."""
        except ValueError:
            self._file.close()
            raise
        self._size = len(whole)
        self._file.truncate(self._size)

    def add(self, line: str) -> None:
        """Add a line, durably. One that does not fit on the disk is removed: otherwise the next would continue it."""
        content = line.encode() + b"\n"
        try:
            written = 0
            while written < len(content):
                written += self._file.write(content[written:])
            os.fsync(self._file.fileno())
        except BaseException:
            self._file.truncate(self._size)
            with explained(f"write {self._path}"):
                raise
        self._size += len(content)

    def close(self) -> None:
        """Make sure that all of it is stored."""
        self._file.close()


class RemoteFolder:
    """A folder at an fsspec URL. A file is written under another name, then renamed."""

    is_local = False

    def __init__(self, url: str):
        fsspec = needs("fsspec", "addresses such as s3://bucket/images")
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url)
        self._files.makedirs(self._root, exist_ok=True)

    def names(self) -> set[str]:
        """See `LocalFolder`. An object store has no folders: one without files is not there."""
        try:
            paths = self._files.ls(self._root, detail=False, refresh=True)
        except FileNotFoundError:
            return set()
        return {str(path).rsplit("/", 1)[-1] for path in paths}

    def read(self, name: str) -> bytes:
        """See `LocalFolder`."""
        return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, content: bytes) -> None:
        """See `LocalFolder`."""
        beside = self._path(f".{shortened(name, 100)}.{uuid.uuid4().hex}.part")
        try:
            self._files.pipe_file(beside, content)
            self._files.mv(beside, self._path(name))
        except BaseException:
            if self._files.exists(beside):
                self._files.rm_file(beside)
            raise

    def open_log(self, name: str) -> "RemoteLog":
        """See `LocalFolder`."""
        for leftover in filter(LEFTOVER.fullmatch, self.names()):
            self._files.rm_file(self._path(leftover))
        return RemoteLog(self, name)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def __str__(self) -> str:
        return self.url


class RemoteLog:
    """A file rewritten as a whole at intervals: most of these storages cannot append.

    Lines of the last seconds may be lost; images carry their own metadata, so the manifest finds them again.
    """

    def __init__(self, folder: RemoteFolder, name: str):
        self._folder, self._name = folder, name
        self.text = decoded(folder.read(name), f"{folder}/{name}", _MEND) if name in folder.names() else ""
        self._lines: list[str] = [line for line in self.text.split("\n") if line]
        self._is_written, self._written, self._took = True, time.monotonic(), 0.0

    def add(self, line: str) -> None:
        """See `LocalLog`; the line is stored some seconds later."""
        self._lines.append(line)
        self._is_written = False
        since = time.monotonic() - self._written
        if since > max(_SECONDS_BETWEEN_WRITES, self._took / _SHARE_OF_WRITING):
            self._write()

    def close(self) -> None:
        """See `LocalLog`."""
        if not self._is_written:
            self._write()

    def _write(self) -> None:
        began = time.monotonic()
        self._folder.write(self._name, "".join(f"{line}\n" for line in self._lines).encode())
        self._is_written, self._written = True, time.monotonic()
        self._took = self._written - began


Output: TypeAlias = LocalFolder | RemoteFolder
"""A folder, wherever it is."""


def open_output(address: str | os.PathLike[str]) -> Output:
    """The folder of this name, created if missing, or that of an fsspec URL such as ``s3://bucket/images``.

    Raises:
        OSError: it is not writable.
        ValueError: it has no name.
        ImportError: fsspec, or the driver for a URL's storage, is not installed.
    """
    text = os.fspath(address)
    if "://" not in text:
        return LocalFolder(folder_to_write(text))
    return RemoteFolder(text)
