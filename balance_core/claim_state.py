"""The rules of claims, as part of `chain_state`: who may do what until when, and who is owed what then.

A claim is an answer with a bond and no proof. In time, anybody can demand the proof, with a bond of his own; the
claim is then answered by a proof that the chain checked (or that judges named in the claim attest), or the bond lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from balance_core.chain import Answer, Challenge, Claim, Settlement, Standing
from balance_core.errors import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from balance_core.chain import ClaimRecord, ProofRecord, Withdrawal
    from balance_core.chain_state import Event, State

NOBODY = "0" * 64
"""Who is owed what is burnt. It is no Ed25519 key that anything is accepted from, and no account's."""


class ClaimStatus(StrEnum):
    """How a claim stands. None of these is `verified`: an answered claim's proof has a status of its own."""

    CLAIMED = "claimed"
    CHALLENGED = "challenged"
    ANSWERED = "answered"
    SLASHED = "slashed"
    FINAL_UNCHALLENGED = "final-unchallenged"
    """Nobody demanded a proof in time. It says how long the claim stood, and not that it is true."""


@dataclass(frozen=True)
class ClaimState:
    """A claim and how it stands."""

    claim: Claim
    status: ClaimStatus
    position: int
    """The event that opened it, counted from 1."""
    deadline: int
    """While claimed: until when it can be challenged; from the challenge on: until when it could be answered.

    An act is in time strictly before; from then on the claim can be settled. In seconds, by the chain's time.
    """
    challenger: str | None = None


@dataclass(frozen=True)
class ClaimChange:
    """The entries that one event sets."""

    claims: Mapping[str, ClaimState] = field(default_factory=dict)
    credits: Mapping[str, int] = field(default_factory=dict)
    withdrawals: Mapping[str, int] = field(default_factory=dict)


def decide_claim(state: State, event: Event, record: ClaimRecord) -> ClaimChange:
    """Return what a claim's event changes; raises Rejected."""
    if event.time < state.time:
        raise Rejected(
            f"the event's time {event.time} lies before {state.time}, that of an earlier one",
            hint="a chain's time does not go back: check the clock of whoever writes",
        )
    if isinstance(record, Claim):
        return _open(state, event, record)
    if isinstance(record, Challenge):
        return _challenge(state, event, record)
    if isinstance(record, Answer):
        return _answer(state, event, record)
    if isinstance(record, Settlement):
        return _settle(state, event, record)
    return _withdraw(state, event.signer, record)


def is_proven(state: State, claim: Claim) -> bool:
    """Say whether the claimed statement has a proof that the chain checked, or that the claim's judges attest."""
    proof = state.proofs.get(claim.proof_id)
    if proof is None or proof.record.statement_digest != claim.statement_digest:
        return False
    return proof.verified or (bool(claim.judges) and proof.is_attested(claim.judges, claim.quorum))


def is_proof_of_claim(state: State, record: ProofRecord) -> bool:
    """Say whether a proof is that of a claim, and so is taken even when its registration has been replaced.

    Raises Rejected for a proof of another statement than the claimed one: it could never answer for it.
    """
    found = state.claims.get(record.proof_id)
    if found is None:
        return False
    if found.claim.statement_digest != record.statement_digest:
        raise Rejected(
            f"the answer {record.proof_id} was claimed in event {found.position} with another statement",
            hint="prove the statement that was claimed",
        )
    return True


def burnt_part(bond: int) -> int:
    """Return how much of a lost bond nobody gets: half, so that to challenge oneself before others do is not free."""
    return bond // 2


def _open(state: State, event: Event, claim: Claim) -> ClaimChange:
    found = state.registrations.get(claim.registration_id)
    if found is None:
        raise Rejected(f"registration {claim.registration_id} is not on this chain")
    if found.standing is not Standing.ACTIVE:
        raise Rejected(f"registration {claim.registration_id} is {found.standing} and takes no claims")
    if event.signer != found.registration.provider:
        raise Rejected(
            f"a claim under {claim.registration_id} must be signed by its provider {found.registration.provider}"
        )
    if claim.proof_id in state.claims:
        raise Rejected(
            f"the answer {claim.proof_id} has been claimed in event {state.claims[claim.proof_id].position}",
            hint="an answer counts once: a new request has a context of its own",
        )
    proof = state.proofs.get(claim.proof_id)
    if proof is not None and proof.record.statement_digest != claim.statement_digest:
        raise Rejected(f"the answer {claim.proof_id} was submitted with another statement")
    if is_proven(state, claim):
        raise Rejected(f"the answer {claim.proof_id} has been proven: there is nothing to claim")
    deadline = event.time + claim.challenge_seconds
    opened = ClaimState(claim, ClaimStatus.CLAIMED, state.length + 1, deadline)
    return ClaimChange(claims={claim.proof_id: opened})


def _challenge(state: State, event: Event, record: Challenge) -> ClaimChange:
    if event.signer != record.challenger:
        raise Rejected(f"a challenge by {record.challenger} must be signed by that key, not by {event.signer}")
    found = _expect(state, record.proof_id, ClaimStatus.CLAIMED)
    if event.time >= found.deadline:
        raise Rejected(
            f"the claim {record.proof_id} could be challenged before {found.deadline}, and it is {event.time}"
        )
    if is_proven(state, found.claim):
        raise Rejected(f"the claim {record.proof_id} has been proven: a challenge would be lost")
    challenged = replace(
        found,
        status=ClaimStatus.CHALLENGED,
        challenger=record.challenger,
        deadline=event.time + found.claim.answer_seconds,
    )
    return ClaimChange(claims={record.proof_id: challenged})


def _answer(state: State, event: Event, record: Answer) -> ClaimChange:
    found = _expect(state, record.proof_id, ClaimStatus.CHALLENGED)
    if event.time >= found.deadline:
        raise Rejected(
            f"the claim {record.proof_id} could be answered before {found.deadline}, and it is {event.time}"
        )
    if not is_proven(state, found.claim):
        raise Rejected(
            f"the claim {record.proof_id} has not been proven on this chain",
            hint="submit its proof first; on a chain that checks none, the claim's judges attest it then",
        )
    claim = found.claim
    return ClaimChange(
        claims={record.proof_id: replace(found, status=ClaimStatus.ANSWERED)},
        credits=_credited(state, (_claimant(state, claim), claim.bond + claim.challenge_bond)),
    )


def _settle(state: State, event: Event, record: Settlement) -> ClaimChange:
    found = _expect(state, record.proof_id, ClaimStatus.CLAIMED, ClaimStatus.CHALLENGED)
    if event.time < found.deadline:
        raise Rejected(f"the claim {record.proof_id} can be settled from {found.deadline} on, and it is {event.time}")
    claim = found.claim
    if found.challenger is None:
        final = replace(found, status=ClaimStatus.FINAL_UNCHALLENGED)
        owed = _credited(state, (_claimant(state, claim), claim.bond))
        return ClaimChange(claims={record.proof_id: final}, credits=owed)
    burnt = burnt_part(claim.bond)
    return ClaimChange(
        claims={record.proof_id: replace(found, status=ClaimStatus.SLASHED)},
        credits=_credited(state, (found.challenger, claim.challenge_bond + claim.bond - burnt), (NOBODY, burnt)),
    )


def _withdraw(state: State, signer: str, record: Withdrawal) -> ClaimChange:
    if signer != record.account or signer == NOBODY:
        raise Rejected(f"what {record.account} is owed can be taken by that key only, not by {signer}")
    number, owed = state.withdrawals.get(signer, 0) + 1, state.credits.get(signer, 0)
    if record.number != number:
        raise Rejected(f"the next withdrawal of {signer} has number {number}, not {record.number}")
    if record.amount > owed:
        raise Rejected(f"{signer} is owed {owed}, and asks for {record.amount}")
    return ClaimChange(credits={signer: owed - record.amount}, withdrawals={signer: number})


def _expect(state: State, proof_id: str, *expected: ClaimStatus) -> ClaimState:
    found = state.claims.get(proof_id)
    if found is None:
        raise Rejected(f"the answer {proof_id} has not been claimed")
    if found.status not in expected:
        raise Rejected(f"the claim {proof_id} is {found.status}, and not {' or '.join(expected)}")
    return found


def _claimant(state: State, claim: Claim) -> str:
    return state.registrations[claim.registration_id].registration.provider


def _credited(state: State, *payments: tuple[str, int]) -> dict[str, int]:
    """Return the new credits after payments to different accounts."""
    return {account: state.credits.get(account, 0) + amount for account, amount in payments if amount}
