"""The records of a run: what observers are told, and the receipt that is kept of it."""

from __future__ import annotations

from typing import Any, ClassVar

from balance_core.chain import ChainRef
from balance_core.records import (
    Cid,
    Digest,
    Fidelity,
    Label,
    Name,
    Record,
    Registration,
    Statement,
    Tensor,
    TensorSpec,
)
from balance_core.stages import Capabilities, Estimate, Limits, Measurement, SrsUse


class ModelSummary(Record):
    """What the pipeline knows of a model without opening it."""

    kind: ClassVar[str] = "model-summary"
    name: Name
    model_id: Digest
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: tuple[str, ...]
    model: Cid
    """The normalised model, as content of the workspace."""
    rewrite_difference: float
    """Largest absolute difference between the original's and the normalised model's float outputs on the samples."""
    notes: tuple[str, ...] = ()


class RunStart(Record):
    """A run begins."""

    kind: ClassVar[str] = "run-start"
    run_id: Name
    source: str
    backend: Name
    settings: dict[str, Any]
    limits: Limits


class StageStart(Record):
    """A stage begins."""

    kind: ClassVar[str] = "stage-start"
    run_id: Name
    stage: Name


class StageReport(Record):
    """A stage that ended well."""

    kind: ClassVar[str] = "stage-report"
    run_id: Name
    stage: Name
    cached: bool = False
    measurement: Measurement
    """Of a cached stage: what it cost when it was run."""


class RunFailure(Record):
    """A run that did not end well."""

    kind: ClassVar[str] = "run-failure"
    run_id: Name
    error: Label
    message: str


class Preparation(Record):
    """A model made ready for proving with one backend: everything that `prove` needs, by content address."""

    kind: ClassVar[str] = "preparation"
    model: ModelSummary
    backend: Name
    settings: dict[str, Any]
    estimate: Estimate
    circuit: Cid
    opening: Cid | None = None
    commitment: Cid | None = None
    srs: tuple[SrsUse, ...] = ()
    measurements: dict[Name, Measurement]
    """What check, setup and commit cost."""


class Execution(Record):
    """The answers that proofs would state, one tuple of outputs for each input, and how well they fit."""

    kind: ClassVar[str] = "execution"
    answers: tuple[tuple[Tensor, ...], ...]
    fidelity: Fidelity


class RunReceipt(Record):
    """What is kept of a run. The statement is what verification returned; the rest is the provider's own account."""

    kind: ClassVar[str] = "run-receipt"
    run_id: Name
    created: str
    """UTC, as 2026-01-31T12:00:00Z."""
    model: ModelSummary
    backend: Name
    settings: dict[str, Any]
    registration: Registration
    statement: Statement
    sound: bool
    """Whether the statement is proven; a mock and the reference backend prove nothing."""
    promises: Capabilities
    """What the backend promises under the settings of this run."""
    fidelity: Fidelity
    facts: dict[str, int | float | str | bool]
    """What the backend tells about its circuit."""
    stages: tuple[StageReport, ...]
    total_seconds: float
    bundle: Cid
    storage: Name | None = None
    chain_refs: tuple[ChainRef, ...] = ()
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    """What a reader must know, one plain line each."""
