"""Bonds: what is paid in comes out again, to whom it is due, in time, and nobody can hold it up."""

from __future__ import annotations

import pytest
from eth_abi.abi import encode

from .machine import Contract
from .office import NOBODY, raw
from .test_models import refused
from .test_proofs import evidence

CLAIMED, CHALLENGED, ANSWERED, SLASHED, FINAL = range(1, 6)


@pytest.fixture
def proof(office, oracle):
    """A proof under alice's model, not on the chain yet."""
    record = office.registration()
    office.register(record, verifier=oracle, verifyingKey=b"\7" * 32)
    return office.proof(record)


@pytest.fixture
def claim(office, proof):
    """A claim of alice's, with 1001 at stake, to be challenged for 100 seconds and answered in 50."""
    claim = office.claim_record(proof)
    office.claim(claim)
    return claim


def state(office, claim):
    return office.registry.get("claimState", office.answer(claim))


def balance(office, account):
    return office.machine.evm.get_balance(account)


def test_it_can_be_challenged_in_the_last_second_and_settled_in_the_next(office, claim):
    answer = office.answer(claim)
    opened = office.machine.now
    assert (state(office, claim)["status"], state(office, claim)["deadline"]) == (CLAIMED, opened + 100)
    office.machine.tick(99)
    refused("TooEarly", lambda: office.settle(answer), deadline=opened + 100)
    (told,) = office.challenge(answer)
    assert told.values["answerUntil"] == opened + 149
    office.machine.tick(50)
    office.settle(answer)
    assert state(office, claim)["status"] == SLASHED


def test_it_is_too_late_to_challenge_at_the_deadline(office, claim):
    answer = office.answer(claim)
    office.machine.tick(100)
    refused("TooLate", lambda: office.challenge(answer))
    office.settle(answer)
    assert state(office, claim)["status"] == FINAL
    assert office.owed("alice") == 1001
    refused("WrongClaimStatus", lambda: office.settle(answer), status=FINAL)


def test_a_proof_in_the_last_second_answers_and_one_in_the_next_does_not(office, proof, claim):
    answer = office.answer(claim)
    office.challenge(answer)
    office.machine.tick(49)
    told = office.verify(proof, evidence(proof))
    assert [one.name for one in told] == ["ProofSubmitted", "ProofVerified", "ClaimAnswered"]
    assert state(office, claim)["status"] == ANSWERED
    assert (office.owed("alice"), office.owed("carol")) == (1401, 0)
    other = office.proof(office.registration(), 1)
    late = office.claim_record(other)
    office.claim(late)
    office.challenge(office.answer(late))
    office.machine.tick(50)
    told = office.verify(other, evidence(other))
    assert [one.name for one in told] == ["ProofSubmitted", "ProofVerified"]
    office.settle(office.answer(late))
    assert state(office, late)["status"] == SLASHED
    assert (office.owed("carol"), office.owed(NOBODY)) == (400 + 501, 500)


def test_an_invalid_proof_answers_nothing(office, proof, claim):
    office.challenge(office.answer(claim))
    for what in (2, 3, 4):
        with pytest.raises(Exception, match=r"Refused|OutOfGas"):
            office.verify(proof, evidence(proof, what))
    assert state(office, claim)["status"] == CHALLENGED


def test_challenging_oneself_is_not_free(office, claim):
    answer = office.answer(claim)
    office.challenge(answer, "alice")
    refused("WrongClaimStatus", lambda: office.challenge(answer, "carol"))
    office.machine.tick(50)
    office.settle(answer)
    paid, back = 1001 + 400, office.owed("alice")
    assert paid - back == 500


@pytest.mark.parametrize("value", [0, 1000, 1002])
def test_a_bond_is_paid_exactly(office, proof, value):
    refused("WrongPayment", lambda: office.claim(office.claim_record(proof), value=value), expected=1001)
    office.claim(office.claim_record(proof))
    refused("WrongPayment", lambda: office.challenge(office.answer(proof), value=value), expected=400)


@pytest.mark.parametrize(
    "changes",
    [
        {"challenge_bond": 0},
        {"challenge_bond": 1002},
        {"bond": 0, "challenge_bond": 0},
        {"challenge_seconds": 0},
        {"answer_seconds": 0},
        {"challenge_seconds": 90 * 24 * 3600 + 1},
        {"answer_seconds": 90 * 24 * 3600 + 1},
    ],
)
def test_terms_that_the_core_refuses_are_refused(office, proof, changes):
    bad = office.claim_record(proof).model_copy(update=changes)
    refused("BadTerms", lambda: office.claim(bad))


def test_a_claim_needs_the_verifier_that_would_answer_it(office):
    """Otherwise its owner could name one that says yes when somebody has put his bond at stake."""
    bare = office.registration(name="bare")
    office.register(bare)
    refused("NoVerifier", lambda: office.claim(office.claim_record(office.proof(bare))))


def test_what_was_not_claimed_cannot_be_challenged_or_settled(office, proof):
    for act in (office.challenge, office.settle):
        refused("UnknownClaim", lambda act=act: act(office.answer(proof)))


def test_a_proven_answer_is_neither_claimed_nor_challenged(office, proof, claim):
    office.verify(proof, evidence(proof))
    refused("AlreadyProven", lambda: office.challenge(office.answer(claim)))
    other = office.proof(office.registration(), 1)
    office.verify(other, evidence(other))
    refused("AlreadyProven", lambda: office.claim(office.claim_record(other)))


def test_a_claim_holds_after_its_model_has_been_revoked(office, proof, claim):
    office.challenge(office.answer(claim))
    office.registry.send(office.address("alice"), "revoke", office.models[proof.registration_id], "")
    refused("NotActive", lambda: office.submit(office.proof(office.registration(), 1)))
    office.verify(proof, evidence(proof))
    assert state(office, claim)["status"] == ANSWERED


def test_only_the_claimed_statement_is_submitted_under_its_name(office, proof, claim):
    other = proof.model_copy(update={"statement_digest": "b2" * 32})
    refused("OtherStatement", lambda: office.submit(other))
    refused("AnswerCountsOnce", lambda: office.claim(claim))
    office.submit(proof)
    third = office.proof(office.registration(), 1)
    office.submit(third)
    claimed_otherwise = office.claim_record(third).model_copy(update={"statement_digest": "b2" * 32})
    refused("OtherStatement", lambda: office.claim(claimed_otherwise))


def test_withdrawing_pays_once_in_parts_and_to_whom_one_says(office, claim):
    office.machine.tick(100)
    office.settle(office.answer(claim))
    elsewhere = "0x" + "12" * 20

    def withdraw(amount, who="alice", to=elsewhere):
        return office.registry.send(office.address(who), "withdraw", to, amount)

    refused("NotOwed", lambda: withdraw(1, "bob"))
    refused("NotOwed", lambda: withdraw(0))
    refused("NotOwed", lambda: withdraw(1002), owed=1001)
    withdraw(1000)
    withdraw(1)
    refused("NotOwed", lambda: withdraw(1), owed=0)
    assert balance(office, elsewhere) == 1001
    assert balance(office, office.registry.address) == 0


@pytest.fixture
def more_in_the_till(claim):
    """Somebody else's bond, which a greedy payee would reach for."""
    return claim


@pytest.fixture
def payee(office, props):
    """A contract that claims, and calls the registry when it is paid."""
    abi, code = props["Payee"]
    address = office.machine.create(code + encode(["address"], [office.registry.address]))
    office.machine.fund(address)
    return Contract(office.machine, address, abi)


def settled_for(office, payee, oracle):
    """Let the contract have a claim of its own that is final: 1001 are owed to it."""
    record = office.registration(provider=payee.address[2:].lower().rjust(64, "0"))
    terms = office.terms() | {"owner": payee.address, "verifier": oracle, "verifyingKey": b"\7" * 32}
    payee.send(office.address("dave"), "act", office.registry.data("register", office.fields(record), terms))
    office.models[record.registration_id] = office.model(record)
    claim = office.claim_record(office.proof(record))
    given = {
        "model": office.model(record),
        "said": office.said(claim),
        "content": claim.content,
        "bond": 1001,
        "challengeBond": 400,
        "challengeSeconds": 100,
        "answerSeconds": 50,
    }
    payee.send(office.address("dave"), "act", office.registry.data("claim", given), value=1001)
    office.machine.tick(100)
    office.settle(office.answer(claim))
    assert office.owed(payee.address) == 1001


@pytest.mark.usefixtures("more_in_the_till")
def test_calling_back_while_being_paid_takes_nothing_twice(office, payee, oracle):
    settled_for(office, payee, oracle)
    assert balance(office, office.registry.address) == 1001 + 1001
    before = balance(office, payee.address)
    again = office.registry.data("withdraw", payee.address, 500)
    payee.send(office.address("dave"), "plan", again, False)
    payee.send(office.address("dave"), "act", office.registry.data("withdraw", payee.address, 501))
    assert payee.get("calls") == 1
    assert office.machine.refusal(payee.get("failure")).name == "ReentrancyGuardReentrantCall"
    assert balance(office, payee.address) == before + 501
    assert office.owed(payee.address) == 500


def test_who_refuses_a_payment_holds_up_nobody_and_can_have_it_elsewhere(office, payee, oracle):
    settled_for(office, payee, oracle)
    payee.send(office.address("dave"), "plan", b"", True)
    act = office.address("dave"), "act"
    refused("PaymentFailed", lambda: payee.send(*act, office.registry.data("withdraw", payee.address, 1001)))
    assert office.owed(payee.address) == 1001
    elsewhere = "0x" + "12" * 20
    payee.send(*act, office.registry.data("withdraw", elsewhere, 1001))
    assert balance(office, elsewhere) == 1001


def test_money_that_nobody_asked_for_is_not_taken(office):
    with pytest.raises(Exception, match="0x"):
        office.machine.call(office.address("alice"), office.registry.address, b"", 1)
    for name in ("settle", "challenge"):
        with pytest.raises(Exception, match=r"UnknownClaim|0x"):
            office.registry.send(office.address("alice"), name, raw("77" * 32), value=5)
    assert balance(office, office.registry.address) == 0
