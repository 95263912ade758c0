"""Three validators at once, each with a key and a memory of its own: one is slow, and one signs what is false."""

from __future__ import annotations

import threading

import pytest

from balance_core.chain import Attestation
from balance_core.chain_state import ProofStatus, Verdict
from balance_core.service.validator import Reason, State

from .validating import Yard


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """Two honest validators and a liar that has spoken first, about a valid and a false proof."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("quorum")
        patch.setenv("BALANCE_HOME", str(home))
        yard = Yard(home)
        registration = yard.register()
        records = {
            "valid": yard.publish(registration),
            "false": yard.publish(registration, lie=True),
            "both": yard.publish(registration),
        }
        liar = yard.person("liar").public
        lies = [("valid", False), ("false", True), ("both", True), ("both", False)]
        book = yard.as_somebody("liar")
        for number, (name, valid) in enumerate(lies):
            proof, statement = records[name].proof_id, records[name].statement_digest
            word = Attestation(proof_id=proof, statement_digest=statement, valid=valid, validator=liar)
            book.attest(word, key=f"lie/{number}")
        found = {}

        def work(name, **changes):
            found[name] = yard.run(name, **changes)

        slow = threading.Timer(1.0, work, args=("slow",), kwargs={"workers": 1, "poll_seconds": 0.5})
        quick = threading.Thread(target=work, args=("quick",))
        for thread in (slow, quick):
            thread.start()
        for thread in (slow, quick):
            thread.join()
        yield yard, records, liar, found


def test_the_state_is_right_for_whoever_trusts_all_three_with_a_quorum_of_two(town):
    yard, records, liar, found = town
    three = [liar, found["slow"].validator, found["quick"].validator]
    states = {name: yard.ledger.state().proofs[record.proof_id] for name, record in records.items()}
    # A liar can hold up what is valid (it is disputed, and its word is seen to be false), and make nothing valid.
    assert states["valid"].status(three, 2) is ProofStatus.DISPUTED
    assert states["valid"].status(three[1:], 2) is ProofStatus.ATTESTED
    assert states["false"].status(three, 2) is ProofStatus.DISPUTED
    # Where it says both, its word counts for nothing.
    assert states["both"].verdicts[liar] is Verdict.EQUIVOCATED
    assert states["both"].status(three, 2) is ProofStatus.ATTESTED


def test_the_liars_words_are_seen_by_both(town):
    _, records, liar, found = town
    for status in found.values():
        assert (status.false_words, status.equivocations) == (2, 1)
        seen = {(one.proof_id, one.validator, one.said, one.verdict) for one in status.disagreements}
        assert seen == {
            (records["valid"].proof_id, liar, (False,), True),
            (records["false"].proof_id, liar, (True,), False),
            (records["both"].proof_id, liar, (False, True), True),
        }


def test_each_honest_validator_says_each_word_once(town):
    yard, records, _, found = town
    for status in found.values():
        said = [(proof, valid) for proof, validator, valid in yard.words() if validator == status.validator]
        verdicts = {"valid": True, "false": False, "both": True}
        assert sorted(said) == sorted((records[name].proof_id, valid) for name, valid in verdicts.items())
        assert status.count(State.ATTESTED, Reason.VALID) == 2
        assert status.waiting == 0
