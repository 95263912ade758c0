"""Runs a cell's stages: within their limits, measured, and with an end that has a name whatever happens."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from balance_core import errors, measure, registry
from balance_core.compare.machine import load_average
from balance_core.compare.results import Sample, StageRecord, Status
from balance_core.stages import Limits, NodeProblem, Task
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from balance_core.stages import Progress, TaskResult

START_SECONDS = 120.0
"""How long a worker may take to import a plugin, before its own time limit begins to count."""
_STATUS = (
    (errors.UnsupportedModel, Status.UNSUPPORTED),
    (errors.StageTimeout, Status.TIMEOUT),
    (errors.StageOutOfMemory, Status.OUT_OF_MEMORY),
    (errors.InvalidProof, Status.REFUSED),
)


class Stopped(Exception):
    """A stage did not end well; it never leaves the harness."""

    def __init__(
        self, status: Status, reason: str, *, seconds: float | None = None, problems: tuple[NodeProblem, ...] = ()
    ) -> None:
        super().__init__(reason)
        self.status, self.reason, self.seconds, self.problems = status, reason, seconds, problems


@dataclass
class Course:
    """Runs the stages of one cell in worker processes of their own, and keeps what each of them cost."""

    backend: str
    settings: dict[str, Any]
    limits: Limits
    """`memory_bytes` None: what the machine has free when a stage starts."""
    folder: Path
    """For the workspaces of this cell."""
    strings: Path
    """The store of reference strings that all cells share."""
    watch: Callable[[Progress], None] | None = None
    stages: dict[str, StageRecord] = field(default_factory=dict)
    at: str | None = None
    """The stage that runs, or whose result is looked at."""
    _workspaces: int = 0

    def run(
        self,
        stage: str,
        workspace: Workspace,
        *,
        repeat: int = 0,
        blobs: dict[str, str] | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> TaskResult:
        """Run a stage and keep what it cost; raises Stopped, and nothing else, after keeping how it ended."""
        self.at = stage
        before = self.stages.get(stage, StageRecord())
        try:
            result, sample = self.measured(stage, workspace, repeat=repeat, blobs=blobs, arguments=arguments)
        except Stopped as stopped:
            ended = {"status": stopped.status, "reason": stopped.reason, "failed_after_seconds": stopped.seconds}
            self.stages[stage] = before.model_copy(update=ended)
            raise
        self.stages[stage] = before.model_copy(update={"samples": (*before.samples, sample)})
        return result

    def measured(
        self,
        stage: str,
        workspace: Workspace,
        *,
        repeat: int = 0,
        blobs: dict[str, str] | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> tuple[TaskResult, Sample]:
        """Run a stage and return its result with what it cost, keeping neither; raises Stopped, and nothing else."""
        task = Task(
            stage=stage,
            plugin=self.backend,
            settings=self.settings,
            arguments=arguments or {},
            blobs=blobs or {},
            limits=self.limits.model_copy(update={"memory_bytes": self.memory_limit()}),
        )
        started, load, begun = now(), load_average(), time.monotonic()
        try:
            result = self._submit(task, workspace)
        except Exception as error:
            # Whatever a plugin has its process say is an end of its cell, and of nothing else.
            raise _stopped(error, time.monotonic() - begun) from error
        cost = result.measurement
        return result, Sample(
            repeat=repeat,
            started=started,
            load_average=load,
            wall_seconds=cost.wall_seconds,
            cpu_seconds=cost.cpu_seconds,
            peak_memory_bytes=cost.peak_memory_bytes,
        )

    def samples(self, stage: str) -> tuple[Sample, ...]:
        """Return what was measured of a stage so far."""
        found = self.stages.get(stage)
        return found.samples if found else ()

    def forget_last(self, stage: str) -> Sample:
        """Take the last sample of a stage back, and return it."""
        record = self.stages[stage]
        self.stages[stage] = record.model_copy(update={"samples": record.samples[:-1]})
        return record.samples[-1]

    def workspace(self, *, strings: bool) -> Workspace:
        """Make an empty workspace, with the shared store of reference strings or without any."""
        self._workspaces += 1
        root = self.folder / str(self._workspaces)
        root.mkdir(parents=True)
        if strings:
            (root / "srs").symlink_to(self.strings, target_is_directory=True)
        return Workspace(root)

    def memory_limit(self) -> int:
        """Return how many bytes a stage that starts now may use."""
        return self.limits.memory_bytes or max(measure.available_memory(), 1)

    def _submit(self, task: Task, workspace: Workspace) -> TaskResult:
        """Have the stage run; a worker that never begins, or whose reports are broken, is ended with its tree."""
        with closing(registry.create("executors", "local", {"folder": workspace.root})) as executor:
            future = executor.submit(task, watch=self.watch)
            seconds = task.limits.seconds
            try:
                result: TaskResult = future.result(None if seconds is None else seconds + START_SECONDS)
            except FutureTimeoutError as error:
                future.cancel()
                raise errors.StageTimeout(f"stage {task.stage} of {task.plugin} did not begin in time") from error
            except BaseException:
                future.cancel()
                raise
            return result


def _stopped(error: Exception, seconds: float) -> Stopped:
    if isinstance(error, errors.BalanceError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), Status.FAILED)
        problems: tuple[NodeProblem, ...] = ()
        if isinstance(error, errors.UnsupportedModel):
            problems = tuple(NodeProblem(**issue._asdict()) for issue in error.issues)
        return Stopped(status, _line(error.message), seconds=seconds, problems=problems)
    return Stopped(Status.FAILED, _line(f"{type(error).__name__}: {error}"), seconds=seconds)


def _line(text: str) -> str:
    """Return a stranger's words on one line."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text[:4000])
    return " ".join(shown.split())[:2000] or "it said nothing"


def now() -> str:
    """Return the time as results have it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def copied(source: Workspace, target: Workspace, address: str) -> str:
    """Have content of one workspace in another too."""
    with target.scratch() as folder:
        path = folder / "blob"
        shutil.copyfile(source.blob(address), path)
        return target.publish(path)
