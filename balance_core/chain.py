"""The records that a chain orders, and the pure reducer that says what they amount to.

Every chain, the embedded ledger and a contract alike, must reach the state that `reduce` reaches. The states are
specified in docs/chain-states.md and never conflated: only `verified` means that the chain itself checked a proof.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from balance_core import canonical
from balance_core.records import Cid, Context, Digest, Label, Name, PublicKey, Record, Registration


class ProofRecord(Record):
    """A proof as a chain orders it: which statement under which registration, and where the bundle lies.

    It is keyed by registration, inputs and context, so that one answer counts once however its proof is encoded.
    """

    kind: ClassVar[str] = "proof-record"
    registration_id: Digest
    context: Context
    inputs_digest: Digest
    statement_digest: Digest
    bundle: Cid

    @property
    def proof_id(self) -> str:
        """The digest that names the proven answer."""
        key = (self.registration_id, self.inputs_digest, self.context)
        return canonical.digest("proof/1", *map(bytes.fromhex, key))


class Attestation(Record):
    """A named validator's word on a proof: it verified it, or it does not verify."""

    kind: ClassVar[str] = "attestation"
    proof_id: Digest
    statement_digest: Digest
    valid: bool
    validator: PublicKey


class Revocation(Record):
    """The provider no longer stands behind a registration."""

    kind: ClassVar[str] = "revocation"
    registration_id: Digest
    reason: Annotated[str, Field(max_length=1000)] = ""


ChainRecord = Registration | ProofRecord | Attestation | Revocation
"""What a chain accepts."""

RECORD_KINDS: dict[str, type[ChainRecord]] = {
    record.kind: record for record in (Registration, ProofRecord, Attestation, Revocation)
}


class ChainRef(Record):
    """Where a record stands on a chain."""

    kind: ClassVar[str] = "chain-ref"
    chain: Name
    entry: Label
    """The chain's own name for the entry (a sequence number, a transaction hash ...)."""


class Finality(StrEnum):
    """How settled an entry is."""

    PENDING = "pending"
    FINAL = "final"
    REVERTED = "reverted"
    UNKNOWN = "unknown"


class ChainEvent(Record):
    """One entry as an observer of the chain sees it; `reverted` takes an earlier one back."""

    kind: ClassVar[str] = "chain-event"
    ref: ChainRef
    cursor: Label
    """Hand it to `events` to go on behind this event."""
    type: Literal["registered", "revoked", "submitted", "attested", "verified", "reverted"]
    signer: Label
    """Who put it there, as the chain authenticates it."""
    record_kind: Name
    record: dict[str, object]
