"""Answers, exactly as they would be proven, from processes that hold the circuit."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balance_core import errors, registry
from balance_core.errors import StageTimeout, ToolFailed
from balance_core.records import Digest, Tensor
from balance_core.service.answerer import Holder, receive, send, zeros

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from balance_core.contracts import ProofBackend
    from balance_core.runs import Preparation
    from balance_core.workspace import Workspace

QUICK_SECONDS = 0.005
"""An answer that takes longer would keep the service's other threads waiting too long."""
_START_SECONDS = 120.0
"""How long a process may take to import its backend and to load the circuit."""
_STOP_SECONDS = 2.0


@dataclass(frozen=True)
class Answered:
    """An answer as a proof would state it."""

    outputs: tuple[Tensor, ...]
    input_digest: Digest | None
    """The `inputs_digest` of the statement, if the backend can tell before it proves."""


class Here:
    """Answers in this process, for a backend whose `execute` is safe there; several threads may ask."""

    def __init__(self, workspace: Workspace, preparation: Preparation, *, threads: int) -> None:
        self._scratch = tempfile.TemporaryDirectory()
        order = _order(workspace, preparation, threads)
        self._holder = Holder(order, Path(self._scratch.name))
        self.seconds = min(self._tried(preparation) for _ in range(3))
        """Processor seconds that an answer takes."""

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Answered:
        """Answer one request of the model's own shapes."""
        outputs, digest = self._holder.answer({name: array[None] for name, array in inputs.items()})
        return Answered(tuple(outputs), digest)

    def _tried(self, preparation: Preparation) -> float:
        began = time.thread_time()
        with contextlib.suppress(Exception):  # zeros may be nothing that the model takes
            self._holder.answer(zeros(preparation))
        return time.thread_time() - began

    def close(self) -> None:
        """Remove the scratch folder."""
        self._scratch.cleanup()


class Answerer:
    """One process; one request at a time. It is started when it is first asked, and again after it has ended."""

    def __init__(self, workspace: Workspace, preparation: Preparation, *, threads: int, seconds: float) -> None:
        self._order = _order(workspace, preparation, threads)
        self._backend = preparation.backend
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None

    def start(self) -> None:
        """Start the process unless it runs, and wait until it is ready; raises the error that keeps it from that."""
        if self._process is not None and self._process.poll() is None:
            return
        self.stop()
        self._link, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "balance_core.service.answerer", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
                env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"},
            )
        self._exchange(self._order, (), _START_SECONDS)

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Answered:
        """Answer one request of the model's own shapes; raises the backend's errors, StageTimeout, ToolFailed."""
        self.start()
        heads = [(name, array.dtype.str, array.shape) for name, array in inputs.items()]
        reply = self._exchange(heads, [array.tobytes() for array in inputs.values()], self._seconds)
        outputs = tuple(Tensor.from_value(value) for value in reply["outputs"])
        return Answered(outputs, reply["input_digest"])

    def _exchange(self, value: Any, parts: Any, seconds: float) -> Any:
        if self._link is None:
            raise ToolFailed("the answering process was not started")
        try:
            self._link.settimeout(seconds)
            send(self._link, value, *parts)
            frame = receive(self._link)
        except TimeoutError:
            self.stop()
            raise StageTimeout(
                f"{self._backend} took more than {seconds:g} s for an answer", hint="raise the limit with --timeout"
            ) from None
        except OSError:
            frame = None
        if frame is None:
            self.stop()
            raise ToolFailed(f"{self._backend} ended without an answer", hint=f"its log: {self._order['log']}")
        reply, _ = frame
        if "error" in reply:
            kind: type[errors.BalanceError] = getattr(errors, reply["error"])
            error = kind.__new__(kind)
            errors.BalanceError.__init__(error, reply["message"], hint=reply["hint"])
            raise error
        return reply

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._link is not None:
            self._link.close()
            self._link = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


class Answerers:
    """So many processes that share the requests, from any number of threads."""

    def __init__(
        self,
        workspace: Workspace,
        preparation: Preparation,
        *,
        count: int = 1,
        threads: int = 1,
        seconds: float = 30.0,
    ) -> None:
        self._members = [
            Answerer(workspace, preparation, threads=threads, seconds=seconds) for _ in range(max(count, 1))
        ]
        self._free: queue.LifoQueue[Answerer] = queue.LifoQueue()
        self._seconds = seconds

    def start(self) -> None:
        """Start all processes and wait until they are ready; raises the error of the first that fails to."""
        for member in self._members:
            member.start()
            self._free.put(member)

    def answer(self, inputs: Mapping[str, np.ndarray]) -> Answered:
        """Answer one request of the model's own shapes and types, when a process is free."""
        try:
            member = self._free.get(timeout=self._seconds)
        except queue.Empty:
            raise StageTimeout("no answering process became free in time", hint="ask again later") from None
        try:
            return member.answer(inputs)
        finally:
            self._free.put(member)

    def close(self) -> None:
        """End all processes, once their present answers are given or their time is over."""
        ends = time.monotonic() + _STOP_SECONDS
        waited = []
        for _ in self._members:
            with contextlib.suppress(queue.Empty):
                waited.append(self._free.get(timeout=max(ends - time.monotonic(), 0.01)))
        for member in self._members:
            member.stop()


def answering(
    workspace: Workspace, preparation: Preparation, *, count: int | None, threads: int, seconds: float
) -> Here | Answerers:
    """Start what answers: so many processes, or, by default, this one where that is safe and quick, else one."""
    backend: type[ProofBackend] = registry.load("backends", preparation.backend)
    if count is None and backend.answers_in_process:
        here = Here(workspace, preparation, threads=threads)
        if here.seconds < QUICK_SECONDS:
            return here
        here.close()
    found = Answerers(workspace, preparation, count=count or 1, threads=threads, seconds=seconds)
    try:
        found.start()
    except BaseException:
        found.close()
        raise
    return found


def _order(workspace: Workspace, preparation: Preparation, threads: int) -> dict[str, Any]:
    return {
        "workspace": str(workspace.root),
        "preparation": preparation.model_dump(mode="json"),
        "threads": threads,
        "log": str(_log(workspace.root)),
    }


def _log(root: Path) -> Path:
    folder = root / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "answering.log"
