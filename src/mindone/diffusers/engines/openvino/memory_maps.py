"""Limits the number of this process's memory maps; Linux allows 65,530 (``vm.max_map_count``).

OpenVINO binds the scratch memory of every compiled network to a NUMA node (``mbind``), and nothing undoes that when the
memory is freed. The C library reuses it in other pieces, and the kernel keeps a map for each piece with its own policy:
some 160 more for each small pipeline loaded and released, until nothing can be mapped any more. Restoring the process's
own policy does not move any pages.
"""

from __future__ import annotations

import ctypes
import itertools
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_MBIND = {"x86_64": 237, "aarch64": 235}
"""The number of the system call, for which the C library has no function."""
_MPOL_DEFAULT = 0


def merge_maps() -> None:
    """Restore the process's own NUMA policy, so that neighbouring maps merge."""
    number = _MBIND.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        return
    system_call = ctypes.CDLL(None).syscall
    for start, end in neighbours(_MAPS.read_text().splitlines()):
        # Memory that another thread has unmapped meanwhile is skipped, and memory it has mapped there takes no harm.
        system_call(*map(ctypes.c_long, (number, start, end - start, _MPOL_DEFAULT, 0, 0, 0)))


def neighbours(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Start and end of memory in several adjacent maps, all writable and without a file."""
    spans: list[list[int]] = []
    for line in maps:
        span, permissions, _, _, _, *name = line.split()
        if permissions == "rw-p" and name in ([], ["[heap]"]):
            spans.append([int(each, 16) for each in span.split("-")])
    start = 0
    for (one, end), after in itertools.zip_longest(spans, spans[1:]):
        start = start or one
        if after is not None and after[0] == end:
            continue
        if start != one:
            yield start, end
        start = 0
