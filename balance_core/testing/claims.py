"""The conformance of chains that hold claims: bonds, deadlines and payments are what docs/chain-states.md says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from balance_core.chain import Answer, Challenge, Claim, ProofRecord, Revocation, Settlement, Withdrawal
from balance_core.claim_state import ClaimStatus, burnt_part
from balance_core.contracts import SupportsClaims
from balance_core.errors import Rejected
from balance_core.testing.chain import ChainConformance

if TYPE_CHECKING:
    from balance_core.chain import ChainRef
    from balance_core.records import Registration
    from balance_core.testing.town import Town


class ClaimsConformance(ChainConformance):
    """What a chain promises that `SupportsClaims`: its cases, and those of every chain.

    In the cases alice claims, bob is the judge and carol challenges. A chain that checks proofs itself overrides
    `terms`, `make_ready` and `prove`; one whose time can be moved overrides `pass_time`.
    """

    window: ClassVar[int] = 4
    """How many seconds the claims of the cases can be challenged, and answered; the cases wait that long."""

    @classmethod
    def pass_time(cls, town: Town, seconds: int) -> None:
        """Let so much time pass on the chain."""
        del town
        time.sleep(seconds)

    @classmethod
    def terms(cls, town: Town) -> dict[str, Any]:
        """Return what the claims of the cases say beside the answer."""
        return {"judges": (town.keys["bob"],), "quorum": 1}

    @classmethod
    def make_ready(cls, town: Town, registration: Registration) -> None:
        """Do what it takes before claims under a registration are accepted; by default nothing."""
        del town, registration

    @classmethod
    def prove(cls, town: Town, record: ProofRecord) -> None:
        """Put the proof of a claim on the chain in such a way that it answers for it."""
        town.put(record, "alice")
        town.put(town.attestation(record, "bob"), "bob")

    @staticmethod
    def chain_of(town: Town, who: str = "bob") -> SupportsClaims:
        """Return somebody's instance, for what it says of claims."""
        chain = town.chains[who]
        assert isinstance(chain, SupportsClaims)
        return chain

    def opened(self, town: Town, number: int = 0, **changes: Any) -> tuple[ProofRecord, Claim]:
        """Return a claim of alice's that is on the chain, and the proof of it, which is not."""
        registration = town.registration()
        town.put(registration)
        self.make_ready(town, registration)
        record = self.record(town, number)
        claim = self.claim_of(town, record, **changes)
        town.put(claim)
        return record, claim

    def record(self, town: Town, number: int = 0) -> ProofRecord:
        """Return one of the proofs that `prove` can put on the chain, under alice's first registration."""
        return town.proof(town.registration(), number)

    def claim_of(self, town: Town, record: ProofRecord, **changes: Any) -> Claim:
        """Return a claim of what a proof says."""
        terms = {"challenge_seconds": self.window, "answer_seconds": self.window, **self.terms(town)}
        return town.claim(record, **{**terms, **changes})

    def challenged(self, town: Town) -> tuple[ProofRecord, Claim]:
        """Return a claim of alice's that carol has challenged."""
        record, claim = self.opened(town)
        town.put(Challenge(proof_id=claim.proof_id, challenger=town.keys["carol"]), "carol")
        return record, claim

    def status(self, town: Town, claim: Claim) -> ClaimStatus:
        """Return how a claim stands."""
        return self.chain_of(town).claimed(claim.proof_id).status

    def answer(self, town: Town, claim: Claim) -> ChainRef:
        """Close a claim that has been proven."""
        return town.put(Answer(proof_id=claim.proof_id), "alice")

    def settle(self, town: Town, claim: Claim, who: str = "bob") -> ChainRef:
        """Close a claim whose deadline has passed."""
        return town.put(Settlement(proof_id=claim.proof_id), who)

    def owed(self, town: Town) -> dict[str, int]:
        """Return what everybody is owed."""
        return {who: self.chain_of(town).owed(key) for who, key in town.keys.items()}

    def test_claim_comes_back(self, town: Town) -> None:
        """A claim is returned as it was opened, and told in its place; its answer counts once."""
        record, claim = self.opened(town)
        found = self.chain_of(town).claimed(claim.proof_id)
        assert (found.claim, found.status, found.challenger) == (claim, ClaimStatus.CLAIMED, None)
        assert town.records()[-1] == (claim, town.keys["alice"])
        assert town.entries()[-1].type == "claimed"
        with pytest.raises(Rejected):
            self.chain_of(town).claimed(self.record(town, 1).proof_id)
        town.rejects(claim.model_copy(update={"statement_digest": "b2" * 32}))
        town.rejects(record.model_copy(update={"statement_digest": "b2" * 32}))

    def test_only_the_provider_claims(self, town: Town) -> None:
        """A claim is its provider's, under a registration that is active."""
        registration = town.registration()
        record = self.record(town)
        town.rejects(self.claim_of(town, record))
        town.put(registration)
        town.rejects(self.claim_of(town, record), "bob")
        town.put(town.next_version(registration))
        town.rejects(self.claim_of(town, record))

    def test_unchallenged_claim_becomes_final(self, town: Town) -> None:
        """A claim that nobody challenged is settled once its window has passed, not before, and paid back."""
        _, claim = self.opened(town, challenge_seconds=self.window)
        town.rejects(Settlement(proof_id=claim.proof_id), "bob")
        self.pass_time(town, self.window)
        town.rejects(Challenge(proof_id=claim.proof_id, challenger=town.keys["carol"]), "carol")
        self.settle(town, claim)
        assert self.status(town, claim) is ClaimStatus.FINAL_UNCHALLENGED
        assert self.owed(town) == {"alice": claim.bond, "bob": 0, "carol": 0}
        town.rejects(Settlement(proof_id=claim.proof_id), "carol")

    def test_answered_claim_costs_the_challenger(self, town: Town) -> None:
        """A challenged claim that is proven in time pays both bonds to its provider."""
        record, claim = self.challenged(town)
        assert self.status(town, claim) is ClaimStatus.CHALLENGED
        town.rejects(Answer(proof_id=claim.proof_id))
        town.rejects(Settlement(proof_id=claim.proof_id), "bob")
        self.prove(town, record)
        self.answer(town, claim)
        assert self.status(town, claim) is ClaimStatus.ANSWERED
        assert self.owed(town) == {"alice": claim.bond + claim.challenge_bond, "bob": 0, "carol": 0}
        self.pass_time(town, self.window)
        town.rejects(Settlement(proof_id=claim.proof_id), "carol")

    def test_unanswered_claim_is_slashed(self, town: Town) -> None:
        """A challenged claim that is not proven in time loses its bond: half is burnt, the rest the challenger's."""
        record, claim = self.challenged(town)
        self.pass_time(town, self.window)
        self.prove(town, record)
        town.rejects(Answer(proof_id=claim.proof_id))
        self.settle(town, claim)
        assert self.status(town, claim) is ClaimStatus.SLASHED
        reward = claim.challenge_bond + claim.bond - burnt_part(claim.bond)
        assert self.owed(town) == {"alice": 0, "bob": 0, "carol": reward}

    def test_claim_is_challenged_once(self, town: Town) -> None:
        """There is one challenge of a claim, by whoever signs it; what was not claimed cannot be challenged."""
        town.rejects(Challenge(proof_id="ab" * 32, challenger=town.keys["carol"]), "carol")
        town.rejects(Settlement(proof_id="ab" * 32), "carol")
        _, claim = self.opened(town)
        challenge = Challenge(proof_id=claim.proof_id, challenger=town.keys["carol"])
        town.rejects(challenge, "bob")
        first = town.put(challenge, "carol", key="again")
        assert town.put(challenge, "carol", key="again") == first
        town.rejects(Challenge(proof_id=claim.proof_id, challenger=town.keys["bob"]), "bob")

    def test_proven_answer_is_not_claimed(self, town: Town) -> None:
        """There is nothing to claim, and nothing to challenge, where there is a proof."""
        record, claim = self.opened(town)
        self.prove(town, record)
        town.rejects(Challenge(proof_id=claim.proof_id, challenger=town.keys["carol"]), "carol")
        other = self.record(town, 1)
        self.prove(town, other)
        town.rejects(self.claim_of(town, other))

    def test_claim_outlives_its_registration(self, town: Town) -> None:
        """What was claimed under a registration can be proven after it was replaced and revoked."""
        record, claim = self.challenged(town)
        registration = town.registration()
        town.put(town.next_version(registration))
        town.rejects(self.record(town, 1))
        town.put(Revocation(registration_id=registration.registration_id))
        self.prove(town, record)
        self.answer(town, claim)
        assert self.status(town, claim) is ClaimStatus.ANSWERED

    def test_what_is_owed_is_paid_once(self, town: Town) -> None:
        """An account withdraws what it is owed, once, and nobody else does."""
        _, claim = self.opened(town)
        self.pass_time(town, self.window)
        self.settle(town, claim)
        first = Withdrawal(account=town.keys["alice"], number=1, amount=claim.bond)
        town.rejects(first.model_copy(update={"amount": claim.bond + 1}))
        town.rejects(first, "bob")
        town.rejects(first.model_copy(update={"account": town.keys["bob"]}), "bob")
        ref = town.put(first, key="pay")
        assert town.put(first, key="pay") == ref
        assert self.owed(town)["alice"] == 0
        assert self.chain_of(town).withdrawals(town.keys["alice"]) == 1
        town.rejects(first.model_copy(update={"number": 2}))
