"""The local executor: each stage in a supervised process of its own on this machine."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from typing_extensions import override

from balance_core import errors, measure
from balance_core.contracts import Executor
from balance_core.processes import Process, taken
from balance_core.settings import Settings
from balance_core.stages import Measurement, Progress, Task, TaskResult
from balance_core.worker import RESULT_FILE
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable


_MAX_ANSWER_BYTES = 2**30
"""Largest answer of a worker that is read."""


class LocalExecutorSettings(Settings):
    """Where the stages of a run find their content."""

    folder: Path | None = Field(None, description="The data folder; by default the user's own.")
    logs: Path | None = Field(None, description="The folder for the stages' logs; by default one in the data folder.")
    niceness: int = Field(0, ge=0, le=19, description="How far stages stand back for other work on this machine.")


class StageFuture(Future[TaskResult]):
    """A running stage; cancelling it kills its process tree."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self.set_running_or_notify_cancel()
        self.process = process
        self.cancelled_by_caller = False

    def cancel(self) -> bool:
        """Stop the stage at once; its result is then a StageError that says so."""
        self.cancelled_by_caller = True
        self.process.stop()
        return True


class LocalExecutor(Executor):
    """Runs stages in worker processes that share one workspace."""

    api_version = 1
    settings_class = LocalExecutorSettings
    settings: LocalExecutorSettings

    def __init__(self, settings: LocalExecutorSettings | None = None) -> None:
        super().__init__(settings)
        folder = self.settings.folder
        self._workspace = Workspace(folder) if folder else Workspace.default()
        self._spares: dict[tuple[str, str | None], Process] = {}
        self._running: set[StageFuture] = set()
        self._lock = threading.Lock()

    @override
    def prepare(self, stage: str, plugin: str | None) -> None:
        with self._lock:
            if (stage, plugin) not in self._spares:
                self._spares[stage, plugin] = self._process(stage, plugin)

    @override
    def submit(self, task: Task, *, watch: Callable[[Progress], None] | None = None) -> StageFuture:
        with self._lock:
            process = self._spares.pop((task.stage, task.plugin), None)
            future = StageFuture(process or self._process(task.stage, task.plugin))
            self._running.add(future)
        threading.Thread(target=self._follow, args=(future, task, watch), daemon=True).start()
        return future

    def _process(self, stage: str, plugin: str | None) -> Process:
        niceness = self.settings.niceness
        return (None if niceness else taken(stage, plugin)) or Process(stage, plugin, niceness)

    @override
    def close(self) -> None:
        with self._lock:
            running, spares = list(self._running), list(self._spares.values())
            self._spares.clear()
        for future in running:
            future.cancel()
        for spare in spares:
            spare.stop()
            spare.close()

    def _follow(self, future: StageFuture, task: Task, watch: Callable[[Progress], None] | None) -> None:
        try:
            result = self._run(future, task, watch)
        except BaseException as error:  # noqa: BLE001 - it is the caller's, who waits for it in another thread
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            with self._lock:
                self._running.discard(future)

    def _run(self, future: StageFuture, task: Task, watch: Callable[[Progress], None] | None) -> TaskResult:
        process = future.process
        logs = self.settings.logs or self._workspace.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / f"{task.stage}.log"
        with self._workspace.scratch() as scratch:
            process.order(
                {
                    "task": json.loads(task.to_json()),
                    "workspace": str(self._workspace.root),
                    "scratch": str(scratch),
                    "log": str(log),
                    "threads": task.limits.threads or measure.processors(),
                    "seconds": task.limits.seconds,
                    "memory_bytes": task.limits.memory_bytes,
                }
            )
            try:
                end = _listen(process, task, watch)
                process.wait()
            except ValueError as error:  # the worker wrote something else into the pipe for reports
                process.stop()
                raise errors.ToolFailed(
                    f"stage {task.stage} of {task.plugin} reported what cannot be read"
                ) from error
            finally:
                process.close()
            if future.cancelled_by_caller:
                raise errors.StageError(f"stage {task.stage} was stopped")
            return _result(task, end, scratch.parent / RESULT_FILE, log)


def _listen(process: Process, task: Task, watch: Callable[[Progress], None] | None) -> dict[str, Any]:
    """Follow the reports to the last one, and return it (empty if the supervisor itself was killed)."""
    latest: dict[str, Any] = {"elapsed": 0.0, "memory": 0, "message": "", "fraction": None}
    for line in process.reports:
        event = json.loads(line)
        if event["event"] == "end":
            return dict(event)
        latest.update({key: value for key, value in event.items() if key != "event"})
        if watch is not None:
            watch(
                Progress(
                    stage=task.stage,
                    elapsed_seconds=latest["elapsed"],
                    memory_bytes=latest["memory"],
                    message=latest["message"],
                    fraction=latest["fraction"],
                )
            )
    return {}


def _result(task: Task, end: dict[str, Any], answer_file: Path, log: Path) -> TaskResult:
    """Turn the end of a worker into a result or the error that it stands for."""
    who = f"stage {task.stage}" + (f" of {task.plugin}" if task.plugin else "")
    see = f"its log: {log}"
    memory = end.get("memory", 0)
    if end.get("failure") == "timeout":
        raise errors.StageTimeout(f"{who} took more than {task.limits.seconds:g} s", hint="raise --timeout")
    if end.get("failure") == "out-of-memory":
        raise errors.StageOutOfMemory(
            f"{who} needed more than the {_gib(task.limits.memory_bytes or 0)} it was allowed", hint="raise --memory"
        )
    if not answer_file.exists():
        if end.get("signal") == signal.SIGKILL and end.get("killed_for_memory") is not False:
            raise errors.StageOutOfMemory(
                f"{who} was killed at {_gib(memory)}, most likely by the system for lack of memory", hint=see
            )
        raise errors.ToolFailed(f"{who} ended without an answer ({_how(end)})", hint=see)
    answer = _read(answer_file)
    if not {"outcome", "error", "crash"} & answer.keys():
        raise errors.ToolFailed(f"{who} ended with an answer that cannot be read", hint=see)
    if "error" in answer:
        raise _rebuilt(answer, see)
    if "crash" in answer:
        if task.plugin is None:
            raise RuntimeError(f"{who}: {answer['crash']} ({see})")
        raise errors.ToolFailed(f"{who} failed: {answer['crash']}", hint=see)
    return TaskResult.from_value(
        {
            **answer["outcome"],
            "measurement": Measurement(
                wall_seconds=end["wall"], cpu_seconds=end["cpu"], peak_memory_bytes=memory
            ).model_dump(mode="json"),
            "log": str(log),
        }
    )


def _read(path: Path) -> dict[str, Any]:
    """Read a worker's answer; empty for what is none, since a plugin can write there what it wants."""
    with path.open("rb") as stream:
        data = stream.read(_MAX_ANSWER_BYTES + 1)
    try:
        answer = json.loads(data) if len(data) <= _MAX_ANSWER_BYTES else None
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _rebuilt(answer: dict[str, Any], see: str) -> errors.BalanceError:
    """Return the error that the worker raised."""
    kind = getattr(errors, answer["error"])
    if kind is errors.UnsupportedModel:
        error: errors.BalanceError = kind("", issues=answer["issues"], hint=answer["hint"])
        error.args = (answer["message"],)
        error.message = answer["message"]
        return error
    hint = answer["hint"] or (see if issubclass(kind, errors.StageError) else None)
    rebuilt: errors.BalanceError = kind(answer["message"], hint=hint)
    return rebuilt


def _how(end: dict[str, Any]) -> str:
    if end.get("signal"):
        return f"signal {signal.Signals(end['signal']).name}"
    return f"exit status {end.get('status')}" if end else "its supervisor was killed"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
