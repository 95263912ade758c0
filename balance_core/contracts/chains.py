"""Where registrations, proofs and verdicts are ordered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from balance_core.contracts.plugin import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from balance_core.builtin.ledger_entry import LedgerHead, LedgerReport, SignedHead
    from balance_core.bundle import Bundle
    from balance_core.chain import (
        Answer,
        Attestation,
        ChainEvent,
        ChainRef,
        Challenge,
        Claim,
        Finality,
        ProofRecord,
        Revocation,
        Settlement,
        Withdrawal,
    )
    from balance_core.claim_state import ClaimState
    from balance_core.records import Registration


class ChainAdapter(Plugin):
    """Orders registrations, proofs and verdicts (entry points: balance.chains) as `balance_core.chain` specifies.

    Writing calls take an idempotency key: a second call with the same key and record gives the first one's reference;
    with another record it is Rejected.
    """

    local: ClassVar[bool] = False
    """Whether only this machine's user relies on it, so that a test setup may be registered without being asked."""

    @abstractmethod
    def register(self, registration: Registration, *, key: str) -> ChainRef:
        """Publish a registration, or the next version of one."""

    @abstractmethod
    def registration(self, registration_id: str) -> Registration:
        """Return a registration in force, or superseded; raises Rejected for any other, saying how it stands."""

    @abstractmethod
    def revoke(self, revocation: Revocation, *, key: str) -> ChainRef:
        """Withdraw a registration; only its provider can."""

    @abstractmethod
    def submit(self, record: ProofRecord, *, key: str, inline: bytes | None = None) -> ChainRef:
        """Publish a proof of an active registration, with its bytes inline where asked and the chain can."""

    @abstractmethod
    def attest(self, attestation: Attestation, *, key: str) -> ChainRef:
        """Publish a validator's word on a submitted proof, once for each validator."""

    @abstractmethod
    def status(self, ref: ChainRef) -> Finality:
        """Say how settled an entry is."""

    @abstractmethod
    def events(self, since: str | None = None) -> Iterator[ChainEvent]:
        """Yield all entries behind a cursor (None: from the first), in order, and end at the newest."""


class Signs(ABC):
    """A chain that says whose records it writes."""

    @abstractmethod
    def signer(self) -> str:
        """Return the public key by which records name whoever this instance signs as; raises ConfigError for none."""


class HasHead(ABC):
    """A chain that its owner alone holds and could rewrite: whoever relies on it keeps its head, and finds that."""

    @abstractmethod
    def head(self) -> LedgerHead:
        """Return the head to keep, and to countersign."""

    @abstractmethod
    def verify(self, head: LedgerHead | SignedHead | None = None) -> LedgerReport:
        """Check every entry, and that what was kept still stands; raises ChainError that names what is wrong."""


class ChecksProofs(ABC):
    """A chain whose contracts check proofs themselves; it is handed the whole bundle, not only the record of it."""

    @abstractmethod
    def submit_checked(self, record: ProofRecord, bundle: Bundle, *, key: str) -> ChainRef:
        """Publish a proof and have it checked; raises InvalidProof where the contract refuses it.

        Where no contract knows the bundle's proof system it is published as `submit` does, and stays `submitted`.
        """

    @abstractmethod
    def examine(self, record: ProofRecord, bundle: Bundle) -> bool:
        """Say whether what checked this proof is known here: a contract for the bundle's proof system, with its key.

        Raises InvalidProof where it is another one. False where nothing here exports contracts to compare with.
        Whoever registers a model on a chain names the contract that checks its proofs, and could name one that always
        says yes.
        """


@dataclass(frozen=True)
class OnchainCost:
    """What having a contract check a proof takes, in gas; `calldata` in bytes."""

    deploy: int
    """The contracts that verify, once for each chain."""
    circuit: int
    """Telling them of a circuit, once for each registration."""
    verify: int
    """One proof."""
    calldata: int


class TriesOnchain(ABC):
    """A chain that can try what publishing would cost, on a chain of its own in this process."""

    @classmethod
    @abstractmethod
    def onchain_cost(cls, record: ProofRecord, bundle: Bundle) -> OnchainCost:
        """Return what having this proof checked takes; nothing is sent anywhere.

        Raises UnsupportedModel where no contract of this chain checks such proofs, InvalidProof where it says no.
        """


class SupportsClaims(ABC):
    """A chain that holds claims: answers with a bond and no proof, until somebody demands it.

    docs/chain-states.md has the rules. Writing calls take an idempotency key as a chain's others do. On a chain with
    money, `claim` and `challenge` pay the bonds that the claim names.
    """

    @abstractmethod
    def claim(self, claim: Claim, *, key: str) -> ChainRef:
        """Open a claim on an answer under an active registration; only its provider can."""

    @abstractmethod
    def challenge(self, challenge: Challenge, *, key: str) -> ChainRef:
        """Demand the proof of a claim; raises Rejected when the time for it has passed."""

    @abstractmethod
    def answer(self, answer: Answer, *, key: str) -> ChainRef:
        """Close a challenged claim whose statement has been proven on this chain, in time.

        A chain that checks proofs closes the claim with the proof; it gives the reference of that entry then.
        """

    @abstractmethod
    def settle(self, settlement: Settlement, *, key: str) -> ChainRef:
        """Close a claim whose deadline has passed: final, or lost to its challenger; raises Rejected before that."""

    @abstractmethod
    def withdraw(self, withdrawal: Withdrawal, *, key: str) -> ChainRef:
        """Take what the account is owed; raises Rejected for more than that."""

    @abstractmethod
    def claimed(self, proof_id: str) -> ClaimState:
        """Return a claim and how it stands; raises Rejected for an unknown one."""

    @abstractmethod
    def owed(self, account: str) -> int:
        """Return what an account can withdraw, in the chain's smallest unit."""

    @abstractmethod
    def withdrawals(self, account: str) -> int:
        """Return how many times an account has withdrawn; the next withdrawal has the number that follows."""
