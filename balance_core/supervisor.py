"""Watches one worker: measures its process tree, holds it to its limits, and leaves nothing of it behind.

The supervisor is the process that the parent starts; it forks the worker before anything heavy is imported. Whatever
dies first (the parent, the supervisor, the worker), the rest of the tree is killed: the supervisor adopts orphans,
and the kernel tells each process of its parent's death.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core import measure

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.05
"""Between two looks at the worker's memory, which keeps its own high-water mark."""
_REPORT_SECONDS = 0.2


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere the supervisor's polls notice)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_of(process: int) -> list[int]:
    """Return a file descriptor that is ready once a process has ended, where the kernel has such."""
    with contextlib.suppress(AttributeError, OSError):
        return [os.pidfd_open(process)]
    return []


@dataclass
class _Watch:
    """What is known of the worker while it runs."""

    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    memory_bytes: int | None = None
    cpu_before: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    status: int | None = None
    """The worker's wait status, once it is reaped."""
    failure: str | None = None
    kills_for_memory: int | None = None
    """How many processes the system had killed for lack of memory before."""

    @property
    def elapsed(self) -> float:
        return 0.0 if self.started is None else (self.ended or time.monotonic()) - self.started


class Supervisor:
    """Runs `work` in a forked worker and reports on it, one JSON object a line, to a pipe."""

    def __init__(self, reports: int, *, parent: int) -> None:
        self._reports = reports
        self._parent = parent
        self._worker = 0
        self._seen = _Watch()

    def run(self, work: Callable[[WorkerSide], None]) -> None:
        """Fork the worker, watch it to its end, and report how that was."""
        _adopt_orphans()
        from_worker, to_supervisor = os.pipe()
        from_supervisor, to_worker = os.pipe()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        supervisor = os.getpid()
        self._worker = os.fork()
        if self._worker == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.close(from_worker)
            os.close(to_worker)
            die_with_parent(supervisor)
            work(WorkerSide(self._reports, to_supervisor, from_supervisor))
            os._exit(0)
        os.close(to_supervisor)
        os.close(from_supervisor)
        self._watch(from_worker, to_worker)
        self._kill_all()
        self._report_end()

    def _watch(self, from_worker: int, to_worker: int) -> None:
        """Look at the worker until it has ended or went past a limit; its words and its end are noticed at once."""
        seen = self._seen
        reported = 0.0
        sources = [from_worker, *_end_of(self._worker)]
        while seen.status is None and seen.failure is None:
            if os.getppid() != self._parent:
                self._stop()
            if seen.started is not None and seen.ended is None:
                use = self._use()
                seen.peak_memory = max(seen.peak_memory, use.high_water)
                self._check_limits(use.resident)
                if seen.elapsed - reported > _REPORT_SECONDS:
                    reported = seen.elapsed
                    self._report({"event": "use", "elapsed": reported, "memory": use.resident})
            ready, _, _ = select.select(sources, [], [], _POLL_SECONDS)
            if from_worker in ready and not self._hear(os.read(from_worker, 4096), to_worker):
                sources.remove(from_worker)
            self._reap()

    @staticmethod
    def _use() -> measure.MemoryUse:
        """Return what the worker's tree holds, with orphans of it, which are children of this process now."""
        return measure.memory(os.getpid(), without_root=True)

    def _check_limits(self, resident: int) -> None:
        seen = self._seen
        if seen.memory_bytes is not None and resident > seen.memory_bytes:
            seen.failure = "out-of-memory"
        elif seen.seconds is not None and seen.elapsed > seen.seconds:
            seen.failure = "timeout"

    def _hear(self, message: bytes, to_worker: int) -> bool:
        """Take what the worker says: that it starts, or that it is done; return whether it may say more."""
        seen = self._seen
        for line in message.decode().splitlines():
            word, _, rest = line.partition(" ")
            if word == "start":
                seen.started = time.monotonic()
                seen.kills_for_memory = measure.kills_for_memory()
                limits = json.loads(rest)
                seen.seconds, seen.memory_bytes = limits["seconds"], limits["memory_bytes"]
                seen.cpu_before = limits["cpu_before"]
            else:  # "done": the worker stays until its high-water mark has been read once more
                seen.ended = time.monotonic()
                seen.peak_memory = max(seen.peak_memory, self._use().high_water)
                os.write(to_worker, b"1")
        return bool(message)

    def _reap(self) -> bool:
        """Collect what has ended, with the processor time it took; return whether any child is left."""
        while True:
            try:
                process, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if process == 0:
                return True
            self._seen.cpu_seconds += usage.ru_utime + usage.ru_stime
            if process == self._worker:
                self._seen.status = status

    def _kill_all(self) -> None:
        """Kill every descendant, also those in groups of their own, and reap them."""
        self._seen.ended = self._seen.ended or time.monotonic()
        me = os.getpid()
        while self._reap():
            for process in measure.tree(me):
                if process != me:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(process, signal.SIGKILL)
            time.sleep(0.001)

    def _report_end(self) -> None:
        seen = self._seen
        status = seen.status or 0
        before, kills = seen.kills_for_memory, measure.kills_for_memory()
        self._report(
            {
                "event": "end",
                "failure": seen.failure,
                "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
                "status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
                "wall": seen.elapsed,
                "cpu": max(seen.cpu_seconds - seen.cpu_before, 0.0),
                "memory": seen.peak_memory,
                "killed_for_memory": None if before is None or kills is None else kills > before,
            }
        )

    def _stop(self, *_: object) -> None:
        self._kill_all()
        os._exit(1)

    def _report(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._reports, json.dumps(event).encode() + b"\n")


@dataclass(frozen=True)
class WorkerSide:
    """The worker's end of the pipes to its supervisor and to the parent."""

    reports: int
    to_supervisor: int
    from_supervisor: int

    def start(self, *, seconds: float | None, memory_bytes: int | None) -> None:
        """Say that the work begins now, and within which limits."""
        limits = json.dumps({"seconds": seconds, "memory_bytes": memory_bytes, "cpu_before": time.process_time()})
        os.write(self.to_supervisor, f"start {limits}\n".encode())

    def done(self) -> None:
        """Say that the work is done, and wait until the supervisor has read the final use of memory."""
        os.write(self.to_supervisor, b"done\n")
        os.read(self.from_supervisor, 1)

    def report(self, message: str, fraction: float | None) -> None:
        """Tell the parent how the work stands; lines are short enough to be written at once."""
        event = {"event": "progress", "message": message[:500], "fraction": fraction}
        with contextlib.suppress(BrokenPipeError):
            os.write(self.reports, json.dumps(event).encode() + b"\n")
