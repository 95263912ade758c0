"""What both sides sign in an audit, in the order in which they sign it.

plan          consumer   what is audited, on which test set (its digest), under which head, and a commitment to the
                         consumer's share of the seed
acceptance    provider   this plan, and a commitment to the provider's share; its digest is the audit's id, which
                         every request's nonce follows from: no answer is older than both commitments
receipts      provider   one for each sample
reveal        provider   the digest of all receipts, and both shares; the draw follows
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator

from balance_core import canonical, signing
from balance_core.builtin.ledger_entry import SignedHead
from balance_core.chain import Voucher
from balance_core.errors import ConfigError, InvalidProof
from balance_core.records import Context, Digest, PublicKey, Record, Registration, SetupTrust, Signature
from balance_core.service.audit.draw import share_commitment
from balance_core.service.audit.metrics import LabelValue, Metric
from balance_core.service.receipts import Time

if TYPE_CHECKING:
    from balance_core.signing import SigningKey

MAX_SAMPLES = 100_000
"""Largest test set of one audit."""

Count = Annotated[int, Field(ge=0, le=MAX_SAMPLES)]
Confidence = Annotated[float, Field(gt=0.5, lt=1)]
Share = Context
"""32 random bytes as hex."""


class LabelledSet(Record):
    """A test set as its digests: what was asked, in order, and what the right answers are."""

    kind: ClassVar[str] = "labelled-set"
    salt: Context
    """Random bytes, so that the digest tells nothing of a set that can be guessed."""
    inputs: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_SAMPLES)]
    """`request_sha256` of each sample."""
    labels: tuple[LabelValue, ...]

    @model_validator(mode="after")
    def _one_label_each(self) -> Self:
        if len(self.inputs) != len(self.labels):
            raise ValueError(f"{len(self.inputs)} inputs and {len(self.labels)} labels")
        return self


class AuditPlan(Record):
    """What a consumer will ask, fixed before the provider sees any of it."""

    kind: ClassVar[str] = "audit-plan"
    registration_id: Digest
    provider: PublicKey
    consumer: PublicKey
    voucher: Voucher | None = None
    """What the chain said of the registration."""
    head: SignedHead | None = None
    """The chain's head at that moment, countersigned by the consumer; None for a chain that has none to keep."""
    test_set: Digest
    """The digest of the `LabelledSet`."""
    samples: Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
    drawn: Annotated[int, Field(ge=1, le=MAX_SAMPLES)]
    """How many of the answers must be proven."""
    metric: Metric
    confidence: Confidence = 0.95
    commitment: Digest
    """To the consumer's share of the seed: `share_commitment`."""
    time: Time

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.drawn > self.samples:
            raise ValueError(f"{self.drawn} of {self.samples} samples cannot be drawn")
        if self.voucher is not None and self.voucher.registration_id != self.registration_id:
            raise ValueError("the chain's word is about another registration")
        if self.head is not None and (self.voucher is None or self.head.signer != self.consumer):
            raise ValueError("the head is not the consumer's")
        return self


class AuditAcceptance(Record):
    """The provider answers this plan, and has drawn its own share of the seed."""

    kind: ClassVar[str] = "audit-acceptance"
    plan: Digest
    provider: PublicKey
    commitment: Digest
    time: Time

    @property
    def audit_id(self) -> str:
        """The digest that names the audit, and that all its requests' nonces follow from."""
        return self.digest


class AuditReveal(Record):
    """The end of all answers: their digest, and both shares of the seed."""

    kind: ClassVar[str] = "audit-reveal"
    audit_id: Digest
    answers: Digest
    """`answers_digest` of the receipts' ids."""
    consumer_share: Share
    provider_share: Share
    time: Time


class SignedPlan(Record):
    """A plan with the signature of the consumer that it names."""

    kind: ClassVar[str] = "signed-audit-plan"
    plan: AuditPlan
    signature: Signature

    @classmethod
    def sign(cls, plan: AuditPlan, key: SigningKey) -> Self:
        """Sign as the consumer; raises ConfigError if the key is not the one that the plan names."""
        return cls(plan=plan, signature=_sign(key, plan.consumer, plan))

    def check(self) -> AuditPlan:
        """Return the plan if its consumer signed it, and countersigned the head that it names; InvalidProof."""
        signing.verify(self.plan.consumer, self.signature, self.plan.kind, self.plan)
        head, voucher = self.plan.head, self.plan.voucher
        if head is not None and voucher is not None:
            found = head.check()
            if voucher.network != found.ledger_id:
                raise InvalidProof("the countersigned head is of another ledger than the registration's")
            if not (voucher.entry or "").isdecimal() or int(voucher.entry or 0) > found.length:
                raise InvalidProof("the countersigned head is older than the registration")
        return self.plan


class SignedAcceptance(Record):
    """An acceptance with the provider's signature."""

    kind: ClassVar[str] = "signed-audit-acceptance"
    acceptance: AuditAcceptance
    signature: Signature

    @classmethod
    def sign(cls, acceptance: AuditAcceptance, key: SigningKey) -> Self:
        """Sign as the provider."""
        return cls(acceptance=acceptance, signature=_sign(key, acceptance.provider, acceptance))

    def check(self, plan: AuditPlan) -> AuditAcceptance:
        """Return the acceptance if the plan's provider gave it to this plan; raises InvalidProof."""
        signing.verify(plan.provider, self.signature, self.acceptance.kind, self.acceptance)
        if self.acceptance.provider != plan.provider or self.acceptance.plan != plan.digest:
            raise InvalidProof("the provider accepted another plan")
        return self.acceptance


class SignedReveal(Record):
    """A reveal with the provider's signature."""

    kind: ClassVar[str] = "signed-audit-reveal"
    reveal: AuditReveal
    signature: Signature

    @classmethod
    def sign(cls, reveal: AuditReveal, key: SigningKey) -> Self:
        """Sign as the provider."""
        return cls(reveal=reveal, signature=_sign(key, key.public, reveal))

    def check(self, plan: AuditPlan, acceptance: AuditAcceptance, answers: str) -> AuditReveal:
        """Return the reveal if it is of this audit and these answers, with the shares committed to; InvalidProof."""
        reveal = self.reveal
        signing.verify(plan.provider, self.signature, reveal.kind, reveal)
        if reveal.audit_id != acceptance.audit_id:
            raise InvalidProof("the revealed seed is of another audit")
        if reveal.answers != answers:
            raise InvalidProof("the seed was revealed for other answers than these")
        if share_commitment("consumer", reveal.consumer_share) != plan.commitment:
            raise InvalidProof("the consumer's share of the seed is not the one that he committed to")
        if share_commitment("provider", reveal.provider_share) != acceptance.commitment:
            raise InvalidProof("the provider's share of the seed is not the one that it committed to")
        return reveal


def _sign(key: SigningKey, named: str, record: Record) -> str:
    if key.public != named:
        raise ConfigError(f"the {record.kind} names the key {named} and not {key.public}")
    return signing.sign(key, record.kind, record)


def nonce_of(audit_id: str, sample: int) -> str:
    """Return the nonce of the request for one sample, counted from 0."""
    return canonical.digest("audit-nonce/1", bytes.fromhex(audit_id), sample.to_bytes(8, "big"))


def blind_of(salt: str, sample: int) -> str:
    """Return what hides a sample's input in its proof, where the registration hides inputs.

    The consumer draws it, with the set's salt; whoever has the audit's file, and so the salt, can open these proofs.
    """
    return canonical.digest("audit-blind/1", bytes.fromhex(salt), sample.to_bytes(8, "big"))


class Interval(Record):
    """Between two numbers, both of them included."""

    kind: ClassVar[str] = "interval"
    low: float
    high: float


class Odds(Record):
    """How likely a provider would have been caught who falsified so many of the answers."""

    kind: ClassVar[str] = "odds"
    fraction: float
    false: Count
    caught: float


class ClassRow(Record):
    """One class of the test set: how many samples, how many of their answers are right, how many proven."""

    kind: ClassVar[str] = "class-row"
    label: str
    samples: Count
    right: Count
    """Of all answers, as the receipts have them."""
    proven: Count
    proven_right: Count


class AuditReport(Record):
    """What an audit's files show; whoever has them computes the same."""

    kind: ClassVar[str] = "audit-report"
    audit_id: Digest
    registration: Registration
    registration_id: Digest
    consumer: PublicKey
    test_set: Digest
    metric: Metric
    confidence: Confidence
    sound: bool
    setup_trust: SetupTrust
    samples: Count
    right: Count
    """How many of the answers are right, as the provider signed them."""
    drawn: Count
    proven: Count
    """How many of the drawn answers are proven."""
    proven_right: Count
    unproven: tuple[Count, ...]
    """Drawn samples whose answer the provider did not prove."""
    contradicted: tuple[Count, ...]
    """Drawn samples of which a proof shows another answer than the provider signed."""
    hidden: bool
    """Whether statements hide their inputs, so that nothing shows that they are the test set's."""
    refused: bool
    """Whether the provider did not reveal its share of the seed, so that nothing could be drawn."""
    of_set: Interval | None
    """The model's accuracy on this test set, exact where all answers are proven; None if the provider was caught."""
    of_population: Interval | None
    """Its accuracy on whatever the test set was drawn from at random (Clopper and Pearson)."""
    false_at_most: Count | None
    """How many of all answers can be false without one having been drawn, at the confidence."""
    odds: tuple[Odds, ...]
    classes: tuple[ClassRow, ...]

    @property
    def caught(self) -> bool:
        """Whether the provider cheated, or would not prove what it had signed."""
        return bool(self.unproven or self.contradicted or self.refused)
