"""A proof is Verified by a verifier's call in the same transaction, for exactly what it says, and by nothing else."""

from __future__ import annotations

import pytest
from eth_utils import keccak

from .machine import GAS_LIMIT, Halted, Reverted
from .office import BUNDLE, raw
from .test_models import refused

SUBMITTED, DISPUTED, ATTESTED, VERIFIED = 1, 2, 3, 4


@pytest.fixture
def record(office, oracle):
    """A registration whose verifier does what a proof's first byte says."""
    record = office.registration()
    validators = [office.address(who) for who in ("bob", "carol", "dave")]
    office.register(record, verifier=oracle, verifyingKey=b"\7" * 32, validators=validators, quorum=2)
    return record


def evidence(proof, what=1, **changes):
    said = {"context": proof.context, "inputs": proof.inputs_digest, "statement": proof.statement_digest} | changes
    return (b"", bytes([what]) + b"proof", [int(part, 16) for part in said.values()])


def status(office, proof):
    return office.registry.get("proofStatus", office.models[proof.registration_id], office.answer(proof))


def test_a_submitted_proof_is_no_more_than_that(office, record):
    proof = office.proof(record)
    (told,) = office.submit(proof, attached=b"small proof")
    assert told.values["proofId"] == raw(proof.proof_id)
    assert told.values["attached"] == b"small proof"
    assert status(office, proof) == SUBMITTED
    state = office.registry.get("proofState", office.answer(proof))
    assert (state["verified"], state["proofKey"]) == (False, bytes(32))


def test_a_verified_proof_is_submitted_and_checked_at_once(office, record):
    proof = office.proof(record)
    told = office.verify(proof, evidence(proof))
    assert [one.name for one in told] == ["ProofSubmitted", "ProofVerified"]
    assert status(office, proof) == VERIFIED
    _, data, values = evidence(proof)
    packed = b"".join(value.to_bytes(32, "big") for value in values)
    key = keccak(office.models[record.registration_id] + keccak(data) + keccak(packed))
    assert office.registry.get("proofState", office.answer(proof))["proofKey"] == key == told[1].values["proofKey"]


def test_anybody_may_bring_the_proof_of_what_was_submitted_and_nobody_else_what_was_not(office, record):
    proof = office.proof(record)
    refused("NotOwner", lambda: office.verify(proof, evidence(proof), "bob"))
    office.submit(proof)
    office.verify(proof, evidence(proof), "bob")
    assert status(office, proof) == VERIFIED
    refused("AnswerCountsOnce", lambda: office.verify(proof, evidence(proof)))


@pytest.mark.parametrize("field", ["context", "inputs", "statement"])
def test_a_valid_proof_of_something_else_is_refused(office, record, field):
    proof = office.proof(record)
    refused("SaysOtherwise", lambda: office.verify(proof, evidence(proof, **{field: "77" * 32})))
    assert status(office, proof) == 0


def test_an_answer_counts_once_however_it_is_proven(office, record):
    proof = office.proof(record)
    office.submit(proof)
    other = proof.model_copy(update={"statement_digest": "b2" * 32})
    refused("AnswerCountsOnce", lambda: office.submit(other), sequence=2)
    refused("AnswerCountsOnce", lambda: office.submit(proof), sequence=2)
    refused("OtherStatement", lambda: office.verify(other, evidence(other)))


def test_a_refusal_is_told_apart_from_no_gas_and_no_verifier(office, record):
    proof = office.proof(record)
    refused("ProofRefused", lambda: office.verify(proof, evidence(proof, 2)))
    refused("VerifierOutOfGas", lambda: office.verify(proof, evidence(proof, 3)))
    refused("VerifierOutOfGas", lambda: office.verify(proof, evidence(proof, 4)))
    bare = office.registration(name="bare")
    office.register(bare)
    refused("NoVerifier", lambda: office.verify(office.proof(bare), evidence(office.proof(bare))))


def test_a_refusal_that_burns_nearly_all_gas_is_a_refusal(office, record):
    proof = office.proof(record)
    refused("ProofRefused", lambda: office.verify(proof, evidence(proof, 7)))


def test_a_verifier_that_would_write_or_answers_nothing_verifies_nothing(office, record):
    proof = office.proof(record)
    for what in (5, 6):
        with pytest.raises((Reverted, Halted)):
            office.verify(proof, evidence(proof, what))
    assert status(office, proof) == 0
    assert office.registry.get("sequence") == 1


def test_too_little_gas_leaves_no_trace(office, record):
    proof = office.proof(record)
    office.verify(proof, evidence(proof))
    needed = office.machine.gas_used
    other = office.proof(record, 1)
    for gas in range(30_000, needed, 5_000):
        with pytest.raises((Reverted, Halted)):
            office.verify(other, evidence(other), gas=gas)
        assert status(office, other) == 0


def test_only_the_owner_of_an_active_model_submits(office, record):
    proof = office.proof(record)
    refused("NotOwner", lambda: office.submit(proof, "bob"))
    office.register(office.next_version(record))
    refused("NotActive", lambda: office.submit(proof))
    refused("NotActive", lambda: office.verify(proof, evidence(proof)))


def test_a_proof_under_one_model_is_none_under_another(office, oracle, record):
    other = office.registration("bob")
    office.register(other, "bob", verifier=oracle, verifyingKey=b"\7" * 32)
    mine, theirs = office.proof(record), office.proof(other)
    office.verify(mine, evidence(mine))
    assert status(office, theirs) == 0
    office.verify(theirs, evidence(theirs), "bob")
    states = [office.registry.get("proofState", office.answer(proof)) for proof in (mine, theirs)]
    assert states[0]["proofKey"] != states[1]["proofKey"]


def test_what_is_kept_in_an_event_is_limited(office, record):
    refused("TooLarge", lambda: office.submit(office.proof(record), attached=bytes(32 * 1024 + 1)))
    office.submit(office.proof(record), attached=bytes([1]) * (32 * 1024))
    assert office.machine.gas_used < GAS_LIMIT / 8
    refused("BadCid", lambda: office.submit(office.proof(record, 1).model_copy(update={"bundle": "x" + BUNDLE})))


def test_a_quorum_attests_and_one_dissenter_disputes(office, record):
    proof = office.proof(record)
    office.submit(proof)
    office.attest(proof, "alice")
    office.attest(proof, "bob")
    assert status(office, proof) == SUBMITTED
    office.attest(proof, "carol")
    assert status(office, proof) == ATTESTED
    office.attest(proof, "dave", valid=False)
    assert status(office, proof) == DISPUTED
    office.attest(proof, "dave", valid=True)
    assert status(office, proof) == ATTESTED
    office.attest(proof, "carol", valid=False)
    assert status(office, proof) == SUBMITTED
    office.verify(proof, evidence(proof))
    assert status(office, proof) == VERIFIED


def test_a_word_is_for_one_chain_one_registry_and_one_proof(office, record):
    proof, other = office.proof(record), office.proof(record, 1)
    office.submit(proof)
    office.submit(other)
    word = office.word(proof)

    def attest(signature, word=word):
        return office.registry.send(office.address("dave"), "attest", word, signature)

    def speaker(signature, word=word):
        return attest(signature, word)[0].values["validator"]

    bob = office.address("bob").lower()
    elsewhere = [
        office.sign("bob", word, chainId=1),
        office.sign("bob", word, verifyingContract="0x" + "12" * 20),
        office.sign("bob", word, version="2"),
        office.sign("bob", office.word(other)),
        office.sign("bob", office.word(proof, valid=False)),
    ]
    # A signature over something else is somebody else's: an account that nobody has.
    assert all(speaker(signature) != bob for signature in elsewhere)
    signature = office.sign("bob", word)
    assert speaker(signature) == bob
    refused("AlreadyRecorded", lambda: attest(signature))
    for broken in (b"", signature[:-1], signature + b"\0", bytes(65), signature[:-1] + b"\5"):
        refused("BadSignature", lambda broken=broken: attest(broken))
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    flipped = signature[:32] + high + bytes([55 - signature[64]])
    refused("BadSignature", lambda: attest(flipped))


def test_a_word_is_about_the_statement_that_was_submitted(office, record):
    proof = office.proof(record)
    word = office.word(proof)
    send = office.registry.send
    refused("UnknownProof", lambda: send(office.address("dave"), "attest", word, office.sign("bob", word)))
    office.submit(proof)
    wrong = office.word(proof, statementDigest=b"\x99" * 32)
    refused("OtherStatement", lambda: send(office.address("dave"), "attest", wrong, office.sign("bob", wrong)))


def test_a_validator_who_said_both_is_shown_by_the_two_signatures_alone(office, record):
    proof = office.proof(record)
    yes, no = office.word(proof), office.word(proof, valid=False)
    other = office.word(proof, statementDigest=b"\x99" * 32)

    def equivocator(one, by, second, also_by):
        return office.registry.get("equivocator", one, office.sign(by, one), second, office.sign(also_by, second))

    # Nothing of it is on the chain.
    assert equivocator(yes, "bob", no, "bob") == office.address("bob").lower()
    assert equivocator(yes, "bob", other, "bob") == office.address("bob").lower()
    refused("BadSignature", lambda: equivocator(yes, "bob", no, "carol"))
    refused("OtherStatement", lambda: equivocator(yes, "bob", yes, "bob"))
    refused("OtherStatement", lambda: equivocator(no, "bob", other, "bob"))
    elsewhere = office.word(office.proof(record, 1), valid=False)
    refused("UnknownProof", lambda: equivocator(yes, "bob", elsewhere, "bob"))


def test_an_equivocator_counts_for_nothing_for_good(office, record):
    proof = office.proof(record)
    office.submit(proof)
    office.attest(proof, "bob")
    office.attest(proof, "bob", valid=False)
    for valid in (True, False):
        refused("AlreadyRecorded", lambda valid=valid: office.attest(proof, "bob", valid=valid))
    assert office.registry.get("verdict", office.answer(proof), office.address("bob")) == 3
    office.attest(proof, "carol")
    assert status(office, proof) == SUBMITTED
