"""An honest chain that holds claims, and others that cheat with them, each in one way."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from honest_chain import HonestChain, parsed

from balance_core.chain import Answer, Challenge, Claim, ProofRecord, Revocation, Settlement
from balance_core.chain_state import ProofState, reduce
from balance_core.claim_state import burnt_part
from balance_core.contracts import SupportsClaims
from balance_core.errors import Rejected
from balance_core.workspace import Workspace

START, WINDOW = 1_800_000_000, 100


def pass_time(town: Any, seconds: int) -> None:
    """Move the clock of the chain at a place."""
    clock = town.place / "clock"
    clock.write_text(str(now(clock) + seconds))


def now(clock: Any) -> int:
    return int(clock.read_text()) if clock.exists() else START


class HonestClaims(HonestChain, SupportsClaims):
    """Entries that say when they were written."""

    def event(self, line):
        return replace(parsed(json.dumps(line)), time=line["time"])

    def write(self, record, call):
        super().write(record, call)
        lines = self.file.read_text().splitlines()
        last = {**json.loads(lines[-1]), "time": self.clock()}
        self.file.write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")

    def reduce(self, state, event):
        return reduce(state, self.timed(event))

    def timed(self, event):
        return event if event.time else replace(event, time=self.clock())

    def clock(self):
        return now(Workspace.default().root / "clock")

    def claim(self, claim, *, key):
        return self.append(claim, key)

    def challenge(self, challenge, *, key):
        return self.append(challenge, key)

    def answer(self, answer, *, key):
        return self.append(answer, key)

    def settle(self, settlement, *, key):
        return self.append(settlement, key)

    def withdraw(self, withdrawal, *, key):
        return self.append(withdrawal, key)

    def claimed(self, proof_id):
        found = self.state(self.lines()).claims.get(proof_id)
        if found is None:
            raise Rejected("not claimed")
        return found

    def owed(self, account):
        return self.state(self.lines()).credits.get(account, 0)

    def withdrawals(self, account):
        return self.state(self.lines()).withdrawals.get(account, 0)


CHEATS: list[tuple[type[HonestClaims], frozenset[str]]] = []


def caught_by(*cases: str) -> Any:
    def enter(cheat: type[HonestClaims]) -> type[HonestClaims]:
        CHEATS.append((cheat, frozenset(cases)))
        return cheat

    return enter


@caught_by("unchallenged_claim_becomes_final", "answered_claim_costs_the_challenger", "what_is_owed_is_paid_once")
class SettlesAtOnce(HonestClaims):
    """A claim is settled when somebody asks for it."""

    def timed(self, event):
        event = super().timed(event)
        return replace(event, time=event.time + WINDOW) if isinstance(event.record, Settlement) else event


@caught_by("unchallenged_claim_becomes_final")
class ChallengesForEver(HonestClaims):
    """A challenge is never too late."""

    def timed(self, event):
        event = super().timed(event)
        return replace(event, time=START) if isinstance(event.record, Challenge) else event


@caught_by("answered_claim_costs_the_challenger")
class BelievesAnswers(HonestClaims):
    """An answer needs no proof."""

    def reduce(self, state, event):
        if isinstance(event.record, Answer) and event.record.proof_id in state.claims:
            state = self.as_if_proven(state, event.record.proof_id)
        return super().reduce(state, event)

    def as_if_proven(self, state, proof_id):
        claim = state.claims[proof_id].claim
        told = {name: getattr(claim, name) for name in ("registration_id", "context", "inputs_digest")}
        record = ProofRecord(**told, statement_digest=claim.statement_digest, bundle=claim.content)
        proven = ProofState(record, state.length, verified=True)
        return replace(state, proofs={**state.proofs, proof_id: proven})


@caught_by("unanswered_claim_is_slashed")
class BurnsNothing(HonestClaims):
    """The challenger gets all of a lost bond."""

    def owed(self, account):
        owed = super().owed(account)
        return owed + burnt_part(1001) if owed == 400 + 501 else owed


@caught_by("what_is_owed_is_paid_once")
class PaysAgain(HonestClaims):
    """What was withdrawn is still owed."""

    def owed(self, account):
        state = self.state(self.lines())
        return state.credits.get(account, 0) + 1001 * state.withdrawals.get(account, 0)


@caught_by("only_the_provider_claims")
class TakesAnybodysClaim(HonestClaims):
    """Whoever signs a claim, it is the provider's."""

    def reduce(self, state, event):
        if isinstance(event.record, Claim) and event.record.registration_id in state.registrations:
            provider = state.registrations[event.record.registration_id].registration.provider
            event = replace(event, signer=provider)
        return super().reduce(state, event)


@caught_by("claim_outlives_its_registration")
class DropsClaimsOfRevoked(HonestClaims):
    """Nothing can be proven under a revoked registration any more."""

    def reduce(self, state, event):
        revoked = {line["record"]["registration_id"] for line in self.lines() if line["kind"] == Revocation.kind}
        if getattr(event.record, "bundle", None) and event.record.registration_id in revoked and not event.time:
            raise Rejected("revoked")
        return super().reduce(state, event)


@caught_by("claim_comes_back")
class AltersClaims(HonestClaims):
    """What comes back is nearly what was claimed."""

    def claimed(self, proof_id):
        found = super().claimed(proof_id)
        return replace(found, claim=found.claim.model_copy(update={"answer_seconds": 1}))
