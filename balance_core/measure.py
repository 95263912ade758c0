"""What a process tree uses: resident memory by its high-water marks, and processor time.

On Linux, memory is the kernel's own VmHWM of each live process, read at every poll: a high-water mark misses nothing
between two polls while the process lives. A child's `ru_maxrss` is never used, because it starts at its parent's
peak. Elsewhere the resident size at each poll has to do.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HAS_PROC = Path("/proc/self/status").exists()
_KIB = 1024


@dataclass(frozen=True)
class MemoryUse:
    """Resident bytes of a process tree, now and summed over the live processes' own peaks."""

    resident: int
    high_water: int


def tree(root: int) -> Iterator[int]:
    """Yield the ids of a process and all its descendants that are alive."""
    pending = [root]
    while pending:
        process = pending.pop()
        yield process
        pending.extend(_children(process))


def _children(process: int) -> list[int]:
    if not _HAS_PROC:
        return _children_elsewhere(process)
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):  # noqa: PTH208 - polled: a path object costs more than the read
            with contextlib.suppress(OSError):
                found.extend(map(int, _read(f"/proc/{process}/task/{thread}/children").split()))
    return found


def _read(path: str) -> bytes:
    """Read a file of the kernel's; such a file has no size before it is read."""
    handle = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(handle, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)


def _children_elsewhere(process: int) -> list[int]:
    import psutil

    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(process).children()]
    return []


def memory(root: int, *, without_root: bool = False) -> MemoryUse:
    """Return what a process and its descendants hold; a process that is gone holds nothing.

    `without_root` leaves the process itself out: a supervisor asks so for its worker and for orphans it adopted.
    """
    resident = high_water = 0
    for process in tree(root):
        if without_root and process == root:
            continue
        now, peak = _resident(process)
        resident += now
        high_water += peak
    return MemoryUse(resident, high_water)


def _resident(process: int) -> tuple[int, int]:
    """Return the resident bytes of one process and their peak."""
    if not _HAS_PROC:
        import psutil

        with contextlib.suppress(psutil.Error):
            now = psutil.Process(process).memory_info().rss
            return now, now
        return 0, 0
    now = peak = 0
    with contextlib.suppress(OSError):
        status = _read(f"/proc/{process}/status")
        peak, now = (_field(status, name) * _KIB for name in (b"VmHWM:", b"VmRSS:"))
    return now, peak


def _field(status: bytes, name: bytes) -> int:
    """Return the number behind a name; 0 where there is none, as of a process that has ended and is not reaped."""
    number = status.partition(b"\n" + name)[2].split(maxsplit=1)
    return int(number[0]) if number else 0


def kills_for_memory() -> int | None:
    """Return how many processes the system killed for lack of memory since its start; None if it does not tell."""
    with contextlib.suppress(OSError):
        for line in _read("/proc/vmstat").splitlines():
            name, _, value = line.partition(b" ")
            if name == b"oom_kill":
                return int(value)
    return None


def available_memory() -> int:
    """Return how many bytes a new process could use: what the machine has free, within the control group's limit."""
    free = _free_memory()
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, limit - used + _reclaimable())
    return max(free, 0)


def _free_memory() -> int:
    with contextlib.suppress(OSError):
        free = _field(b"\n" + _read("/proc/meminfo"), b"MemAvailable:")
        if free:
            return free * _KIB
    import psutil

    return int(psutil.virtual_memory().available)


def _reclaimable() -> int:
    """Return the bytes of file cache that the control group would give back."""
    for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
