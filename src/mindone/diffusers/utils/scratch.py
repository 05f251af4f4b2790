"""Arrays that need not stay in memory."""

import mmap
import tempfile
import threading
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


class Scratch:
    """Arrays in temporary files that are mapped into memory, so that the system can drop and reread their pages.

    Many arrays share a file, because the system limits how many files a process may open. A file has room for `ROOM`
    bytes, or for one larger array, and takes only as much of the disk as was written.
    """

    ALIGNMENT, ROOM = 64, 256 << 20

    def __init__(self) -> None:
        self.nbytes = 0
        """Of all arrays that are in files."""
        self._file: BinaryIO | None = None
        self._maps: list[mmap.mmap] = []
        self._used = 0
        self._lock = threading.Lock()

    def keep(self, array: NDArray[T]) -> NDArray[T]:
        """The array, read-only, from a file removed with its last reference; itself if no file can be written."""
        array = np.ascontiguousarray(array)
        if not array.nbytes:
            return array
        with self._lock:
            try:
                file = self._with_room(array.nbytes)
                file.seek(self._used)
                file.write(array.data)
                file.flush()
            except OSError:
                return array
            begin, end = self._used, self._used + array.nbytes
            self._used = -(-end // self.ALIGNMENT) * self.ALIGNMENT
            self.nbytes += array.nbytes
            return np.frombuffer(self._maps[-1], array.dtype, array.size, begin).reshape(array.shape)

    def _with_room(self, nbytes: int) -> BinaryIO:
        if self._file is None or self._used + nbytes > len(self._maps[-1]):
            room = max(nbytes, self.ROOM)
            file = tempfile.TemporaryFile()  # noqa: SIM115  # open until the next one is needed
            file.truncate(room)
            self._maps.append(mmap.mmap(file.fileno(), room, access=mmap.ACCESS_READ))
            self._file, self._used = file, 0
        return self._file

    def release(self) -> None:
        """Give the pages back to the system (not on Windows). The arrays stay valid and page back in when read."""
        if hasattr(mmap, "MADV_DONTNEED"):
            for mapped in self._maps:
                mapped.madvise(mmap.MADV_DONTNEED)
