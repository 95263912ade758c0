"""The consumer's side of one audit, without the network: what is sent, and what is taken from the answers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from balance_core.errors import ConfigError, InvalidProof
from balance_core.service.audit.draw import answers_digest, draw, seed_of, share_commitment
from balance_core.service.audit.messages import AskedReveal
from balance_core.service.audit.metrics import Metric
from balance_core.service.audit.records import (
    MAX_SAMPLES,
    AuditPlan,
    LabelledSet,
    SignedPlan,
    blind_of,
    nonce_of,
)
from balance_core.service.client.asking import Question
from balance_core.service.receipts import now, request_sha256

if TYPE_CHECKING:
    from balance_core.contracts import Batch
    from balance_core.service.audit.records import (
        AuditAcceptance,
        SignedAcceptance,
        SignedReveal,
    )
    from balance_core.service.client.asking import Answer
    from balance_core.service.client.book import Pin
    from balance_core.service.receipts import ProofMode, SignedReceipt
    from balance_core.signing import SigningKey


@dataclass
class Auditor:
    """A plan with what only its consumer knows, and what the provider has signed so far."""

    pin: Pin
    plan: SignedPlan
    test_set: LabelledSet
    inputs: tuple[dict[str, np.ndarray], ...] = field(repr=False)
    share: str = field(repr=False)
    private: bool = False
    """Whether proofs are to hide their inputs."""
    accepted: SignedAcceptance | None = None
    receipts: dict[int, SignedReceipt] = field(default_factory=dict, repr=False)
    revealed: SignedReveal | None = None
    _receipt_ids: dict[int, str] = field(default_factory=dict, repr=False)

    @classmethod
    def prepare(
        cls,
        pin: Pin,
        key: SigningKey,
        inputs: Batch,
        labels: Any,
        *,
        drawn: int | None = None,
        metric: Metric | None = None,
        confidence: float = 0.95,
        private: bool = False,
    ) -> Self:
        """Fix the test set under the pinned registration; `drawn` answers must be proven, by default all.

        `inputs` is a batch of the model's own shapes and types, `labels` holds a row for each sample. `private` says
        that the registration hides inputs.
        """
        count = len(next(iter(inputs.values())))
        values = np.asarray(labels)
        if values.dtype.kind not in "biuf" or values.shape[:1] != (count,):
            raise ConfigError(
                f"there are {count} samples, and labels of shape {values.shape}",
                hint="give one label for each sample",
            )
        if count > MAX_SAMPLES:
            raise ConfigError(f"an audit has at most {MAX_SAMPLES} samples, not {count}", hint="audit a part of them")
        if not np.isfinite(values).all():
            raise ConfigError("the labels hold NaN or infinity", hint="leave such samples out")
        samples = tuple({name: array[number] for name, array in inputs.items()} for number in range(count))
        rows = values.reshape(count, -1).astype(np.float64).tolist()
        share = secrets.token_hex(32)
        test_set = LabelledSet(
            salt=secrets.token_hex(32),
            inputs=tuple(request_sha256(sample) for sample in samples),
            labels=tuple(tuple(row) for row in rows),
        )
        plan = AuditPlan(
            registration_id=pin.registration.registration_id,
            provider=pin.registration.provider,
            consumer=key.public,
            voucher=pin.voucher,
            head=pin.head,
            test_set=test_set.digest,
            samples=count,
            drawn=_drawn(drawn, count),
            metric=metric or Metric(name="top1"),
            confidence=confidence,
            commitment=share_commitment("consumer", share),
            time=now(),
        )
        return cls(pin, SignedPlan.sign(plan, key), test_set, samples, share, private)

    @property
    def audit_id(self) -> str:
        """The digest that names the audit, once the provider has accepted it."""
        return self._acceptance().audit_id

    @property
    def promised(self) -> ProofMode:
        """Which proof is asked for with each answer: at once where all will be proven, so that none waits."""
        return "later" if self.plan.plan.drawn == self.plan.plan.samples else "none"

    def accept(self, signed: SignedAcceptance) -> None:
        """Take the provider's acceptance; raises InvalidProof for one of another plan, or by anybody else."""
        signed.check(self.plan.plan)
        self.accepted = signed

    def question(self, sample: int) -> Question:
        """Return the request for one sample; the samples are shown to nobody before the plan was accepted."""
        return Question(
            self.inputs[sample],
            self.pin.registration,
            self.promised,
            private=self.private,
            nonce=nonce_of(self.audit_id, sample),
            blind=blind_of(self.test_set.salt, sample),
            asked=datetime.fromisoformat(self.plan.plan.time),
        )

    def take(self, sample: int, answer: Answer) -> None:
        """Take the answer to one sample, checked against its question before; raises InvalidProof for another's."""
        if answer.receipt.nonce != nonce_of(self.audit_id, sample):
            raise InvalidProof(f"the answer is not one to sample {sample} of this audit")
        self.receipts[sample] = answer.signed
        self._receipt_ids[sample] = answer.signed.receipt_id

    def ordered(self) -> tuple[SignedReceipt, ...]:
        """Return all receipts in the order of the samples; raises InvalidProof where one is missing."""
        for sample in range(self.plan.plan.samples):
            if sample not in self.receipts:
                raise InvalidProof(f"sample {sample} was not answered")
        return tuple(self.receipts[sample] for sample in range(self.plan.plan.samples))

    def asked_reveal(self) -> AskedReveal:
        """Open the consumer's share, now that all answers are signed."""
        return AskedReveal(receipts=self._ids(), share=self.share)

    def reveal(self, signed: SignedReveal) -> tuple[int, ...]:
        """Take the provider's share and return which answers must be proven; raises InvalidProof for a wrong one."""
        found = signed.check(self.plan.plan, self._acceptance(), answers_digest(self._ids()))
        self.revealed = signed
        seed = seed_of(found.audit_id, found.answers, found.consumer_share, found.provider_share)
        return draw(seed, samples=self.plan.plan.samples, drawn=self.plan.plan.drawn)

    def _ids(self) -> tuple[str, ...]:
        return tuple(self._receipt_ids[sample] for sample, _ in enumerate(self.ordered()))

    def _acceptance(self) -> AuditAcceptance:
        if self.accepted is None:
            raise InvalidProof("the provider has not accepted the audit")
        return self.accepted.acceptance


def _drawn(given: int | None, count: int) -> int:
    if given is not None and not 1 <= given <= count:
        raise ConfigError(f"{given} of {count} samples cannot be drawn", hint=f"draw 1 to {count}, or all")
    return count if given is None else given
