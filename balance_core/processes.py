"""Worker processes: started before their task is known, so that imports overlap with what runs before."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_STOP_SECONDS = 5.0
_early: list[Process] = []
"""Workers that were started before there was an executor to start them."""


@contextlib.contextmanager
def head_start(stage: str, plugin: str | None = None) -> Iterator[None]:
    """Start a worker that imports while the caller still does; one that nobody has `taken` at the end is stopped."""
    process = Process(stage, plugin)
    _early.append(process)
    try:
        yield
    finally:
        if taken(stage, plugin, process):
            process.stop()
            process.close()


def taken(stage: str, plugin: str | None, which: Process | None = None) -> Process | None:
    """Take a worker (or that one) that was started early for a stage, if there is one."""
    for process in _early:
        if process.expects == (stage, plugin) and which in (None, process):
            _early.remove(process)
            return process
    return None


class Process:
    """A started worker that waits for its task, and the pipe on which it reports."""

    def __init__(self, stage: str, plugin: str | None, niceness: int = 0) -> None:
        self.expects = (stage, plugin)
        reports, reports_in = os.pipe()
        self._popen = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "balance_core.worker",
                str(reports_in),
                str(os.getpid()),
                stage,
                plugin or "",
                str(niceness),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(reports_in,),
            start_new_session=True,
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
        )
        os.close(reports_in)
        self.reports = os.fdopen(reports, "rb")

    def order(self, order: dict[str, Any]) -> None:
        """Hand over the task."""
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.write(json.dumps(order).encode() + b"\n")
                self._popen.stdin.flush()

    def wait(self) -> int:
        """Wait for the end and return the exit status."""
        return self._popen.wait()

    def stop(self) -> None:
        """Kill the worker and everything it started, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def close(self) -> None:
        """Close the pipes."""
        self.reports.close()
        if self._popen.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()
