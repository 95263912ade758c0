"""What is ordered of the queue, and how it says that a job stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from balance_core.chain import ChainRef, ProofRecord
from balance_core.errors import Rejected
from balance_core.records import Cid, Digest, Record
from balance_core.service.receipts import Time
from balance_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

Count = Annotated[int, Field(ge=0)]


class JobState(StrEnum):
    """How a job stands; the last four are final."""

    QUEUED = "queued"
    PROVING = "proving"
    PUBLISHING = "publishing"
    """Proven, verified and stored; the chain has still to order it."""
    PUBLISHED = "published"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its deadline passed before it was proven."""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self not in {JobState.QUEUED, JobState.PROVING, JobState.PUBLISHING}


@dataclass(frozen=True)
class Terms:
    """On what terms a job is proven."""

    priority: int = 0
    """How many minutes it goes ahead of others (behind them, below zero); so nothing waits for ever."""
    deadline: float | None = None
    """Seconds since 1970; a job that is not proven by then is dropped."""
    memory_bytes: int | None = None
    """What proving is expected to need, as the backend's `check` estimates it; None where it cannot tell."""
    seconds: float | None = None
    """The longest time that one proof may take; None for the workers' own limit."""
    attempts: int = 3
    """How often proving may fail before the job does."""


class AnsweredBefore(Rejected):
    """The request has a receipt already, with the same promise: `receipt_id` names it."""

    def __init__(self, receipt_id: str) -> None:
        super().__init__("this request was answered before", hint="the receipt that it got stands")
        self.receipt_id = receipt_id


@dataclass(frozen=True)
class Order:
    """One request to prove: its arrays, of exactly the model's input shapes, and the terms."""

    inputs: Mapping[str, np.ndarray]
    terms: Terms = field(default_factory=Terms)
    blind: bytes | None = field(default=None, repr=False)
    """32 secret bytes that hide private inputs in the proof, so that whoever drew them can open it."""


class QueueLimits(Settings):
    """How much may wait and how long things are kept; there is a bound for everything that grows."""

    max_jobs: int = Field(10_000, ge=1, description="Jobs that may wait or run before the queue says Busy.")
    max_input_bytes: int = Field(2**30, ge=1, description="Bytes of inputs kept, for jobs and for proofs on demand.")
    memory_bytes: int | None = Field(None, ge=1, description="Largest memory that a proof may need; None: no limit.")
    unknown_memory_bytes: int = Field(
        512 * 2**20, ge=1, description="What a proof is taken to need whose backend cannot tell."
    )
    receipt_seconds: float = Field(400 * 86400.0, gt=0, description="How long receipts are kept.")
    job_seconds: float = Field(30 * 86400.0, gt=0, description="How long finished jobs and their events are kept.")
    input_seconds: float = Field(
        86400.0, gt=0, description="How long inputs are kept for a proof that nobody has asked for yet."
    )
    max_events: int = Field(200, ge=10, description="Events kept of one job.")


class Job(Record):
    """A job as others see it."""

    kind: ClassVar[str] = "proof-job"
    job_id: Digest
    registration_id: Digest
    receipt_id: Digest
    """The receipt of the answer that is proven."""
    state: JobState
    accepted: Time
    finished: Time | None = None
    deadline: Time | None = None
    failures: Count = 0
    """How often proving was tried and failed."""
    bundle: Cid | None = None
    proof: ProofRecord | None = None
    chain_ref: ChainRef | None = None
    reason: str = ""
    """Why it failed, or what it waits for after a failure."""


class Event(Record):
    """One thing that happened to a job; numbers rise, and have gaps."""

    kind: ClassVar[str] = "job-event"
    number: Count
    job_id: Digest
    time: Time
    state: JobState
    text: str = ""
    fraction: Annotated[float, Field(ge=0, le=1)] | None = None
