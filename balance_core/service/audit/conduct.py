"""An audit over the network: the procedure of the consumer, for the client that blocks and the one that awaits."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from balance_core.bundle import Bundle
from balance_core.errors import BalanceError, Busy, ConfigError, InvalidProof, ProviderError, ProviderUnreachable
from balance_core.model.inputs import as_batch
from balance_core.service.audit import odds
from balance_core.service.audit.auditor import Auditor
from balance_core.service.audit.check import compare, openings, report
from balance_core.service.audit.file import MAX_PROVEN, AuditFile, Evidence
from balance_core.service.audit.messages import AuditState, DrawnJob
from balance_core.service.audit.records import MAX_SAMPLES, SignedAcceptance, SignedReveal
from balance_core.service.client.consumer import ENDED
from balance_core.service.client.steps import Call, Pause, Together, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from balance_core.records import InputOpening, ModelCommitment, VerifyingKey
    from balance_core.service.audit.metrics import Metric, Right
    from balance_core.service.client.consumer import Consumer
    from balance_core.service.client.steps import Steps
    from balance_core.signing import SignedRegistration
    from balance_core.verification import Verified

    Watch = Callable[[str, int, int], None]
    """Told of progress: what is being done, and how many of how many are."""

_TAG = re.compile(r'(W/)?"[!#-~]{1,64}"')
"""An entity tag that is sent back as it came."""
_AT_ONCE = 8
"""Requests in flight."""
_GROUP = 512
_BATCH, _MOST = 16, 128
"""How many proofs one process checks while others are being made: as many as are left, within these."""
_POLL_SECONDS, _POLL_SHARE, _POLL_MOST_SECONDS = 0.25, 0.01, 5.0
"""How often the provider is asked: less and less, so that the last proof waits for a small part of the whole."""
_STALLED_SECONDS = 900.0
"""How long a provider may go without a further proof before it counts as one that will not prove."""


@dataclass(frozen=True)
class AuditTerms:
    """How an audit is done."""

    drawn: int | None = None
    """How many answers must be proven; None for all."""
    metric: Metric | None = None
    confidence: float = 0.95
    own: Right | None = None
    """The measure for a metric that is not built in."""
    stalled_seconds: float = _STALLED_SECONDS
    watch: Watch | None = None


@dataclass
class _Proofs:
    """The proofs as they come in: what they are checked with is the same for all, or they are not taken."""

    registration: SignedRegistration
    key: VerifyingKey
    commitment: ModelCommitment | None
    bundles: dict[int, Bundle] = field(default_factory=dict)
    verified: dict[int, Verified | BalanceError] = field(default_factory=dict)

    @property
    def waiting(self) -> dict[int, Bundle]:
        """Those that were not checked yet."""
        return {sample: one for sample, one in self.bundles.items() if sample not in self.verified}

    def add(self, sample: int, data: bytes) -> None:
        """Take a bundle if it can be one of this registration's; one that cannot is no proof."""
        try:
            bundle = Bundle.from_bytes(data)
        except (ConfigError, InvalidProof):
            return
        if (
            bundle.registration.registration == self.registration.registration
            and bundle.key == self.key
            and bundle.commitment == self.commitment
        ):
            self.bundles[sample] = bundle


def conduct(consumer: Consumer, inputs: Any, labels: Any, terms: AuditTerms) -> Steps[AuditFile]:
    """Audit the provider: plan, answers, draw and proofs in this order, and return the evidence with its report.

    `inputs` holds all samples, as an array or arrays by name, and `labels` a row for each. A provider that does not
    reveal its share, or does not prove what was drawn, is in the report as caught. Raises InvalidProof for an answer
    that does not fit, and ProviderError where the audit did not get as far as answers.
    """
    pin = yield from consumer.begin()
    auditor = Auditor.prepare(
        pin,
        consumer.key,
        as_batch(inputs, consumer.inputs),
        labels,
        drawn=terms.drawn,
        metric=terms.metric,
        confidence=terms.confidence,
        private=consumer.hides,
    )
    plan = auditor.plan.plan
    if plan.drawn > MAX_PROVEN:
        raise ConfigError(f"at most {MAX_PROVEN} answers are proven in one audit", hint="give --sample")
    parts = consumer.parts
    if parts is None:
        raise ProviderUnreachable("the provider does not hand out the verifying key, without which nothing is proven")
    consumer.checker.prepare(pin.registration.backend)
    reply = yield from consumer.call(Call("POST", "/v1/audits", auditor.plan.to_json(), _JSON))
    auditor.accept(_read(SignedAcceptance, reply.body))
    for start in range(0, plan.samples, _GROUP):
        group = range(start, min(start + _GROUP, plan.samples))
        yield Together(tuple(_answer(consumer, auditor, sample) for sample in group), _AT_ONCE)
        _tell(terms, "answered", group.stop, plan.samples)
    yield Work(lambda: consumer.book.keep(*auditor.ordered()))
    proofs = _Proofs(parts.registration, parts.key, parts.commitment)
    drawn = yield from _reveal(consumer, auditor)
    yield from _collect(consumer, auditor, drawn, proofs, terms)
    concluded: AuditFile = yield Work(lambda: _concluded(auditor, proofs, terms))
    return concluded


_JSON = {"Content-Type": "application/json"}


def _tell(terms: AuditTerms, doing: str, done: int, of: int) -> None:
    if terms.watch is not None:
        terms.watch(doing, done, of)


def _answer(consumer: Consumer, auditor: Auditor, sample: int) -> Steps[None]:
    answer = yield from consumer.put(auditor.question(sample))
    auditor.take(sample, answer)


def _reveal(consumer: Consumer, auditor: Auditor) -> Steps[tuple[int, ...]]:
    """Open both shares; nothing is drawn where the provider does not open its own."""
    asked = auditor.asked_reveal()
    try:
        path = f"/v1/audits/{auditor.audit_id}/reveal"
        reply = yield from consumer.call(Call("POST", path, asked.to_json(), _JSON, seconds=consumer.patience))
        return auditor.reveal(_read(SignedReveal, reply.body))
    except (Busy, ProviderError, InvalidProof):
        return ()


def _collect(
    consumer: Consumer, auditor: Auditor, drawn: Sequence[int], proofs: _Proofs, terms: AuditTerms
) -> Steps[None]:
    """Fetch proofs as they are made, and check them while others still are."""
    odds.warm_up()
    left = set(drawn)
    began = latest = time.monotonic()
    tag, jobs = "", tuple[DrawnJob, ...]()
    while left and time.monotonic() - latest < terms.stalled_seconds:
        try:
            tag, jobs = yield from _state(consumer, auditor, tag, jobs)
        except (Busy, ProviderError):
            yield Pause(_pause(began))
            continue
        made = [job for job in jobs if job.sample in left and job.bundle is not None]
        given_up = {job.sample for job in jobs if job.state in ENDED and job.bundle is None}
        if made:
            got = yield Together(tuple(_fetched(consumer, job) for job in made), _AT_ONCE)
            for job, data in zip(made, got, strict=True):
                if data is not None:
                    proofs.add(job.sample, data)
                    left.discard(job.sample)
                    latest = time.monotonic()
            _tell(terms, "proven", len(drawn) - len(left), len(drawn))
        left -= given_up
        if left and len(proofs.waiting) < min(max(_BATCH, len(left)), _MOST):
            yield Pause(_pause(began))
            continue
        yield from _check(consumer, auditor, proofs)
        if left:
            consumer.checker.prepare(proofs.registration.registration.backend)
    yield from _check(consumer, auditor, proofs)


def _pause(began: float) -> float:
    return min(max(_POLL_SECONDS, _POLL_SHARE * (time.monotonic() - began)), _POLL_MOST_SECONDS)


def _check(consumer: Consumer, auditor: Auditor, proofs: _Proofs) -> Steps[None]:
    waiting = proofs.waiting
    registration_id = proofs.registration.registration.registration_id
    if waiting:
        opening = openings(_evidence(auditor, proofs, waiting))
        said = yield Work(lambda: consumer.checker.by_sample(waiting, registration_id, opening))
        proofs.verified.update(said)


def _state(
    consumer: Consumer, auditor: Auditor, tag: str, before: tuple[DrawnJob, ...]
) -> Steps[tuple[str, tuple[DrawnJob, ...]]]:
    """Return how the jobs stand, with the tag of that; `before` is how they stood when it was `tag`."""
    known = {"If-None-Match": tag} if tag else {}
    reply = yield from consumer.call(Call("GET", f"/v1/audits/{auditor.audit_id}", headers=known))
    if reply.status == HTTPStatus.NOT_MODIFIED:
        return tag, before
    state: AuditState = _read(AuditState, reply.body)
    said = reply.headers.get("etag", "")
    return said if _TAG.fullmatch(said) else "", state.drawn


def _fetched(consumer: Consumer, job: DrawnJob) -> Steps[bytes | None]:
    try:
        return (yield from consumer.bundle(str(job.bundle)))
    except BalanceError:
        return None


def _concluded(auditor: Auditor, proofs: _Proofs, terms: AuditTerms) -> AuditFile:
    """Return the file of all that holds; a proof that does not is none, and its sample unproven."""
    everything = _evidence(auditor, proofs, proofs.bundles)
    good = [sample for sample in proofs.bundles if _holds(everything, sample, proofs.verified[sample])]
    evidence = Evidence(
        **{
            **vars(everything),
            "inputs": {sample: everything.inputs[sample] for sample in good},
            "proofs": {sample: everything.proofs[sample] for sample in good},
        }
    )

    def known(
        bundles: Mapping[int, Bundle], registration_id: str, openings: Mapping[int, InputOpening]
    ) -> Mapping[int, Verified | BalanceError]:
        del bundles, registration_id, openings
        return proofs.verified

    return AuditFile(evidence, report(evidence, known, own=terms.own))


def _evidence(auditor: Auditor, proofs: _Proofs, bundles: Mapping[int, Bundle]) -> Evidence:
    return Evidence(
        plan=auditor.plan,
        acceptance=_given(auditor.accepted),
        test_set=auditor.test_set,
        receipts=auditor.ordered(),
        reveal=auditor.revealed,
        registration=proofs.registration,
        key=proofs.key,
        commitment=proofs.commitment,
        inputs={sample: auditor.inputs[sample] for sample in bundles},
        proofs={sample: bundle.proof.data for sample, bundle in bundles.items()},
    )


def _holds(evidence: Evidence, sample: int, said: Verified | BalanceError) -> bool:
    if isinstance(said, BalanceError):
        return False
    try:
        compare(evidence, sample, evidence.receipts[sample].receipt, said)
    except InvalidProof:
        return False
    return True


def _given(accepted: SignedAcceptance | None) -> SignedAcceptance:
    if accepted is None:
        raise InvalidProof("the provider has not accepted the audit")
    return accepted


def _read(kind: type[Any], data: bytes) -> Any:
    try:
        return kind.from_json(data, max_size=1024 * MAX_SAMPLES)
    except ConfigError as error:
        raise ProviderUnreachable(f"the provider's answer is not of the protocol: {error.message}") from error
