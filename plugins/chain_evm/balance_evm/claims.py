"""Claims on the chain: answers with a bond and no proof, until somebody demands it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from balance_core.chain import Verification
from balance_core.chain_state import Event
from balance_core.contracts import SupportsClaims
from balance_core.errors import Rejected
from balance_evm import codec, interfaces
from balance_evm.sender import Transaction

if TYPE_CHECKING:
    from balance_core.chain import Answer, ChainRef, Challenge, Claim, Settlement, Withdrawal
    from balance_core.claim_state import ClaimState
    from balance_evm.chronicle import Chronicle, Model
    from balance_evm.network import Network
    from balance_evm.writer import Writer


class EvmClaims(SupportsClaims):
    """What the registry's claims are to the core, for a chain that reads and writes the rest of it.

    Bonds are in wei, and are paid with the call.
    """

    network: Network

    @property
    @abstractmethod
    def writer(self) -> Writer:
        """The account that writes."""

    @abstractmethod
    def chronicle(self) -> Chronicle:
        """Return what the registry holds now."""

    @staticmethod
    @abstractmethod
    def model(read: Chronicle, registration_id: str) -> Model:
        """Return a registered model; raises Rejected."""

    @abstractmethod
    def answer_name(self, read: Chronicle, proof_id: str) -> bytes:
        """Return the registry's name for an answer; raises Rejected."""

    def claim(self, claim: Claim, *, key: str) -> ChainRef:
        """Open a claim and pay its bond."""
        if claim.judges:
            raise Rejected(
                "claims on this chain are answered to a contract, and not to judges",
                hint="leave judges and quorum out, or claim on the ledger",
            )

        def build(read: Chronicle) -> Transaction:
            model = self.model(read, claim.registration_id)
            struct = (
                model.name,
                codec.said_struct(claim),
                claim.content,
                claim.bond,
                claim.challenge_bond,
                claim.challenge_seconds,
                claim.answer_seconds,
            )
            data = interfaces.registry().call("claim", struct)
            return Transaction(f"claiming {claim.proof_id[:16]}", self.network.registry, data, claim.bond)

        return self.writer.write(claim, key, build, judged_here=False)

    def challenge(self, challenge: Challenge, *, key: str) -> ChainRef:
        """Demand the proof of a claim and pay the bond that it asks for."""

        def build(read: Chronicle) -> Transaction:
            if challenge.challenger != read.identity(self.writer.account.address):
                raise Rejected(f"the challenge is by {challenge.challenger}, and this account writes for another")
            answer, claim = self.answer_name(read, challenge.proof_id), self._claim(read, challenge.proof_id).claim
            data = interfaces.registry().call("challenge", answer)
            what = f"challenging {challenge.proof_id[:16]}"
            return Transaction(what, self.network.registry, data, claim.challenge_bond)

        return self.writer.write(challenge, key, build, names=challenge.challenger, judged_here=False)

    def answer(self, answer: Answer, *, key: str) -> ChainRef:
        """Return the entry in which the proof of a challenged claim closed it; the proof itself is the answer."""
        del key
        read = self.chronicle()
        told = read.told_of(answer)
        if told is None:
            self._claim(read, answer.proof_id)
            raise Rejected(
                f"the claim {answer.proof_id} is answered by its proof, which the contract has not seen",
                hint="balance evm submit BUNDLE",
            )
        return told.ref

    def settle(self, settlement: Settlement, *, key: str) -> ChainRef:
        """Close a claim whose deadline has passed."""

        def build(read: Chronicle) -> Transaction:
            data = interfaces.registry().call("settle", self.answer_name(read, settlement.proof_id))
            return Transaction(f"settling {settlement.proof_id[:16]}", self.network.registry, data)

        return self.writer.write(settlement, key, build, judged_here=False)

    def withdraw(self, withdrawal: Withdrawal, *, key: str) -> ChainRef:
        """Take what the account is owed, to the account itself."""

        def build(read: Chronicle) -> Transaction:
            if withdrawal.account != read.identity(self.writer.account.address):
                raise Rejected(f"only the account of {withdrawal.account} withdraws what it is owed")
            number = self.withdrawals(withdrawal.account) + 1
            if withdrawal.number != number:
                raise Rejected(f"the next withdrawal of {withdrawal.account} is number {number}")
            data = interfaces.registry().call("withdraw", self.writer.account.address, withdrawal.amount)
            return Transaction(f"withdrawing {withdrawal.amount} wei", self.network.registry, data)

        return self.writer.write(withdrawal, key, build, judged_here=False)

    def claimed(self, proof_id: str) -> ClaimState:
        """Return a claim and how it stands."""
        return self._claim(self.chronicle(), proof_id)

    def owed(self, account: str) -> int:
        """Return what the registry owes an account, in wei."""
        address = self.chronicle().account(account)
        if address is None:
            return 0
        return int(self.network.view(self.network.registry, interfaces.registry(), "owed", address))

    def withdrawals(self, account: str) -> int:
        """Return how many times an account has withdrawn."""
        return self.chronicle().replay.state.withdrawals.get(account, 0)

    @staticmethod
    def _claim(read: Chronicle, proof_id: str) -> ClaimState:
        found = read.replay.state.claims.get(proof_id)
        if found is None:
            raise Rejected(f"the claim {proof_id} is not on this chain")
        return found


def verification(registry: str, proof_id: str, statement_digest: str) -> Event:
    """Return the event by which the registry says that it checked a proof."""
    record = Verification(proof_id=proof_id, statement_digest=statement_digest)
    return Event(record, codec.identity_of(registry), checked=True)
