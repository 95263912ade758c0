"""The provider's side of audits: accepting plans, answering for its share of the seed, and proving what is drawn."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from balance_core.errors import BlobNotFound, Busy, ConfigError, InvalidProof, Rejected
from balance_core.files import locked, write_whole
from balance_core.records import Digest, Record
from balance_core.service.audit.draw import answers_digest, draw, seed_of, share_commitment
from balance_core.service.audit.messages import AskedReveal, AuditState, DrawnJob
from balance_core.service.audit.records import (
    AuditAcceptance,
    AuditReveal,
    Share,
    SignedAcceptance,
    SignedPlan,
    SignedReveal,
    nonce_of,
)
from balance_core.service.receipts import now

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from balance_core.service.receipts import SignedReceipt
    from balance_core.signing import SigningKey

MAX_AUDITS = 10_000
"""How many audits are kept; older ones make room."""
_LEFT_SECONDS = 86400.0
"""After which an audit that its consumer did not go on with may be dropped."""
_MAX_BYTES = 2**25


class Answers(Protocol):
    """What an audit needs of whoever keeps a provider's receipts and jobs."""

    def receipt(self, receipt_id: str) -> SignedReceipt | None:
        """Return a receipt that was given."""

    def order(self, receipt_id: str) -> Any:
        """Have the answer proven, and return its job, whose `job_id` names it."""

    def jobs(self, job_ids: Sequence[str]) -> Mapping[str, Any]:
        """Return those of the jobs that are known, by name, with their `state`, `bundle` and `reason`."""

    def proven_and_ended(self, job_ids: Sequence[str]) -> tuple[int, int]:
        """Return how many of the jobs have a bundle, and how many have ended."""


class _Kept(Record):
    """What the provider keeps of an audit; its share stays secret until the consumer has opened his."""

    kind: ClassVar[str] = "kept-audit"
    plan: SignedPlan
    accepted: SignedAcceptance
    share: Share
    asked: AskedReveal | None = None
    revealed: SignedReveal | None = None
    jobs: tuple[Digest, ...] = ()
    """The names of the jobs that prove each sample's answer, if it is drawn."""


class AuditHost:
    """Hosts audits of one provider's registrations; any number of processes may share its folder.

    A provider that follows this cannot be made to reveal its share before all answers are signed, nor twice.
    """

    def __init__(self, folder: Path, key: SigningKey, registration_ids: Sequence[str], answers: Answers) -> None:
        self._folder = folder
        self._key = key
        self._registrations = frozenset(registration_ids)
        self._answers = answers

    def open(self, signed: SignedPlan) -> SignedAcceptance:
        """Accept a plan, and commit to a share of the seed; the same plan again gets the same acceptance.

        Raises InvalidProof for a plan that its consumer did not sign, Rejected for one of another registration.
        """
        plan = signed.check()
        if plan.registration_id not in self._registrations or plan.provider != self._key.public:
            raise Rejected(
                f"the registration {plan.registration_id} is not served here", hint="rely on the one that is"
            )
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self._folder / ".lock"):
            index = self._folder / f"{plan.digest}.plan"
            if index.exists():
                return self._read(index.read_text(encoding="ascii")).accepted
            self._make_room()
            share = secrets.token_hex(32)
            acceptance = AuditAcceptance(
                plan=plan.digest,
                provider=self._key.public,
                commitment=share_commitment("provider", share),
                time=now(),
            )
            accepted = SignedAcceptance.sign(acceptance, self._key)
            self._write(_Kept(plan=signed, accepted=accepted, share=share))
            write_whole(index, acceptance.audit_id.encode("ascii"), mode=0o600)
        return accepted

    def reveal(self, audit_id: str, asked: AskedReveal) -> SignedReveal:
        """Open the provider's share for the answers that were given, and have those proven that are drawn.

        Raises Rejected unless all receipts are this provider's for this audit, and the consumer's share is the one
        that he committed to; and for other answers than at the first time.
        """
        with locked(self._folder / ".lock"):
            kept = self._read(audit_id)
            if kept.revealed is None or kept.asked is None:
                jobs = self._checked(kept, audit_id, asked)
                reveal = AuditReveal(
                    audit_id=audit_id,
                    answers=answers_digest(asked.receipts),
                    consumer_share=asked.share,
                    provider_share=kept.share,
                    time=now(),
                )
                kept = kept.model_copy(
                    update={"asked": asked, "revealed": SignedReveal.sign(reveal, self._key), "jobs": jobs}
                )
                self._write(kept)
            elif kept.asked != asked:
                raise Rejected("the seed was revealed for other answers already", hint="open a new audit")
        for sample in self._drawn(kept):
            self._answers.order(asked.receipts[sample])
        if kept.revealed is None:
            raise Rejected("the audit's share was not revealed")
        return kept.revealed

    def state(self, audit_id: str) -> AuditState:
        """Say how an audit stands, with the jobs that prove the answers drawn; raises BlobNotFound."""
        kept = self._read(audit_id)
        named = {sample: kept.jobs[sample] for sample in self._drawn(kept)}
        found = self._answers.jobs(list(named.values()))
        return AuditState(
            audit_id=audit_id,
            accepted=kept.accepted,
            revealed=kept.revealed,
            drawn=tuple(_seen(sample, job_id, found.get(job_id)) for sample, job_id in named.items()),
        )

    def version(self, audit_id: str) -> str:
        """Name what `state` would say, at a small part of its cost: it is asked for again and again."""
        kept = self._read(audit_id)
        proven, ended = self._answers.proven_and_ended([kept.jobs[sample] for sample in self._drawn(kept)])
        return f"{kept.revealed is not None:d}-{proven}-{ended}"

    def _drawn(self, kept: _Kept) -> tuple[int, ...]:
        if kept.revealed is None:
            return ()
        reveal, plan = kept.revealed.reveal, kept.plan.plan
        seed = seed_of(reveal.audit_id, reveal.answers, reveal.consumer_share, reveal.provider_share)
        return draw(seed, samples=plan.samples, drawn=plan.drawn)

    def _checked(self, kept: _Kept, audit_id: str, asked: AskedReveal) -> tuple[str, ...]:
        """Return the names of the jobs that would prove the answers; raises Rejected for answers not given here."""
        plan = kept.plan.plan
        if share_commitment("consumer", asked.share) != plan.commitment:
            raise Rejected("this is not the share of the seed that the plan commits to")
        if len(asked.receipts) != plan.samples:
            raise Rejected(f"{len(asked.receipts)} receipts are named, and the plan has {plan.samples} samples")
        jobs = []
        for sample, receipt_id in enumerate(asked.receipts):
            signed = self._answers.receipt(receipt_id)
            if signed is None or signed.receipt.nonce != nonce_of(audit_id, sample):
                raise Rejected(f"receipt {receipt_id} was not given here for sample {sample} of this audit")
            jobs.append(signed.receipt.job)
        return tuple(jobs)

    def _read(self, audit_id: str) -> _Kept:
        """Read what is kept of an audit; an id that came over the network never becomes another path."""
        if len(audit_id) != 64 or set(audit_id) - set("0123456789abcdef"):
            raise ConfigError("an audit's id has 64 hex digits")
        try:
            data = (self._folder / f"{audit_id}.json").read_bytes()
        except FileNotFoundError:
            raise BlobNotFound(f"there is no audit {audit_id}", hint="open one first") from None
        kept = _Kept.from_json(data, max_size=_MAX_BYTES)
        if kept.accepted.acceptance.audit_id != audit_id:
            raise InvalidProof(f"what is kept of the audit {audit_id} is of another")
        return kept

    def _write(self, kept: _Kept) -> None:
        write_whole(self._folder / f"{kept.accepted.acceptance.audit_id}.json", kept.to_json(), mode=0o600)

    def _make_room(self) -> None:
        """Drop an audit that is over, or that was left lying; raises Busy where all that are kept still go on."""
        kept = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        if len(kept) < MAX_AUDITS:
            return
        for path in kept:
            found = self._read(path.stem)
            if found.revealed is not None or time.time() - path.stat().st_mtime > _LEFT_SECONDS:
                (self._folder / f"{found.plan.plan.digest}.plan").unlink(missing_ok=True)
                path.unlink()
                return
        raise Busy(f"{len(kept)} audits are open already", retry_after=60)


def _seen(sample: int, job_id: str, job: Any) -> DrawnJob:
    if job is None:
        return DrawnJob(sample=sample, job_id=job_id, state="failed", reason="the job is no longer kept")
    return DrawnJob(sample=sample, job_id=job_id, state=str(job.state), bundle=job.bundle, reason=job.reason)
