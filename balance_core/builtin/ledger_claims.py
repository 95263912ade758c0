"""Claims on the embedded ledger: bonds are numbers, proofs are attested by the judges that a claim names.

The time is that of the writer's clock; it stands in the entry, and does not go back. Like the order of entries it is
worth what the ledger's writers are, until somebody else countersigns a head.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from balance_core.contracts import SupportsClaims
from balance_core.errors import Rejected

if TYPE_CHECKING:
    from balance_core.chain import Answer, ChainRecord, ChainRef, Challenge, Claim, Settlement, Withdrawal
    from balance_core.chain_state import State
    from balance_core.claim_state import ClaimState


CLOCK_DRIFT_SECONDS = 60
"""How far clocks of a ledger's writers may differ. An entry of a time further ahead stops claims until then."""


class LedgerClaims(SupportsClaims):
    """What a ledger says to claims, in terms of its entries and of what they amount to."""

    @staticmethod
    def clock() -> int:
        """Return the time that new entries state."""
        return int(time.time())

    def time_after(self, state: State) -> int:
        """Return the time of an entry behind others: another writer's clock may be a little ahead."""
        now = self.clock()
        return state.time if now < state.time <= now + CLOCK_DRIFT_SECONDS else now

    @abstractmethod
    def state(self) -> State:
        """Return what all entries amount to."""

    @abstractmethod
    def _append(
        self, record: ChainRecord, call: str, inline: bytes | None = None, *, timed: bool = False
    ) -> ChainRef:
        """Add an entry, with the time if its meaning depends on it."""

    def claim(self, claim: Claim, *, key: str) -> ChainRef:
        """Open a claim; the ledger takes the provider's word for its bond."""
        return self._append(claim, key, timed=True)

    def challenge(self, challenge: Challenge, *, key: str) -> ChainRef:
        """Demand the proof of a claim, in time."""
        return self._append(challenge, key, timed=True)

    def answer(self, answer: Answer, *, key: str) -> ChainRef:
        """Close a challenged claim whose proof enough of its judges attest, in time."""
        return self._append(answer, key, timed=True)

    def settle(self, settlement: Settlement, *, key: str) -> ChainRef:
        """Close a claim whose deadline has passed."""
        return self._append(settlement, key, timed=True)

    def withdraw(self, withdrawal: Withdrawal, *, key: str) -> ChainRef:
        """Sign for what one was owed and has been paid."""
        return self._append(withdrawal, key, timed=True)

    def claimed(self, proof_id: str) -> ClaimState:
        """Return a claim and how it stands; raises Rejected for an unknown one."""
        found = self.state().claims.get(proof_id)
        if found is None:
            raise Rejected(f"the answer {proof_id} has not been claimed on the ledger")
        return found

    def owed(self, account: str) -> int:
        """Return what an account is owed."""
        return self.state().credits.get(account, 0)

    def withdrawals(self, account: str) -> int:
        """Return how many times an account has withdrawn."""
        return self.state().withdrawals.get(account, 0)
