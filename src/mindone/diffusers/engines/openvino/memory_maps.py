"""Keeps the number of this process's memory maps down; Linux allows 65,530 (``vm.max_map_count``).

OpenVINO binds the scratch memory of every network that it compiles to a NUMA node (``mbind``), and nothing takes that
back when the memory is freed. The C library hands it out again in other pieces, and the kernel keeps a map for each
piece with a policy of its own: some 160 more for each small pipeline that was loaded and released, until nothing can be
mapped any more. Pages stay where they are when their memory gets the process's own policy back.
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
"""The number of the system call, which the C library has no function for."""
_MPOL_DEFAULT = 0


def merge_maps() -> None:
    """Give memory the process's own NUMA policy again, so that neighbouring maps become one."""
    number = _MBIND.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        return
    system_call = ctypes.CDLL(None).syscall
    for start, end in neighbours(_MAPS.read_text().splitlines()):
        # What another thread has unmapped meanwhile is passed over, and what it has mapped there is none the worse.
        system_call(*map(ctypes.c_long, (number, start, end - start, _MPOL_DEFAULT, 0, 0, 0)))


def neighbours(maps: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Start and end of memory that lies in several maps without a gap, all of them writable and of no file."""
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
