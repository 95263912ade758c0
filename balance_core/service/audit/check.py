"""What an audit's files show, computed from the files alone: nothing that either side says is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from balance_core.errors import BalanceError, ConfigError, InvalidProof
from balance_core.records import InputOpening
from balance_core.service.audit import odds
from balance_core.service.audit.draw import answers_digest, draw, seed_of
from balance_core.service.audit.records import AuditReport, ClassRow, Interval, Odds, blind_of, nonce_of
from balance_core.service.client.inputs import check_inputs, opens_inputs, stated_inputs
from balance_core.service.receipts import check_receipt, contradiction, matching, request_sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from balance_core.bundle import Bundle
    from balance_core.records import Registration
    from balance_core.service.audit.file import AuditFile, Evidence
    from balance_core.service.audit.metrics import Right
    from balance_core.service.audit.records import AuditAcceptance, AuditPlan
    from balance_core.service.receipts import AnswerReceipt, SignedReceipt
    from balance_core.verification import Verified

    Verify = Callable[[Mapping[int, Bundle], str, Mapping[int, InputOpening]], Mapping[int, Verified | BalanceError]]
    """Checks bundles, by sample, under a registration's id, with what opens those that hide their inputs; an error
    takes the place of what a proof says."""

FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""The fractions of false answers that a report gives the odds of."""


def check_file(file: AuditFile, verify: Verify, *, own: Right | None = None) -> AuditReport:
    """Return the report of a file; raises InvalidProof for evidence that does not hold, and for another report."""
    found = report(file.evidence, verify, own=own)
    stated = file.report
    if not _same(stated, found):
        raise InvalidProof(
            "the report claims something else than the files show", hint="`balance audit verify` shows what they do"
        )
    return found


def report(evidence: Evidence, verify: Verify, *, own: Right | None = None) -> AuditReport:
    """Check everything that an audit holds and return what it shows; raises InvalidProof for what does not hold.

    `own` is the measure for a metric that is not built in.
    """
    plan, acceptance, registration = _agreed(evidence)
    receipts = _answers(evidence, plan, acceptance)
    drawn: tuple[int, ...] = ()
    if evidence.reveal is not None:
        answers = answers_digest([one.receipt_id for one in receipts])
        reveal = evidence.reveal.check(plan, acceptance, answers)
        seed = seed_of(acceptance.audit_id, answers, reveal.consumer_share, reveal.provider_share)
        drawn = draw(seed, samples=plan.samples, drawn=plan.drawn)
    stray = sorted(evidence.proofs.keys() - set(drawn))
    if stray:
        raise InvalidProof(f"the audit holds a proof of sample {stray[0]}, which the seed did not draw")
    bundles = {sample: evidence.bundle(sample) for sample in sorted(evidence.proofs)}
    verified = verify(bundles, plan.registration_id, openings(evidence)) if bundles else {}
    false, hidden, sound = [], False, bool(bundles)
    for sample in bundles:
        said = verified[sample]
        if isinstance(said, BalanceError):
            raise InvalidProof(f"the proof of sample {sample} does not hold: {said.message}") from said
        sound = sound and said.sound
        bears_out, shown = compare(evidence, sample, receipts[sample], said)
        hidden = hidden or not shown
        if not bears_out:
            false.append(sample)
    labels = evidence.test_set.labels
    rights = [plan.metric.right(one.outputs, label, own) for one, label in zip(receipts, labels, strict=True)]
    proven = [sample for sample in bundles if sample not in false]
    result = AuditReport(
        audit_id=acceptance.audit_id,
        registration=registration,
        registration_id=plan.registration_id,
        consumer=plan.consumer,
        test_set=plan.test_set,
        metric=plan.metric,
        confidence=plan.confidence,
        sound=sound,
        setup_trust=registration.setup_trust,
        samples=plan.samples,
        right=sum(rights),
        drawn=plan.drawn,
        proven=len(proven),
        proven_right=sum(rights[sample] for sample in proven),
        unproven=tuple(sample for sample in drawn if sample not in bundles),
        contradicted=tuple(false),
        hidden=hidden,
        refused=evidence.reveal is None,
        of_set=None,
        of_population=None,
        false_at_most=None,
        odds=tuple(_odds(plan, fraction) for fraction in FRACTIONS),
        classes=_classes(labels, rights, set(proven)) if plan.metric.has_classes else (),
    )
    return result if result.caught else result.model_copy(update=_bounds(result))


def _agreed(evidence: Evidence) -> tuple[AuditPlan, AuditAcceptance, Registration]:
    """Return what was fixed before any answer; raises InvalidProof unless both sides signed it, and it fits."""
    plan = evidence.plan.check()
    registration = evidence.registration.check()
    if registration.registration_id != plan.registration_id or registration.provider != plan.provider:
        raise InvalidProof("the audit is of another registration than the one in its plan")
    acceptance = evidence.acceptance.check(plan)
    if evidence.test_set.digest != plan.test_set or len(evidence.test_set.inputs) != plan.samples:
        raise InvalidProof("the test set or its labels are not those that the plan fixed")
    return plan, acceptance, registration


def _answers(evidence: Evidence, plan: AuditPlan, acceptance: AuditAcceptance) -> Sequence[AnswerReceipt]:
    """Return the receipts, one for each sample in order; raises InvalidProof for any that is not of this audit."""
    if len(evidence.receipts) != plan.samples:
        raise InvalidProof(f"the audit holds {len(evidence.receipts)} receipts for {plan.samples} samples")
    return [
        _checked_receipt(plan, acceptance.audit_id, sample, signed, evidence.test_set.inputs[sample])
        for sample, signed in enumerate(evidence.receipts)
    ]


def _checked_receipt(
    plan: AuditPlan, audit_id: str, sample: int, signed: SignedReceipt, input_sha256: str
) -> AnswerReceipt:
    """Return a receipt if the provider gave it for this sample of this audit; raises InvalidProof."""
    receipt = check_receipt(signed, plan.provider)
    if receipt.registration_id != plan.registration_id:
        raise InvalidProof(f"the receipt of sample {sample} is under another registration")
    if receipt.nonce != nonce_of(audit_id, sample):
        raise InvalidProof(f"the receipt of sample {sample} is of another request, or of another audit")
    if receipt.input_sha256 != input_sha256:
        raise InvalidProof(f"the receipt of sample {sample} is about another input")
    return receipt


def compare(evidence: Evidence, sample: int, receipt: AnswerReceipt, verified: Verified) -> tuple[bool, bool]:
    """Say whether a proof bears a receipt out or refutes it, and whether it shows its input; else InvalidProof."""
    inputs = evidence.inputs[sample]
    if request_sha256(inputs) != receipt.input_sha256:
        raise InvalidProof(f"the input of sample {sample} in the file is not the one that was asked")
    try:
        statement = matching(receipt, verified)
    except InvalidProof as error:
        try:
            other = contradiction(receipt, verified)
        except ConfigError:
            other = None
        if other is None:
            raise InvalidProof(f"the proof of sample {sample} is of something else: {error.message}") from error
        check_inputs(other, evidence.key, inputs)
        return False, True
    return True, check_inputs(statement, evidence.key, inputs, opened=verified.opened_inputs)


def openings(evidence: Evidence) -> dict[int, InputOpening]:
    """Return what opens the proofs, where their statements hide inputs and their verifier can open them."""
    key = evidence.key
    if not opens_inputs(key.backend):
        return {}
    found = {}
    for sample in evidence.proofs:
        inputs = evidence.inputs[sample]
        if request_sha256(inputs) != evidence.receipts[sample].receipt.input_sha256:
            continue  # `compare` says so
        stated = stated_inputs(key, inputs)
        if stated is not None:
            found[sample] = InputOpening(
                circuit_id=key.circuit_id,
                context=evidence.receipts[sample].receipt.context,
                inputs=stated,
                blind=blind_of(evidence.test_set.salt, sample),
            )
    return found


def _odds(plan: AuditPlan, fraction: float) -> Odds:
    false, caught = odds.caught(plan.samples, plan.drawn, fraction)
    return Odds(fraction=fraction, false=false, caught=caught)


def _bounds(result: AuditReport) -> dict[str, object]:
    """Return what the proven sample says of the set, and of what the set was drawn from."""
    numbers = result.proven_right, result.drawn
    low, high = odds.of_whole(*numbers, result.samples, result.confidence)
    population = odds.clopper_pearson(*numbers, result.confidence)
    return {
        "of_set": Interval(low=low / result.samples, high=high / result.samples),
        "of_population": Interval(low=population[0], high=population[1]),
        "false_at_most": odds.false_at_most(result.samples, result.drawn, result.confidence),
    }


def _classes(labels: Sequence[tuple[float, ...]], rights: Sequence[bool], proven: set[int]) -> tuple[ClassRow, ...]:
    members: dict[tuple[float, ...], list[int]] = {}
    for sample, label in enumerate(labels):
        members.setdefault(label, []).append(sample)
    return tuple(
        ClassRow(
            label=" ".join(f"{number:g}" for number in label),
            samples=len(samples),
            right=sum(rights[sample] for sample in samples),
            proven=sum(sample in proven for sample in samples),
            proven_right=sum(rights[sample] for sample in samples if sample in proven),
        )
        for label, samples in sorted(members.items())
    )


_FLOATS = ("of_set", "of_population", "odds")
_CLOSE = 1e-9
"""How far another version of scipy may compute the bounds."""


def _same(stated: AuditReport, found: AuditReport) -> bool:
    """Say whether two reports are equal; bounds may differ in their last digits."""
    blank = dict.fromkeys(_FLOATS)
    if stated.model_copy(update=blank) != found.model_copy(update=blank):
        return False
    one, other = _all_floats(stated), _all_floats(found)
    return len(one) == len(other) and all(abs(a - b) <= _CLOSE for a, b in zip(one, other, strict=True))


def _all_floats(result: AuditReport) -> list[float]:
    numbers = [number for one in result.odds for number in (one.fraction, one.false, one.caught)]
    for interval in (result.of_set, result.of_population):
        numbers += [-1.0, -1.0] if interval is None else [interval.low, interval.high]
    return numbers
