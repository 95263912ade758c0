"""What consumer and provider send each other in an audit, beside what they sign."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from balance_core.records import Cid, Digest, Record
from balance_core.service.audit.records import MAX_SAMPLES, Count, Share, SignedAcceptance, SignedReveal


class AskedReveal(Record):
    """The consumer has all answers, and opens his share of the seed; nobody else could."""

    kind: ClassVar[str] = "asked-reveal"
    receipts: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SAMPLES)]
    """The ids of all receipts, in the order of the samples."""
    share: Share


class DrawnJob(Record):
    """How the proof of one drawn answer stands."""

    kind: ClassVar[str] = "drawn-job"
    sample: Count
    job_id: Digest
    state: str
    bundle: Cid | None = None
    reason: str = ""


class AuditState(Record):
    """How an audit stands, as the provider says."""

    kind: ClassVar[str] = "audit-state"
    audit_id: Digest
    accepted: SignedAcceptance
    revealed: SignedReveal | None = None
    drawn: tuple[DrawnJob, ...] = ()
