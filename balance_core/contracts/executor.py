"""Where stages run."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from balance_core.contracts.plugin import Plugin

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from balance_core.stages import Progress, Task, TaskResult


class Executor(Plugin):
    """Runs stages (entry points: balance.executors); `local` runs them on this machine."""

    def prepare(self, stage: str, plugin: str | None) -> None:
        """Take a hint that this stage comes soon; an executor may make a process ready for it."""
        del stage, plugin

    @abstractmethod
    def submit(self, task: Task, *, watch: Callable[[Progress], None] | None = None) -> Future[TaskResult]:
        """Start a stage; the future raises the stage's own typed error, and `cancel` stops its process tree."""

    @abstractmethod
    def close(self) -> None:
        """Stop everything that still runs and wait until it has ended."""
