"""The event log: every moment of a run as one JSON line in the run's folder, written as it happens."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from balance_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    from balance_core.records import Record
    from balance_core.runs import RunFailure, RunReceipt, RunStart, StageReport, StageStart


class EventLog:
    """An observer that appends to a file; a line is the time, the event's name, and the record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @hookimpl
    def run_started(self, run: RunStart) -> None:
        """Note it."""
        self._append("run_started", run)

    @hookimpl
    def stage_started(self, stage: StageStart) -> None:
        """Note it."""
        self._append("stage_started", stage)

    @hookimpl
    def stage_finished(self, stage: StageReport) -> None:
        """Note it."""
        self._append("stage_finished", stage)

    @hookimpl
    def run_finished(self, receipt: RunReceipt) -> None:
        """Note it; the receipt itself lies beside the log."""
        self._append("run_finished", receipt.registration)

    @hookimpl
    def run_failed(self, failure: RunFailure) -> None:
        """Note it."""
        self._append("run_failed", failure)

    def _append(self, event: str, record: Record) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = {"time": round(time.time(), 3), "event": event, "record": record.model_dump(mode="json")}
        with self._path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
