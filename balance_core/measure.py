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

_PROC = Path("/proc")
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
    if not _PROC.is_dir():
        return _children_elsewhere(process)
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                found.extend(map(int, (thread / "children").read_text().split()))
    return found


def _children_elsewhere(process: int) -> list[int]:
    import psutil

    with contextlib.suppress(psutil.Error):
        return [child.pid for child in psutil.Process(process).children()]
    return []


def memory(root: int) -> MemoryUse:
    """Return what a process and its descendants hold; a process that is gone holds nothing."""
    resident = high_water = 0
    for process in tree(root):
        now, peak = _resident(process)
        resident += now
        high_water += peak
    return MemoryUse(resident, high_water)


def _resident(process: int) -> tuple[int, int]:
    """Return the resident bytes of one process and their peak."""
    if not _PROC.is_dir():
        import psutil

        with contextlib.suppress(psutil.Error):
            now = psutil.Process(process).memory_info().rss
            return now, now
        return 0, 0
    now = peak = 0
    with contextlib.suppress(OSError), Path(f"/proc/{process}/status").open("rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                peak = int(line.split()[1]) * _KIB
            elif line.startswith(b"VmRSS:"):
                now = int(line.split()[1]) * _KIB
                break
    return now, peak


def available_memory() -> int:
    """Return how many bytes a new process could use: what the machine has free, within the control group's limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, limit - used + _reclaimable())
    return max(free, 0)


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
