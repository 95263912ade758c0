"""The table of claims in docs/chain-states.md, row by row."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from balance_core.builtin.ledger import Ledger
from balance_core.builtin.ledger_entry import Entry, TimedRecord
from balance_core.chain import Answer, Attestation, Challenge, Claim, Settlement, Verification, Withdrawal
from balance_core.chain_state import Event, ProofStatus, State, reduce
from balance_core.claim_state import NOBODY, ClaimStatus
from balance_core.errors import ChainError, ConfigError, Rejected
from tests.chain.test_states import ALICE, BOB, CAROL, MALLORY, V1, V2, proof, revocation, word

PROOF = proof(V1)
VERIFIED = Verification(proof_id=PROOF.proof_id, statement_digest=PROOF.statement_digest)
TOLD = {name: getattr(PROOF, name) for name in ("registration_id", "context", "inputs_digest", "statement_digest")}
CLAIM = Claim(**TOLD, content=PROOF.bundle, bond=1001, challenge_bond=400, challenge_seconds=100, answer_seconds=50)
JUDGED = CLAIM.model_copy(update={"judges": (BOB, CAROL), "quorum": 2})
CHALLENGE = Challenge(proof_id=CLAIM.proof_id, challenger=CAROL)
ANSWER, SETTLE = Answer(proof_id=CLAIM.proof_id), Settlement(proof_id=CLAIM.proof_id)


def play(*steps, state: State | None = None) -> State:
    """Each step is a record, its signer and the time; what a chain says it checked, it checked."""
    state = state or State()
    for record, signer, time in steps:
        state = reduce(state, Event(record, signer, time, checked=True))
    return state


def refused(state: State, record, signer: str, time: int, match: str, *, checked: bool = True) -> None:
    with pytest.raises(Rejected, match=match):
        reduce(state, Event(record, signer, time, checked))


OPEN = play((V1, ALICE, 0), (CLAIM, ALICE, 1000))
ASKED = play((CHALLENGE, CAROL, 1099), state=OPEN)


def status(state: State) -> ClaimStatus:
    return state.claims[CLAIM.proof_id].status


def test_a_claim_can_be_challenged_until_its_window_ends():
    assert (OPEN.claims[CLAIM.proof_id].deadline, status(OPEN)) == (1100, ClaimStatus.CLAIMED)
    assert (ASKED.claims[CLAIM.proof_id].deadline, status(ASKED)) == (1149, ClaimStatus.CHALLENGED)
    refused(OPEN, CHALLENGE, CAROL, 1100, "could be challenged before 1100, and it is 1100")
    refused(OPEN, CHALLENGE, MALLORY, 1099, "must be signed by that key")
    refused(ASKED, Challenge(proof_id=CLAIM.proof_id, challenger=BOB), BOB, 1099, "is challenged, and not claimed")


def test_at_every_moment_a_claim_can_be_challenged_or_settled_and_never_both():
    refused(OPEN, SETTLE, BOB, 1099, "can be settled from 1100 on")
    state = play((SETTLE, BOB, 1100), state=OPEN)
    assert status(state) is ClaimStatus.FINAL_UNCHALLENGED
    assert state.credits == {ALICE: 1001}
    refused(state, SETTLE, ALICE, 1100, "is final-unchallenged")


def test_a_proof_in_time_answers():
    proven = play((PROOF, ALICE, 1100), (VERIFIED, MALLORY, 1148), state=ASKED)
    state = play((ANSWER, MALLORY, 1148), state=proven)
    assert status(state) is ClaimStatus.ANSWERED
    assert state.credits == {ALICE: 1401}
    refused(proven, ANSWER, ALICE, 1149, "could be answered before 1149")
    refused(ASKED, SETTLE, BOB, 1148, "can be settled from 1149 on")


def test_without_a_proof_the_bond_is_lost_and_half_of_it_burnt():
    state = play((SETTLE, BOB, 1149), state=ASKED)
    assert status(state) is ClaimStatus.SLASHED
    assert state.credits == {CAROL: 400 + 501, NOBODY: 500}
    refused(state, ANSWER, ALICE, 1149, "is slashed")


def test_a_submitted_proof_is_no_answer():
    state = play((PROOF, ALICE, 1100), state=ASKED)
    refused(state, ANSWER, ALICE, 1101, "has not been proven")
    state = play((word(PROOF, BOB, True), BOB, 1101), state=state)
    refused(state, ANSWER, ALICE, 1101, "has not been proven")


def test_judges_answer_on_a_chain_that_checks_nothing():
    state = play((V1, ALICE, 0), (JUDGED, ALICE, 1000), (CHALLENGE, CAROL, 1010), (PROOF, ALICE, 0))
    state = play((word(PROOF, BOB, True), BOB, 0), (word(PROOF, MALLORY, True), MALLORY, 0), state=state)
    refused(state, ANSWER, ALICE, 1011, "has not been proven")
    attested = play((word(PROOF, CAROL, True), CAROL, 0), state=state)
    assert status(play((ANSWER, ALICE, 1011), state=attested)) is ClaimStatus.ANSWERED
    disputed = play((word(PROOF, CAROL, False), CAROL, 0), state=state)
    refused(disputed, ANSWER, ALICE, 1011, "has not been proven")


def test_only_the_chain_says_that_it_checked():
    state = play((V1, ALICE, 0), (PROOF, ALICE, 0))
    refused(state, VERIFIED, ALICE, 0, "checks no proofs itself", checked=False)
    other = Verification(proof_id=PROOF.proof_id, statement_digest="99" * 32)
    refused(state, other, ALICE, 0, "another statement")
    refused(play((V1, ALICE, 0)), VERIFIED, ALICE, 0, "has not been submitted")
    state = play((VERIFIED, MALLORY, 0), state=state)
    refused(state, VERIFIED, ALICE, 0, "verified already")
    found = play((word(PROOF, BOB, False), BOB, 0), state=state).proofs[PROOF.proof_id]
    assert found.status([BOB]) is ProofStatus.VERIFIED
    assert not found.is_attested([BOB], 1)


def test_only_the_provider_claims_under_an_active_registration():
    state = play((V1, ALICE, 0))
    refused(State(), CLAIM, ALICE, 0, "is not on this chain")
    refused(state, CLAIM, MALLORY, 0, "signed by its provider")
    refused(play((V2, ALICE, 0), state=state), CLAIM, ALICE, 0, "superseded and takes no claims")
    refused(play((revocation(V1), ALICE, 0), state=state), CLAIM, ALICE, 0, "revoked and takes no claims")


def test_an_answer_is_claimed_once_and_not_when_it_is_proven():
    refused(OPEN, CLAIM.model_copy(update={"bond": 5000}), ALICE, 1000, "has been claimed in event 2")
    state = play((V1, ALICE, 0), (PROOF, ALICE, 0))
    play((CLAIM, ALICE, 0), state=state)
    refused(state, CLAIM.model_copy(update={"statement_digest": "99" * 32}), ALICE, 0, "submitted with another")
    state = play((VERIFIED, ALICE, 0), state=state)
    refused(state, CLAIM, ALICE, 0, "has been proven")
    proven = play((PROOF, ALICE, 0), (VERIFIED, ALICE, 0), state=OPEN)
    refused(proven, CHALLENGE, CAROL, 1000, "a challenge would be lost")


def test_only_the_claimed_statement_is_submitted_for_a_claim_and_even_after_revocation():
    refused(OPEN, proof(V1, statement_digest="99" * 32), ALICE, 1000, "with another statement")
    state = play((V2, ALICE, 0), (revocation(V1), ALICE, 0), state=ASKED)
    refused(state, proof(V1, context="99" * 32), ALICE, 0, "takes no proofs")
    state = play((PROOF, ALICE, 0), (VERIFIED, ALICE, 0), (ANSWER, ALICE, 1100), state=state)
    assert status(state) is ClaimStatus.ANSWERED


def test_time_does_not_go_back():
    refused(ASKED, SETTLE, BOB, 1098, "lies before 1099")
    assert ASKED.time == play((PROOF, ALICE, 5), state=ASKED).time == 1099


def test_what_is_owed_is_withdrawn_by_its_account_only():
    state = play((SETTLE, BOB, 1149), state=ASKED)
    first = Withdrawal(account=CAROL, number=1, amount=900)
    refused(state, first, BOB, 1149, "by that key only")
    refused(state, first.model_copy(update={"number": 2}), CAROL, 1149, "has number 1, not 2")
    refused(state, first.model_copy(update={"amount": 902}), CAROL, 1149, "is owed 901")
    refused(state, Withdrawal(account=NOBODY, number=1, amount=1), NOBODY, 1149, "by that key only")
    state = play((first, CAROL, 1149), (first, CAROL, 1149), state=state)
    assert state.credits[CAROL] == 1
    refused(state, Withdrawal(account=CAROL, number=2, amount=2), CAROL, 1149, "is owed 1")


@pytest.mark.parametrize(
    "changes",
    [
        {"bond": 0},
        {"challenge_bond": 0},
        {"challenge_bond": 1002},
        {"challenge_seconds": 0},
        {"answer_seconds": 91 * 24 * 3600},
        {"quorum": 1},
        {"judges": (BOB,)},
        {"judges": (BOB, BOB), "quorum": 1},
        {"judges": (BOB,), "quorum": 2},
        {"bond": 2**128, "challenge_bond": 1},
    ],
)
def test_terms_that_make_no_sense_are_no_claim(changes):
    with pytest.raises(ValidationError):
        Claim(**{**CLAIM.model_dump(), **changes})
    with pytest.raises(ConfigError):
        Claim.from_value({**CLAIM.model_dump(mode="json"), **changes})


def test_large_bonds_travel():
    claim = CLAIM.model_copy(update={"bond": 2**100})
    assert Claim.from_json(claim.to_json()) == claim


def claim_of(world, **changes) -> Claim:
    values = CLAIM.model_dump() | {"registration_id": world.registration().registration_id} | changes
    return Claim(**values)


def test_the_ledger_writes_down_when(world, monkeypatch):
    monkeypatch.setattr(Ledger, "clock", staticmethod(lambda: 5000))
    ledger = world.filled(2)
    ledger.claim(claim_of(world), key="c")
    told = list(world.ledger("bob").events())
    assert [event.time for event in told] == [None, None, 5000]
    assert (told[2].type, told[2].record_kind) == ("claimed", "claim")
    assert ledger.verify().head == ledger.head()


def test_a_ledger_whose_last_entry_lies_in_the_future_takes_no_claim(world, monkeypatch):
    ledger = world.filled(2)
    ledger.claim(claim_of(world), key="c")
    monkeypatch.setattr(Ledger, "clock", staticmethod(lambda: 5000))
    with pytest.raises(Rejected, match="lies before"):
        ledger.claim(claim_of(world, context="99" * 32), key="d")


def test_a_clock_that_is_a_little_behind_does_not_stop_the_ledger(world, monkeypatch):
    ledger = world.filled(2)
    for now, told in ((5000, 5000), (4940, 5000), (5001, 5001)):
        monkeypatch.setattr(Ledger, "clock", staticmethod(lambda now=now: now))
        ledger.claim(claim_of(world, context=f"{now:064x}"), key=str(now))
        assert list(ledger.events())[-1].time == told
    monkeypatch.setattr(Ledger, "clock", staticmethod(lambda: 4940))
    with pytest.raises(Rejected, match="lies before"):
        ledger.claim(claim_of(world, context="99" * 32), key="late")


class Untimed:
    """A record as it should not stand in an entry."""

    def __init__(self, kind: str, data: bytes):
        self.kind, self.data = kind, data

    def to_json(self) -> bytes:
        return self.data


def test_entries_without_a_time_or_with_one_too_many_are_refused(world):
    ledger = world.filled(2)
    claim = claim_of(world)
    timed = TimedRecord.of(Event(claim, world.key().public, 7))
    spoiled = timed.model_copy(update={"record": {**timed.record, "bond": "1001"}})
    others = timed.model_copy(
        update={"record_kind": "proof-record", "record": world.proof(9).model_dump(mode="json")}
    )
    for record in (claim, Untimed("timed", spoiled.to_json()), Untimed("timed", others.to_json())):
        entry = Entry.sign(Event(record, world.key().public), world.key(), after=ledger.head(), inline=None)
        with pytest.raises(ChainError, match="was altered"):
            entry.event()
    honest = Entry.sign(Event(claim, world.key().public, 7), world.key(), after=ledger.head(), inline=None)
    assert honest.event() == Event(claim, world.key().public, 7)


def test_attestation_after_verification_is_still_taken():
    state = play((V1, ALICE, 0), (PROOF, ALICE, 0), (VERIFIED, ALICE, 0))
    said = Attestation(proof_id=PROOF.proof_id, statement_digest=PROOF.statement_digest, valid=True, validator=BOB)
    assert play((said, BOB, 0), state=state).proofs[PROOF.proof_id].is_attested([BOB], 1)
