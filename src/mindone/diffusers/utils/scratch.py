"""Arrays that need not stay in memory."""

import mmap
import tempfile
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


class Scratch:
    """Arrays in temporary files that are mapped into memory, so that the system can drop and reread their pages."""

    def __init__(self) -> None:
        self._maps: list[mmap.mmap] = []

    def keep(self, array: NDArray[T]) -> NDArray[T]:
        """The array, read-only, from a file that goes when nobody holds it; itself where no file can be written."""
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
