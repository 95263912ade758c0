"""The five moments of a run that observers can be told of (entry points: balance.observers).

Observers get frozen records and change nothing; an exception in one is logged and the run goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from balance_core.runs import RunFailure, RunReceipt, RunStart, StageReport, StageStart

hookspec = pluggy.HookspecMarker("balance")
hookimpl = pluggy.HookimplMarker("balance")


@hookspec
def run_started(run: RunStart) -> None:
    """A run begins: its id, model, backend and folder are known."""


@hookspec
def stage_started(stage: StageStart) -> None:
    """A stage of a run is about to start."""


@hookspec
def stage_finished(stage: StageReport) -> None:
    """A stage of a run ended well: what it cost, and whether it came from the cache."""


@hookspec
def run_finished(receipt: RunReceipt) -> None:
    """A run ended well; the receipt is what is kept of it."""


@hookspec
def run_failed(failure: RunFailure) -> None:
    """A run ended with an error, or was interrupted."""
