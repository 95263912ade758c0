"""Worker processes: started before their task is known, so that imports overlap with what runs before."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

_STOP_SECONDS = 5.0


class Process:
    """A started worker that waits for its task, and the pipe on which it reports."""

    def __init__(self, stage: str, plugin: str | None) -> None:
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
