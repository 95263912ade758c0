"""The records that a chain orders, as a contract of every chain; `chain_state` says what they amount to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from balance_core import canonical
from balance_core.records import Cid, Context, Digest, Label, Name, PublicKey, Record, Registration

MAX_JUDGES = 64
MAX_WINDOW_SECONDS = 90 * 24 * 3600
"""Longest time that a bond can be held up for by either window."""

Amount = Annotated[int, Field(ge=1, lt=2**128)]
"""Money in the chain's smallest unit. On a chain without money it is a number: it says who owes what to whom."""
Window = Annotated[int, Field(ge=1, le=MAX_WINDOW_SECONDS)]


def answer_id(registration_id: str, inputs_digest: str, context: str) -> str:
    """Return the digest that names an answer, however it is proven and whether it is."""
    return canonical.digest("proof/1", *map(bytes.fromhex, (registration_id, inputs_digest, context)))


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
        return answer_id(self.registration_id, self.inputs_digest, self.context)


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


class Verification(Record):
    """The chain itself checked a submitted proof; only a chain can say so, and only of what it has just done."""

    kind: ClassVar[str] = "verification"
    proof_id: Digest
    statement_digest: Digest


class Claim(Record):
    """An answer that its provider stands behind with a bond instead of a proof, until somebody demands the proof."""

    kind: ClassVar[str] = "claim"
    registration_id: Digest
    context: Context
    inputs_digest: Digest
    statement_digest: Digest
    """It covers the outputs, too."""
    content: Cid
    """Where the claimed statement lies, for whoever wants to compute the answer again."""
    bond: Amount
    """What the provider loses if the claim is challenged and not answered."""
    challenge_bond: Amount
    """What a challenger loses to the provider if the claim is answered; no more than the bond."""
    challenge_seconds: Window
    """How long the claim can be challenged."""
    answer_seconds: Window
    """How long a challenge can be answered."""
    judges: Annotated[tuple[PublicKey, ...], Field(max_length=MAX_JUDGES)] = ()
    """Whose attestations stand for a check on a chain that checks no proofs; who relies on the claim trusts them."""
    quorum: Annotated[int, Field(ge=0, le=MAX_JUDGES)] = 0
    """How many judges have to say valid."""

    @property
    def proof_id(self) -> str:
        """The digest that names the claimed answer, as it would name the proven one."""
        return answer_id(self.registration_id, self.inputs_digest, self.context)

    @model_validator(mode="after")
    def _terms_fit(self) -> Self:
        if self.challenge_bond > self.bond:
            raise ValueError("a challenger cannot be asked for more than there is to win")
        if len(set(self.judges)) != len(self.judges):
            raise ValueError("a judge is named twice")
        if not (self.quorum >= 1 if self.judges else self.quorum == 0) or self.quorum > len(self.judges):
            raise ValueError(f"a quorum of {self.quorum} does not fit {len(self.judges)} judges")
        return self


class Challenge(Record):
    """Somebody demands the proof of a claim, and puts the claim's `challenge_bond` at stake."""

    kind: ClassVar[str] = "challenge"
    proof_id: Digest
    challenger: PublicKey


class Answer(Record):
    """The challenged claim has been proven on this chain."""

    kind: ClassVar[str] = "answer"
    proof_id: Digest


class Settlement(Record):
    """A claim's deadline has passed: it is final, or its provider has lost the bond."""

    kind: ClassVar[str] = "settlement"
    proof_id: Digest


class Withdrawal(Record):
    """An account takes what it is owed."""

    kind: ClassVar[str] = "withdrawal"
    account: PublicKey
    number: Annotated[int, Field(ge=1)]
    """Counted from 1 for each account, so that no two are the same record."""
    amount: Amount


ClaimRecord = Claim | Challenge | Answer | Settlement | Withdrawal
"""What a chain that `SupportsClaims` accepts as well."""

ChainRecord = Registration | ProofRecord | Attestation | Revocation | Verification | ClaimRecord
"""What a chain accepts."""

RECORD_KINDS: dict[str, type[ChainRecord]] = {
    record.kind: record
    for record in (
        Registration,
        ProofRecord,
        Attestation,
        Revocation,
        Verification,
        Claim,
        Challenge,
        Answer,
        Settlement,
        Withdrawal,
    )
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
    type: Literal[
        "proposed",
        "registered",
        "revoked",
        "submitted",
        "attested",
        "verified",
        "claimed",
        "challenged",
        "answered",
        "settled",
        "withdrawn",
        "reverted",
    ]
    signer: Label
    """Who put it there, as the chain authenticates it."""
    record_kind: Name
    record: dict[str, object]
    time: Annotated[int, Field(ge=0)] | None = None
    """When the chain ordered it, in seconds since 1970, where that matters to what it means."""
