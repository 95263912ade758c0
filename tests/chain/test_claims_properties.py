"""The invariants of claims in docs/chain-states.md, under random events: no money appears, disappears or is stuck."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from balance_core import cid
from balance_core.chain import (
    Answer,
    Attestation,
    Challenge,
    Claim,
    ProofRecord,
    Revocation,
    Settlement,
    Verification,
    Withdrawal,
)
from balance_core.chain_state import Event, Replay, State, decide, reduce
from balance_core.claim_state import NOBODY, ClaimStatus
from balance_core.errors import Rejected
from tests.chain.test_states import after, first

PEOPLE = tuple(letter * 64 for letter in "abc")
WHO = st.sampled_from(PEOPLE)
NUMBER = st.integers(0, 2)
NEXT = {
    None: {ClaimStatus.CLAIMED},
    ClaimStatus.CLAIMED: {ClaimStatus.CLAIMED, ClaimStatus.CHALLENGED, ClaimStatus.FINAL_UNCHALLENGED},
    ClaimStatus.CHALLENGED: {ClaimStatus.CHALLENGED, ClaimStatus.ANSWERED, ClaimStatus.SLASHED},
}
OPEN = {ClaimStatus.CLAIMED, ClaimStatus.CHALLENGED}


class Claims(RuleBasedStateMachine):
    """Claims, challenges, proofs and time, in any order."""

    def __init__(self):
        super().__init__()
        self.now = 1000
        self.state, self.replay = State(), Replay()
        self.paid_in = self.paid_out = 0
        self.registration = first(provider=PEOPLE[0])
        self.send(self.registration, PEOPLE[0])

    def send(self, record, signer: str, *, checked: bool = True) -> bool:
        event = Event(record, signer, self.now, checked)
        before = self.state
        try:
            self.state = reduce(before, event)
        except Rejected:
            return False
        self.replay.apply(decide(self.replay.state, event))
        for key, found in self.state.claims.items():
            old = before.claims.get(key)
            allowed = NEXT.get(old.status if old else None, {old.status} if old else set())
            assert found.status in allowed
            if old and found.status is not old.status:
                timely = self.now < old.deadline
                assert timely is (found.status in {ClaimStatus.CHALLENGED, ClaimStatus.ANSWERED})
        return self.state.length > before.length

    def told(self, number: int, statement: bool) -> dict[str, object]:
        return {
            "registration_id": self.registration.registration_id,
            "context": f"{number:064x}",
            "inputs_digest": "33" * 32,
            "statement_digest": ("44" if statement else "55") * 32,
        }

    def proof(self, number: int, statement: bool = True) -> ProofRecord:
        return ProofRecord(**self.told(number, statement), bundle=cid.of_bytes(b""))

    @rule(seconds=st.sampled_from([1, 4, 5, 6, 10]))
    def wait(self, seconds):
        self.now += seconds

    @rule(number=NUMBER, who=WHO, bond=st.integers(1, 9), judged=st.booleans(), statement=st.booleans())
    def claim(self, number, who, bond, judged, statement):
        terms = {"judges": PEOPLE[1:], "quorum": 1} if judged else {}
        claim = Claim(
            **self.told(number, statement),
            content=cid.of_bytes(b""),
            bond=bond,
            challenge_bond=(bond + 1) // 2,
            challenge_seconds=10,
            answer_seconds=5,
            **terms,
        )
        if self.send(claim, who):
            self.paid_in += bond

    @rule(number=NUMBER, who=WHO)
    def challenge(self, number, who):
        if self.send(Challenge(proof_id=self.proof(number).proof_id, challenger=who), who):
            self.paid_in += self.state.claims[self.proof(number).proof_id].claim.challenge_bond

    @rule(number=NUMBER, statement=st.booleans())
    def submit(self, number, statement):
        self.send(self.proof(number, statement), PEOPLE[0])

    @rule(number=NUMBER, statement=st.booleans(), checked=st.booleans())
    def verify(self, number, statement, checked):
        proof = self.proof(number, statement)
        self.send(
            Verification(proof_id=proof.proof_id, statement_digest=proof.statement_digest), PEOPLE[2], checked=checked
        )

    @rule(number=NUMBER, who=WHO, valid=st.booleans())
    def attest(self, number, who, valid):
        proof = self.proof(number)
        self.send(
            Attestation(proof_id=proof.proof_id, statement_digest=proof.statement_digest, valid=valid, validator=who),
            who,
        )

    @rule(number=NUMBER, who=WHO)
    def answer(self, number, who):
        self.send(Answer(proof_id=self.proof(number).proof_id), who)

    @rule(number=NUMBER, who=WHO)
    def settle(self, number, who):
        self.send(Settlement(proof_id=self.proof(number).proof_id), who)

    @rule(who=WHO, amount=st.integers(1, 9))
    def withdraw(self, who, amount):
        number = self.state.withdrawals.get(who, 0) + 1
        if self.send(Withdrawal(account=who, number=number, amount=amount), who):
            self.paid_out += amount

    @rule()
    def replace(self):
        self.send(after(self.registration), PEOPLE[0])

    @rule()
    def revoke(self):
        self.send(Revocation(registration_id=self.registration.registration_id), PEOPLE[0])

    @invariant()
    def money_is_conserved(self):
        held = 0
        for found in self.state.claims.values():
            if found.status in OPEN:
                held += found.claim.bond
            if found.status is ClaimStatus.CHALLENGED:
                held += found.claim.challenge_bond
        assert all(amount >= 0 for amount in self.state.credits.values())
        assert self.paid_in == self.paid_out + held + sum(self.state.credits.values())

    @invariant()
    def no_claim_is_stuck(self):
        for key, found in self.state.claims.items():
            if found.status in OPEN:
                event = Event(Settlement(proof_id=key), PEOPLE[1], max(found.deadline, self.now))
                assert reduce(self.state, event).claims[key].status not in OPEN

    @invariant()
    def what_is_burnt_stays(self):
        slashed = [found for found in self.state.claims.values() if found.status is ClaimStatus.SLASHED]
        assert self.state.credits.get(NOBODY, 0) == sum(found.claim.bond // 2 for found in slashed)

    @invariant()
    def a_replay_gives_the_same(self):
        for field in ("claims", "credits", "withdrawals", "proofs", "events"):
            assert dict(getattr(self.replay.state, field)) == getattr(self.state, field)
        assert self.replay.state.time == self.state.time


TestClaims = Claims.TestCase
TestClaims.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
