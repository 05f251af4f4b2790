"""Output to whatever fsspec has a driver for: object stores, SFTP, HDFS and others."""

import time
import uuid

from ..utils.extras import needs
from ..utils.files import shortened
from .outputs import LEFTOVER, log_text

_SECONDS_BETWEEN_WRITES = 10.0
_SHARE_OF_WRITING = 0.05
"""A log is written again when that takes less than this part of the time since it was last written."""


class RemoteFolder:
    """A folder behind an fsspec URL. Files are written beside and renamed."""

    is_local = False

    def __init__(self, url: str):
        fsspec = needs("fsspec", "addresses such as s3://bucket/images")
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url)
        self._files.makedirs(self._root, exist_ok=True)

    def names(self) -> set[str]:
        """See `Output`."""
        return {str(path).rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False, refresh=True)}

    def read(self, name: str) -> bytes:
        """See `Output`."""
        return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, content: bytes) -> None:
        """See `Output`."""
        beside = self._path(f".{shortened(name, 100)}.{uuid.uuid4().hex}.part")
        try:
            self._files.pipe_file(beside, content)
            self._files.mv(beside, self._path(name))
        except BaseException:
            if self._files.exists(beside):
                self._files.rm_file(beside)
            raise

    def open_log(self, name: str) -> "RemoteLog":
        """See `Output`."""
        for leftover in filter(LEFTOVER.fullmatch, self.names()):
            self._files.rm_file(self._path(leftover))
        return RemoteLog(self, name)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def __str__(self) -> str:
        return self.url


class RemoteLog:
    """A file that is written as a whole now and then: most of these storages cannot add to one.

    Lines of the last seconds can be lost; images tell by themselves what they are, so the manifest finds them again.
    """

    def __init__(self, folder: RemoteFolder, name: str):
        self._folder, self._name = folder, name
        self._text = log_text(folder.read(name), f"{folder}/{name}") if name in folder.names() else ""
        self._lines: list[str] = [line for line in self._text.split("\n") if line]
        self._is_written, self._written, self._took = True, time.monotonic(), 0.0

    def text(self) -> str:
        """See `Log`."""
        return self._text

    def add(self, line: str) -> None:
        """See `Log`; the line is there some seconds later."""
        self._lines.append(line)
        self._is_written = False
        since = time.monotonic() - self._written
        if since > max(_SECONDS_BETWEEN_WRITES, self._took / _SHARE_OF_WRITING):
            self._write()

    def close(self) -> None:
        """See `Log`."""
        if not self._is_written:
            self._write()

    def _write(self) -> None:
        began = time.monotonic()
        self._folder.write(self._name, "".join(f"{line}\n" for line in self._lines).encode())
        self._is_written, self._written = True, time.monotonic()
        self._took = self._written - began
