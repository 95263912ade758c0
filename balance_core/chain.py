"""The records that a chain orders, as a contract of every chain; `chain_state` says what they amount to."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Standing(StrEnum):
    """What a chain says of a registration."""

    PROPOSED = "proposed"
    """The owner of the line hands it to another key, which has not accepted yet."""
    ACTIVE = "active"
    """The newest version of its line."""
    SUPERSEDED = "superseded"
    """A newer version replaced it: its old proofs stand, and it takes no new ones."""
    REVOKED = "revoked"
    """The provider no longer stands behind it."""


class Voucher(Record):
    """Who vouches for a registration: a chain's entry, or the caller who named it (`chain` is None)."""

    kind: ClassVar[str] = "voucher"
    registration_id: Digest
    chain: Name | None = None
    network: Label | None = None
    """Which chain of that kind: the ledger's id, or a chain's number and contract."""
    entry: Label | None = None
    standing: Standing | None = None
    """None where the source does not tell."""
    successor: Digest | None = None
    reason: str = ""
    """The provider's words, where it revoked the registration."""

    def __str__(self) -> str:
        if self.chain is None:
            return "the registration that the caller gave"
        standing = f", {self.standing}" if self.standing not in (None, Standing.ACTIVE) else ""
        reason = f": {self.reason}" if self.reason else ""
        network = f" {self.network}" if self.network else ""
        return f"{self.chain}{network} entry {self.entry}{standing}{reason}"


class Vouches(ABC):
    """A chain that tells how a registration stands, also when it is superseded or revoked."""

    @abstractmethod
    def voucher(self, registration_id: str) -> Voucher:
        """Return where the registration stands and how; raises Rejected for an unknown one."""


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
    type: Literal["proposed", "registered", "revoked", "submitted", "attested", "verified", "reverted"]
    signer: Label
    """Who put it there, as the chain authenticates it."""
    record_kind: Name
    record: dict[str, object]
