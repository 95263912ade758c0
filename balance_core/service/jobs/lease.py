"""A job in a worker's hands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from balance_core.errors import StageError

if TYPE_CHECKING:
    from balance_core.chain import ChainRef, ProofRecord
    from balance_core.service.jobs.leases import Leasing
    from balance_core.service.receipts import SignedReceipt


class LeaseLost(StageError):
    """The job was cancelled, or its lease ran out and another worker has it; nothing was changed."""


class Memory(NamedTuple):
    """Bytes that a worker has for proofs: what is free now, and what would be if nothing ran."""

    free: int
    total: int


@dataclass
class Lease:
    """A job in a worker's hands until it is done, failed, released or lost."""

    job_id: str
    registration_id: str
    context: str
    receipt: SignedReceipt
    inputs: bytes = field(repr=False)
    """The request as `arrays.pack` has it; empty once it was proven."""
    blind: bytes | None = field(repr=False)
    """What hides the inputs in the proof, where the client drew it."""
    memory_bytes: int
    rank: int
    """Its place in the queue, in milliseconds: lower ones come first."""
    seconds: float | None
    token: str = field(repr=False)
    bundle: str | None
    """The bundle that an earlier worker stored; only the chain has still to be told."""
    proof: ProofRecord | None
    leasing: Leasing = field(repr=False)
    lost: bool = False
    """Set by `renew`: whoever works on it stops."""

    def renew(self, seconds: float) -> bool:
        """Hold the job for that long from now; False if it is not ours any more."""
        return self.job_id in self.leasing.renew([self], seconds)

    def overtaken(self, memory_bytes: int) -> bool:
        """Whether a job waits that goes ahead of this one by its priority, and needs no more memory."""
        return self.leasing.overtaken(self, memory_bytes)

    def progress(self, text: str, fraction: float | None = None) -> None:
        """Tell those who follow the job how it stands."""
        self.leasing.progress(self, text, fraction)

    def proven(self, bundle: str, proof: ProofRecord) -> None:
        """Write down that a verified bundle is stored, and erase the inputs; raises LeaseLost."""
        self.leasing.proven(self, bundle, proof)

    def done(self, chain_ref: ChainRef | None) -> None:
        """Write down where the proof is published; raises LeaseLost."""
        self.leasing.done(self, chain_ref)

    def failed(self, reason: str, *, retry: bool = True, counted: bool = True, memory_bytes: int = 0) -> None:
        """Give the job back after a failure; uncounted ones (a store or a chain that is away) are always retried.

        `memory_bytes` is what the next attempt needs at least.
        """
        self.leasing.failed(self, reason, retry=retry, counted=counted, memory_bytes=memory_bytes)

    def release(self) -> None:
        """Give the job back untouched."""
        self.leasing.release([self])
