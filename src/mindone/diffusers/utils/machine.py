"""The machine behind a measurement, without which seconds mean nothing, and the memory in use."""

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from .. import __version__


def machine() -> dict[str, object]:
    """The processor, the cores that this process may use, the memory in bytes, the system, and how busy it is."""
    return {
        "cpu": _cpu_says("model name", "hardware", "cpu model")
        or platform.processor()
        or platform.machine()
        or "unknown",
        "cores": usable_cores(),
        "memory": total_memory(),
        "system": _system(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of this library, of Python, and of the installed packages."""
    found = {"mindone-diffusers": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory() -> int | None:
    """Bytes of this process's largest resident set so far; None if the system does not say."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024


_INSTRUCTION_SETS = (
    *("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_fp16", "amx_int8"),
    *("asimdhp", "asimddp", "bf16", "i8mm", "sve"),
)
"""The instruction sets that decide the speed of products by type: x86's, then Arm's, as the Linux kernel spells
them."""


def instruction_sets() -> tuple[str, ...]:
    """The processor's instruction sets that speed up networks; empty if the system does not say."""
    has = _cpu_says("flags", "features").split()
    return tuple(each for each in _INSTRUCTION_SETS if each in has)


def is_x86() -> bool:
    """Whether the processor is an x86 one of 64 bits."""
    return platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def multiplies_bytes_exactly() -> bool:
    """Whether products of 8-bit integers are summed in 32 bits; AVX2 without VNNI sums pairs in 16 and saturates."""
    sets = set(instruction_sets())
    return "avx2" not in sets or not sets.isdisjoint({"avx512_vnni", "avx_vnni", "amx_int8"})


def reset_peak_memory() -> bool:
    """Make `peak_memory` count from now on; false if the system cannot, and it keeps counting from the start."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _cpu_says(*names: str) -> str:
    """The first value that Linux gives for the processor under one of these names; empty if there is none."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in names:
                return value.strip()
    return ""


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def keep_to_cores(first: int, count: int) -> None:
    """Pin this thread, and those it starts, to ``count`` of its cores from number ``first`` on. Does nothing if there
    are fewer, or if the system has no such call."""
    if not hasattr(os, "sched_setaffinity"):
        return
    usable = sorted(os.sched_getaffinity(0))
    if first + count <= len(usable):
        os.sched_setaffinity(0, usable[first : first + count])


def total_memory() -> int | None:
    """Bytes of memory of the machine or the container; None if the system does not say."""
    found = [limit for path in _CONTAINER_LIMITS if (limit := _number_in(Path(path)))]
    with contextlib.suppress(AttributeError, OSError, ValueError):
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)


def free_memory() -> int | None:
    """Bytes of memory that programs can still take without swapping; None if the system does not say."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
        return min(free, total_memory() or free)
    return None


_CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may take: versions 2 and 1 of its control groups."""


def _number_in(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # "max" is no limit
        return None


def _system() -> str:
    if sys.platform == "linux":
        try:
            return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({platform.machine()})"
        except (OSError, KeyError):
            pass
    return f"{platform.system()} {platform.release()} ({platform.machine()})"
