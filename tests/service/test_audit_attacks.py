"""What may be altered in an audit's file: each of it is found by a third person who has nothing but the file."""

from __future__ import annotations

import secrets
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("httpx", reason="the extra `audit` is not installed")
pytest.importorskip("scipy", reason="the extra `audit` is not installed")

from balance_core import zip_form
from balance_core.builtin.ledger_entry import LedgerHead, countersign
from balance_core.errors import BalanceError, BlobNotFound, ConfigError, InvalidProof, Rejected
from balance_core.keys import KeyStore
from balance_core.service.audit.auditor import Auditor
from balance_core.service.audit.check import report
from balance_core.service.audit.draw import answers_digest, share_commitment
from balance_core.service.audit.file import AuditFile
from balance_core.service.audit.messages import AskedReveal
from balance_core.service.audit.records import Interval, SignedAcceptance, SignedPlan, SignedReveal, nonce_of
from balance_core.service.receipts import sign_receipt
from balance_core.signing import SigningKey
from balance_core.workspace import Workspace
from tests.service.auditing import Desk, QuickChecker, audited, checked, client_of, made_set

SAMPLES, DRAWN = 10, 4


@pytest.fixture(scope="module")
def desk(home):
    return Desk(home)


@pytest.fixture(scope="module")
def file(desk):
    inputs, labels = made_set(SAMPLES)
    with client_of(desk) as client:
        return audited(client, inputs, labels, drawn=DRAWN)


@pytest.fixture(scope="module")
def other(desk):
    """Another audit of the same provider and the same set."""
    inputs, labels = made_set(SAMPLES)
    with client_of(desk) as client:
        return audited(client, inputs, labels, drawn=DRAWN)


@pytest.fixture(scope="module")
def consumer(home):
    return KeyStore(Workspace(home).keys).default()


def altered(file, **changes):
    """Return the file with other evidence, and the report that its forger would like."""
    return AuditFile(replace(file.evidence, **changes), file.report)


def refused(file, reason):
    """Check that a file is refused, as an object and, where it can be written, from its bytes."""
    with pytest.raises(InvalidProof, match=reason):
        checked(file)
    with pytest.raises(BalanceError):
        checked(AuditFile.from_bytes(file.to_bytes()))


def changed(items, place, value):
    return (*items[:place], value, *items[place + 1 :])


def undrawn(file):
    return next(sample for sample in range(SAMPLES) if sample not in file.evidence.proofs)


def test_a_file_is_one_encoding_and_checks(file):
    again = AuditFile.from_bytes(file.to_bytes())
    assert again.to_bytes() == file.to_bytes()
    assert checked(again) == file.report
    assert again.cid == file.cid


def test_swapped_labels_are_found(file):
    labels = file.evidence.test_set.labels
    for forged in (changed(labels, 0, (labels[0][0] + 1,)), labels[::-1], labels[:-1]):
        inputs = file.evidence.test_set.inputs[: len(forged)]
        test_set = file.evidence.test_set.model_copy(update={"labels": forged, "inputs": inputs})
        refused(altered(file, test_set=test_set), "not those that the plan fixed")


def test_another_salt_is_found(file):
    test_set = file.evidence.test_set.model_copy(update={"salt": "5" * 64})
    refused(altered(file, test_set=test_set), "not those that the plan fixed")


def test_dropped_doubled_and_swapped_receipts_are_found(file):
    receipts = file.evidence.receipts
    refused(altered(file, receipts=receipts[:-1]), "9 receipts for 10 samples")
    refused(altered(file, receipts=(*receipts, receipts[0])), "11 receipts for 10 samples")
    refused(altered(file, receipts=changed(receipts, 1, receipts[0])), "sample 1 is of another request")
    refused(altered(file, receipts=(receipts[1], receipts[0], *receipts[2:])), "another request")


def test_receipts_of_another_audit_are_found(file, other):
    place = undrawn(file)
    forged = changed(file.evidence.receipts, place, other.evidence.receipts[place])
    refused(altered(file, receipts=forged), "another audit")
    refused(altered(file, receipts=other.evidence.receipts), "another audit")


def test_a_receipt_that_its_provider_did_not_sign_is_found(file):
    receipts = file.evidence.receipts
    answer = receipts[2].receipt
    better = answer.model_copy(update={"outputs": receipts[3].receipt.outputs})
    forged = receipts[2].model_copy(update={"receipt": better})
    refused(altered(file, receipts=changed(receipts, 2, forged)), "signature")
    stranger = SigningKey.generate()
    theirs = sign_receipt(stranger, answer.model_copy(update={"provider": stranger.public}))
    refused(altered(file, receipts=changed(receipts, 2, theirs)), "receipt is by")


def test_an_answer_that_was_signed_again_after_the_draw_is_found(file, desk):
    """The provider itself, with its key, cannot replace what the seed was drawn for."""
    place = undrawn(file)
    answer = file.evidence.receipts[place].receipt
    better = sign_receipt(
        desk.signer, answer.model_copy(update={"outputs": file.evidence.receipts[place - 1].receipt.outputs})
    )
    refused(altered(file, receipts=changed(file.evidence.receipts, place, better)), "for other answers")


def test_a_receipt_about_another_input_is_found(file, desk):
    inputs, _ = made_set(SAMPLES, seed=9)
    nonce = nonce_of(file.report.audit_id, 0)
    theirs = desk.answer({"x": inputs[0].reshape(1, 4)}, nonce=nonce)
    refused(altered(file, receipts=changed(file.evidence.receipts, 0, theirs)), "another input")


def test_another_head_is_found(file, consumer, home):
    plan = file.evidence.plan.plan
    other = countersign(LedgerHead(ledger_id=plan.head.head.ledger_id, length=99, hash="a" * 64), consumer)
    forged = SignedPlan(plan=plan.model_copy(update={"head": other}), signature=file.evidence.plan.signature)
    refused(altered(file, plan=forged), "signature")
    signed = SignedPlan.sign(forged.plan, consumer)
    refused(altered(file, plan=signed), "another plan")
    old = countersign(LedgerHead(ledger_id=plan.head.head.ledger_id, length=0, hash="a" * 64), consumer)
    refused(altered(file, plan=SignedPlan.sign(plan.model_copy(update={"head": old}), consumer)), "older")
    foreign = countersign(LedgerHead(ledger_id="b" * 64, length=99, hash="a" * 64), consumer)
    refused(
        altered(file, plan=SignedPlan.sign(plan.model_copy(update={"head": foreign}), consumer)), "another ledger"
    )
    by_stranger = countersign(plan.head.head, KeyStore(Workspace(home).keys).create("stranger"))
    with pytest.raises(ValueError, match="not the consumer's"):
        type(plan).model_validate({**plan.model_dump(), "head": by_stranger.model_dump()})


def test_a_head_that_the_consumer_did_not_sign_is_found(file, consumer):
    plan = file.evidence.plan.plan
    forged = plan.head.model_copy(update={"signature": "0" * 128})
    refused(altered(file, plan=SignedPlan.sign(plan.model_copy(update={"head": forged}), consumer)), "ledger-head")


def test_another_number_of_draws_is_found(file, consumer):
    fewer = file.evidence.plan.plan.model_copy(update={"drawn": 1})
    refused(altered(file, plan=SignedPlan.sign(fewer, consumer)), "another plan")


@pytest.mark.parametrize("share", ["consumer_share", "provider_share"])
def test_an_altered_seed_is_found(file, desk, share):
    reveal = file.evidence.reveal.reveal.model_copy(update={share: secrets.token_hex(32)})
    unsigned = SignedReveal(reveal=reveal, signature=file.evidence.reveal.signature)
    refused(altered(file, reveal=unsigned), "signature")
    refused(altered(file, reveal=SignedReveal.sign(reveal, desk.signer)), "not the one that")


def test_a_seed_of_another_audit_is_found(file, other):
    refused(altered(file, reveal=other.evidence.reveal), "another audit")


def test_a_provider_cannot_choose_its_share_after_the_answers(file, desk):
    """Even with the consumer's help: another acceptance is another audit, whose nonces the receipts do not hold."""
    acceptance = file.evidence.acceptance.acceptance
    share = secrets.token_hex(32)
    forged = acceptance.model_copy(update={"commitment": share_commitment("provider", share)})
    signed = SignedAcceptance.sign(forged, desk.signer)
    refused(altered(file, acceptance=signed), "another request")


def test_an_acceptance_by_somebody_else_is_found(file):
    stranger = SigningKey.generate()
    forged = file.evidence.acceptance.acceptance.model_copy(update={"provider": stranger.public})
    refused(altered(file, acceptance=SignedAcceptance.sign(forged, stranger)), "signature")


def with_proof(file, sample, bundle, inputs):
    return altered(
        file,
        proofs={**file.evidence.proofs, sample: bundle.proof.data},
        inputs={**file.evidence.inputs, sample: inputs},
    )


def test_a_proof_of_a_sample_that_was_not_drawn_is_found(file, desk):
    sample = undrawn(file)
    inputs = {"x": made_set(SAMPLES)[0][sample].reshape(1, 4)}
    bundle = desk.bundle(inputs, file.evidence.receipts[sample].receipt.context)
    refused(with_proof(file, sample, bundle, inputs), "did not draw")


def test_proofs_of_another_context_are_found(file, other, desk):
    sample = next(iter(file.evidence.proofs))
    inputs = file.evidence.inputs[sample]
    bundle = desk.bundle(inputs, other.evidence.receipts[sample].receipt.context)
    refused(with_proof(file, sample, bundle, inputs), "of something else")


def test_a_proof_of_another_sample_is_found(file):
    one, two = list(file.evidence.proofs)[:2]
    proofs = {**file.evidence.proofs, one: file.evidence.proofs[two]}
    refused(altered(file, proofs=proofs), "of something else")


def test_another_input_beside_a_proof_is_found(file):
    sample = next(iter(file.evidence.proofs))
    inputs = {name: array + np.float32(1e-6) for name, array in file.evidence.inputs[sample].items()}
    refused(altered(file, inputs={**file.evidence.inputs, sample: inputs}), "not the one that was asked")


def test_a_proof_that_does_not_verify_is_found(file):
    sample = next(iter(file.evidence.proofs))
    broken = file.evidence.proofs[sample].replace(b'"seal":"', b'"seal":"00', 1)
    refused(altered(file, proofs={**file.evidence.proofs, sample: broken}), f"proof of sample {sample}")


def test_a_dropped_proof_shows(file):
    """Whoever drops one shows a provider that did not prove: the report says so, and no accuracy."""
    sample = next(iter(file.evidence.proofs))
    fewer = altered(
        file,
        proofs={key: value for key, value in file.evidence.proofs.items() if key != sample},
        inputs={key: value for key, value in file.evidence.inputs.items() if key != sample},
    )
    refused(fewer, "claims something else")
    shown = report(fewer.evidence, QuickChecker().by_sample)
    assert shown.unproven == (sample,)
    assert shown.caught
    assert shown.of_set is None


def test_a_dropped_reveal_shows(file):
    nothing = altered(file, reveal=None, proofs={}, inputs={})
    refused(nothing, "claims something else")
    assert report(nothing.evidence, QuickChecker().by_sample).refused


@pytest.mark.parametrize(
    "claim",
    [
        {"right": SAMPLES},
        {"proven_right": DRAWN},
        {"proven": SAMPLES},
        {"drawn": SAMPLES},
        {"sound": True},
        {"of_set": Interval(low=0.99, high=1.0)},
        {"of_population": Interval(low=0.99, high=1.0)},
        {"false_at_most": 0},
        {"odds": ()},
        {"classes": ()},
        {"consumer": "ab" * 32},
        {"test_set": "ab" * 32},
        {"confidence": 0.999},
        {"hidden": True},
    ],
)
def test_a_report_that_claims_more_than_the_files_say_is_refused(file, claim):
    refused(AuditFile(file.evidence, file.report.model_copy(update=claim)), "claims something else")


def test_another_registration_is_found(file, home):
    stranger = Desk(home, name="stranger-desk")
    parts = stranger.bundle({"x": made_set(1)[0]}, "0" * 64)
    refused(altered(file, registration=parts.registration), "another registration")


def test_another_key_is_found(file, home):
    twin = Desk(home, name="twin", seed=2)
    refused(altered(file, key=twin.key), "circuit")


def test_files_that_were_packed_otherwise_are_refused(file):
    data = file.to_bytes()
    members = list(zip_form.decode(data, max_members=1000).items())
    for forged in (
        data + b"\0",
        data[:-1],
        zip_form.encode(members[::-1]),
        zip_form.encode([*members, ("more.json", b"{}")]),
        zip_form.encode([*members, ("proofs/1.bin", b"")]),
        zip_form.encode([one for one in members if one[0] != "report.json"]),
        zip_form.encode([one for one in members if not one[0].startswith("inputs/")]),
        b"",
    ):
        with pytest.raises(ConfigError):
            AuditFile.from_bytes(forged)


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'[["x","float32",[1,4]]]',
        b'[["x","O",[1,4]]]',
        b'[["x","float32",[-1]]]',
        b'[["x","float32",[9223372036854775807,9223372036854775807]]]',
        b'[["x",null,[1,4]]]',
        b'{"x":1}',
        b"null",
        b"\xff",
    ],
)
def test_inputs_that_cannot_be_read_are_refused(file, header):
    members = dict(zip_form.decode(file.to_bytes(), max_members=1000))
    name = next(name for name in members if name.startswith("inputs/"))
    members[name] = len(header).to_bytes(4, "big") + header + b"\0" * 12
    with pytest.raises(ConfigError):
        AuditFile.from_bytes(zip_form.encode(list(members.items())))


def test_an_input_that_is_no_number_is_refused(file):
    sample = next(iter(file.evidence.proofs))
    inputs = {name: array * np.float32(np.nan) for name, array in file.evidence.inputs[sample].items()}
    refused(altered(file, inputs={**file.evidence.inputs, sample: inputs}), "not the one that was asked")


def test_no_byte_of_a_file_can_be_flipped(file):
    data = file.to_bytes()
    random = np.random.default_rng(3)
    for at in random.choice(len(data), 60, replace=False):
        flipped = bytearray(data)
        flipped[at] ^= 1 << int(random.integers(8))
        with pytest.raises(BalanceError):
            checked(AuditFile.from_bytes(bytes(flipped)))


# What a consumer tries on a provider that hosts


@pytest.fixture
def opened(desk, consumer):
    inputs, labels = made_set(3)
    with client_of(desk) as client:
        auditor = Auditor.prepare(client.pin(), consumer, {"x": inputs.reshape(3, 1, 4)}, labels, drawn=1)
        auditor.accept(desk.host.open(auditor.plan))
        for sample in range(3):
            auditor.take(sample, client.carry_out(client.consumer.put(auditor.question(sample))))
        return auditor


def test_the_same_plan_gets_the_same_acceptance(desk, opened):
    assert desk.host.open(opened.plan) == opened.accepted


def test_no_share_is_revealed_before_all_answers_are_signed(desk, opened):
    asked = opened.asked_reveal()
    for receipts in (asked.receipts[:-1], (*asked.receipts[:-1], "0" * 64), asked.receipts[::-1]):
        with pytest.raises(Rejected):
            desk.host.reveal(opened.audit_id, AskedReveal(receipts=receipts, share=asked.share))
    assert desk.host.state(opened.audit_id).revealed is None


def test_no_share_is_revealed_to_whoever_did_not_commit(desk, opened):
    asked = opened.asked_reveal()
    with pytest.raises(Rejected, match="commits to"):
        desk.host.reveal(opened.audit_id, AskedReveal(receipts=asked.receipts, share="0" * 64))


def test_a_share_is_revealed_once(desk, opened):
    asked = opened.asked_reveal()
    first = desk.host.reveal(opened.audit_id, asked)
    assert desk.host.reveal(opened.audit_id, asked) == first
    assert first.reveal.answers == answers_digest(asked.receipts)
    other = desk.answer(opened.inputs[0], nonce=nonce_of(opened.audit_id, 0))
    with pytest.raises(Rejected, match="already"):
        desk.host.reveal(
            opened.audit_id, AskedReveal(receipts=(other.receipt_id, *asked.receipts[1:]), share=asked.share)
        )


def test_plans_of_others_are_refused(desk, opened, consumer):
    plan = opened.plan.plan
    with pytest.raises(InvalidProof):
        desk.host.open(SignedPlan(plan=plan, signature="0" * 128))
    foreign = plan.model_copy(update={"registration_id": "c" * 64, "voucher": None, "head": None})
    with pytest.raises(Rejected):
        desk.host.open(SignedPlan.sign(foreign, consumer))


@pytest.mark.parametrize("audit_id", ["../../keys/default", "a" * 63, "A" * 64, ""])
def test_an_id_is_never_a_path(desk, audit_id):
    with pytest.raises(ConfigError):
        desk.host.state(audit_id)


def test_an_unknown_audit_is_not_there(desk):
    with pytest.raises(BlobNotFound):
        desk.host.state("a" * 64)
