"""The tables of docs/chain-states.md, row by row."""

from __future__ import annotations

import pytest

from balance_core import cid
from balance_core.chain import Attestation, ProofRecord, Revocation, Standing
from balance_core.chain_state import Event, ProofStatus, State, Verdict, reduce
from balance_core.errors import Rejected
from balance_core.records import Registration, SetupTrust, Trust

ALICE, BOB, CAROL, MALLORY = (letter * 64 for letter in "abcd")


def first(name: str = "mnist", provider: str = ALICE, **changes) -> Registration:
    values = {
        "name": name,
        "backend": "fake",
        "backend_version": "1",
        "circuit_id": "00" * 32,
        "setup_trust": SetupTrust(trust=Trust.TRANSPARENT),
        "provider": provider,
    }
    return Registration(**values | changes)


def after(previous: Registration, /, **changes) -> Registration:
    values = {"version": previous.version + 1, "previous": previous.registration_id, "circuit_id": "11" * 32}
    return previous.model_copy(update=values | changes)


def proof(registration: Registration, **changes) -> ProofRecord:
    values = {
        "registration_id": registration.registration_id,
        "context": "22" * 32,
        "inputs_digest": "33" * 32,
        "statement_digest": "44" * 32,
        "bundle": cid.of_bytes(b"bundle"),
    }
    return ProofRecord(**values | changes)


def word(record: ProofRecord, validator: str, valid: bool, **changes) -> Attestation:
    values = {
        "proof_id": record.proof_id,
        "statement_digest": record.statement_digest,
        "valid": valid,
        "validator": validator,
    }
    return Attestation(**values | changes)


def revocation(registration: Registration, reason: str = "") -> Revocation:
    return Revocation(registration_id=registration.registration_id, reason=reason)


def play(*events, state: State | None = None) -> State:
    state = state or State()
    for record, signer in events:
        state = reduce(state, Event(record, signer))
    return state


def refused(state: State, record, signer: str, match: str) -> None:
    with pytest.raises(Rejected, match=match):
        reduce(state, Event(record, signer))


def standing(state: State, registration: Registration) -> Standing:
    return state.registrations[registration.registration_id].standing


V1 = first()
V2 = after(V1)
BOBS = after(V1, provider=BOB)


def test_a_first_version_is_active_when_its_provider_signs_it():
    state = play((V1, ALICE))
    assert standing(state, V1) is Standing.ACTIVE
    assert state.owner(V1.registration_id) == ALICE
    refused(State(), V1, MALLORY, "signed by the provider")
    refused(state, V1, MALLORY, "signed by the provider")


def test_a_first_version_has_number_one():
    refused(State(), first(version=2), ALICE, "names no previous")


def test_names_belong_to_their_provider():
    state = play((V1, ALICE), (first(provider=BOB), BOB), (first("other"), ALICE))
    assert len(state.lines) == 3
    refused(state, first(circuit_id="99" * 32), ALICE, "already")


def test_the_next_version_supersedes_the_one_before():
    state = play((V1, ALICE), (V2, ALICE))
    assert standing(state, V1) is Standing.SUPERSEDED
    assert state.registrations[V1.registration_id].successor == V2.registration_id
    assert standing(state, V2) is Standing.ACTIVE


@pytest.mark.parametrize(
    ("record", "match"),
    [
        (after(V1, version=3), "cannot follow version 1"),
        (after(V1, version=1), "cannot follow version 1"),
        (after(V1, name="other"), "cannot be called"),
        (after(V1, previous="77" * 32), "is not on this chain"),
    ],
)
def test_a_version_that_does_not_follow_is_refused(record, match):
    refused(play((V1, ALICE)), record, ALICE, match)


def test_only_the_newest_version_can_be_followed():
    state = play((V1, ALICE), (V2, ALICE))
    refused(state, after(V1, circuit_id="99" * 32), ALICE, "is superseded")


def test_a_stranger_cannot_continue_a_line():
    state = play((V1, ALICE))
    refused(state, V2, MALLORY, "must be signed by")
    refused(state, after(V1, provider=MALLORY), MALLORY, "was not offered")


def test_a_key_is_rotated_by_the_old_key_and_then_the_new_one():
    state = play((V1, ALICE), (BOBS, ALICE))
    assert standing(state, BOBS) is Standing.PROPOSED
    assert standing(state, V1) is Standing.ACTIVE
    assert state.owner(V1.registration_id) == ALICE
    refused(state, BOBS, MALLORY, "must be signed by")
    refused(state, proof(BOBS), BOB, "is proposed and takes no proofs")
    refused(state, after(BOBS), BOB, "is proposed")
    state = play((BOBS, BOB), state=state)
    assert standing(state, BOBS) is Standing.ACTIVE
    assert standing(state, V1) is Standing.SUPERSEDED
    assert state.owner(V1.registration_id) == BOB
    refused(state, after(BOBS, provider=ALICE), ALICE, "must be signed by|was not offered")
    refused(state, revocation(V1), ALICE, "can be revoked only by")
    play((after(BOBS), BOB), (revocation(V1), BOB), state=state)


def test_nobody_is_made_a_provider_without_his_word():
    state = play((V1, ALICE), (BOBS, ALICE))
    play((first(provider=BOB), BOB), state=state)  # the name is still free for him


def test_a_line_is_not_handed_to_somebody_who_uses_the_name():
    state = play((V1, ALICE), (first(provider=BOB), BOB))
    refused(state, BOBS, ALICE, "already")
    waiting = play((V1, ALICE), (BOBS, ALICE), (first(provider=BOB), BOB))
    refused(waiting, BOBS, BOB, "already")


def test_a_name_that_was_rotated_away_is_not_free_again():
    state = play((V1, ALICE), (BOBS, ALICE), (BOBS, BOB))
    refused(state, first(circuit_id="99" * 32), ALICE, "already")
    back = after(BOBS, provider=ALICE)
    state = play((back, BOB), (back, ALICE), state=state)
    assert state.owner(V1.registration_id) == ALICE


def test_the_first_accepted_proposal_wins():
    carols = after(V1, provider=CAROL)
    state = play((V1, ALICE), (BOBS, ALICE), (carols, ALICE), (carols, CAROL))
    refused(state, BOBS, BOB, "is superseded")
    overtaken = play((V1, ALICE), (BOBS, ALICE), (V2, ALICE))
    refused(overtaken, BOBS, BOB, "is superseded")


@pytest.mark.parametrize("signer", [ALICE, BOB])
def test_a_proposal_can_be_taken_back_by_either_side(signer):
    state = play((V1, ALICE), (BOBS, ALICE))
    refused(state, revocation(BOBS), MALLORY, "can be revoked only by")
    state = play((revocation(BOBS), signer), state=state)
    refused(state, BOBS, BOB, "revoked")
    refused(state, BOBS, ALICE, "revoked")
    assert standing(state, V1) is Standing.ACTIVE
    play((V2, ALICE), state=state)


def test_revoking_the_newest_version_ends_the_line():
    state = play((V1, ALICE), (V2, ALICE), (revocation(V2, "key stolen"), ALICE))
    assert state.registrations[V2.registration_id].reason == "key stolen"
    refused(state, after(V2), ALICE, "is revoked")
    refused(state, after(V1, circuit_id="99" * 32), ALICE, "is superseded")
    refused(state, first(circuit_id="99" * 32), ALICE, "already")
    play((revocation(V1), ALICE), state=state)


def test_revocation_is_the_owners_and_final():
    state = play((V1, ALICE))
    refused(state, revocation(V1), MALLORY, "can be revoked only by")
    refused(state, revocation(first("unknown")), ALICE, "is not on this chain")
    state = play((revocation(V1), ALICE), state=state)
    refused(state, revocation(V1, "once more"), ALICE, "revoked already")
    refused(state, V1, ALICE, "has been revoked")
    refused(state, proof(V1), ALICE, "is revoked")


def test_proofs_are_submitted_by_the_provider_of_an_active_registration():
    state = play((V1, ALICE))
    refused(state, proof(V1), MALLORY, "must be signed by its provider")
    refused(state, proof(V2), ALICE, "is not on this chain")
    submitted = play((proof(V1), ALICE), state=state)
    assert submitted.proofs[proof(V1).proof_id].record == proof(V1)
    superseded = play((V2, ALICE), state=submitted)
    refused(superseded, proof(V1, context="66" * 32), ALICE, "is superseded and takes no proofs; its successor is")
    assert proof(V1).proof_id in superseded.proofs


def test_an_answer_counts_once():
    state = play((V1, ALICE), (proof(V1), ALICE))
    refused(state, proof(V1, bundle=cid.of_bytes(b"same answer, other proof")), ALICE, "in event 2")
    refused(state, proof(V1, statement_digest="55" * 32), ALICE, "in event 2")
    play((proof(V1, context="66" * 32), ALICE), (proof(V1, inputs_digest="66" * 32), ALICE), state=state)


def test_attestations_are_signed_by_their_validator_about_what_was_submitted():
    record = proof(V1)
    state = play((V1, ALICE))
    refused(state, word(record, CAROL, True), CAROL, "has not been submitted")
    state = play((record, ALICE), state=state)
    refused(state, word(record, CAROL, True), MALLORY, "must be signed by that key")
    refused(state, word(record, CAROL, True, statement_digest="55" * 32), CAROL, "another statement")
    for history in ((), ((V2, ALICE),), ((revocation(V1), ALICE),)):
        play(*history, (word(record, CAROL, True), CAROL), state=state)


def test_a_validator_that_says_both_has_equivocated():
    record = proof(V1)
    state = play((V1, ALICE), (record, ALICE), (word(record, CAROL, True), CAROL))
    assert state.proofs[record.proof_id].verdicts == {CAROL: Verdict.VALID}
    state = play((word(record, CAROL, False), CAROL), state=state)
    assert state.proofs[record.proof_id].verdicts == {CAROL: Verdict.EQUIVOCATED}
    assert state.proofs[record.proof_id].status({CAROL}) is ProofStatus.SUBMITTED
    again = play((word(record, CAROL, True), CAROL), (word(record, CAROL, False), CAROL), state=state)
    assert again == state


def test_a_status_is_for_named_validators_and_a_quorum():
    record = proof(V1)
    words = [
        (word(record, BOB, True), BOB),
        (word(record, CAROL, True), CAROL),
        (word(record, MALLORY, False), MALLORY),
    ]
    found = play((V1, ALICE), (record, ALICE), *words).proofs[record.proof_id]
    assert found.status(set()) is ProofStatus.SUBMITTED
    assert found.status({ALICE}) is ProofStatus.SUBMITTED
    assert found.status({BOB}) is ProofStatus.ATTESTED
    assert found.status({BOB}, quorum=0) is ProofStatus.ATTESTED
    assert found.status(set(), quorum=0) is ProofStatus.SUBMITTED
    assert found.status([BOB, BOB], quorum=2) is ProofStatus.SUBMITTED
    assert found.status({BOB, CAROL}, quorum=2) is ProofStatus.ATTESTED
    assert found.status({BOB, CAROL, MALLORY}, quorum=2) is ProofStatus.DISPUTED


@pytest.mark.parametrize("record", [V1, proof(V1)])
def test_a_repetition_changes_nothing(record):
    state = play((V1, ALICE), (proof(V1), ALICE), (V2, ALICE))
    assert play((record, ALICE), state=state) == state
    assert state.length == 3
