"""Arrays that need not stay in memory."""

import mmap
import tempfile
import threading
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


class Scratch:
    """Arrays in temporary files that are mapped into memory, so that the system can drop and reread their pages."""

    def __init__(self) -> None:
        self._maps: list[mmap.mmap] = []

    def keep(self, array: NDArray[T]) -> NDArray[T]:
        """The array, read-only, from a file removed with its last reference; itself if no file can be written."""
        array = np.ascontiguousarray(array)
        try:
            with tempfile.TemporaryFile() as file:
                file.write(array.data)
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            return array
        self._maps.append(mapped)
        return np.frombuffer(mapped, array.dtype).reshape(array.shape)

    def release(self) -> None:
        """Give the pages back to the system (not on Windows). The arrays stay valid and page back in when read."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)


class ScratchFile:
    """Many arrays in one temporary file, mapped once: a process may have few open files.

    Args:
        nbytes: room for all of them; each takes up to `ALIGNMENT` bytes more. The file grows as it is filled.
    """

    ALIGNMENT = 64

    def __init__(self, nbytes: int):
        self._room, self._used = nbytes, 0
        self._file: BinaryIO | None = None
        self._map: mmap.mmap | None = None
        self._lock = threading.Lock()

    def keep(self, array: NDArray[T]) -> NDArray[T]:
        """The array, read-only, from the file; itself where no file can be written, or it has no more room."""
        array = np.ascontiguousarray(array)
        with self._lock:
            begin, end = self._used, self._used + array.nbytes
            if array.nbytes == 0 or end > self._room:
                return array
            try:
                if self._file is None or self._map is None:
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as this object
                    self._file.truncate(self._room)
                    self._map = mmap.mmap(self._file.fileno(), self._room, access=mmap.ACCESS_READ)
                self._file.seek(begin)
                self._file.write(array.data)
                self._file.flush()
            except OSError:
                return array
            self._used = -(-end // self.ALIGNMENT) * self.ALIGNMENT
            return np.frombuffer(self._map, array.dtype, array.size, begin).reshape(array.shape)

    def release(self) -> None:
        """Give the pages back to the system (not on Windows). The arrays stay valid and page back in when read."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
