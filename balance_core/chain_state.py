"""What a chain's entries amount to: one pure function from a state and an event to the next state.

docs/chain-states.md is the specification. Every chain, the embedded ledger and a contract alike, reaches the state
that `reduce` reaches, and refuses what it refuses. Nothing here reads a clock, a file or another chain: what time it
is, and whether the chain checked a proof, the chain says with the event. The rules of claims are in `claim_state`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from balance_core import canonical
from balance_core.chain import Attestation, ChainRecord, ProofRecord, Revocation, Standing, Verification
from balance_core.claim_state import decide_claim, is_proof_of_claim
from balance_core.errors import Rejected
from balance_core.records import Registration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from balance_core.claim_state import ClaimState


@dataclass(frozen=True)
class Event:
    """A record and the key that put it on the chain, as the chain authenticated it."""

    record: ChainRecord
    signer: str
    time: int = 0
    """When the chain ordered it, in seconds; it never goes back. 0 on a chain that says so only where it matters."""
    checked: bool = False
    """Whether the chain has just checked the proof that a Verification tells of."""

    @property
    def event_id(self) -> bytes:
        """The digest that tells a repetition from something new."""
        return bytes.fromhex(canonical.digest("event/1", self.record.digest.encode(), self.signer.encode()))


class Verdict(StrEnum):
    """One validator's word on one proof."""

    VALID = "valid"
    INVALID = "invalid"
    EQUIVOCATED = "equivocated"
    """It signed both: evidence against it, and no word on the proof."""


class ProofStatus(StrEnum):
    """What the chain, or else named validators, make of a proof. Only `verified` means that the chain checked it."""

    SUBMITTED = "submitted"
    ATTESTED = "attested"
    DISPUTED = "disputed"
    VERIFIED = "verified"


@dataclass(frozen=True)
class RegistrationState:
    """A registration and how it stands."""

    registration: Registration
    line: str
    """The registration_id of the line's first version."""
    standing: Standing
    position: int
    """The event that gave it force (for a proposed one: that proposed it), counted from 1."""
    successor: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class ProofState:
    """A submitted proof and what validators said of it."""

    record: ProofRecord
    position: int
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    verified: bool = False
    """Whether the chain checked it."""

    def status(self, validators: Iterable[str], quorum: int = 1) -> ProofStatus:
        """Say how the proof stands for whoever trusts the named validators; what the chain checked needs no trust."""
        return ProofStatus.VERIFIED if self.verified else self._attested_by(validators, quorum)

    def is_attested(self, validators: Iterable[str], quorum: int) -> bool:
        """Say whether `quorum` of the named validators say valid, and none says invalid."""
        return self._attested_by(validators, quorum) is ProofStatus.ATTESTED

    def _attested_by(self, validators: Iterable[str], quorum: int) -> ProofStatus:
        """Say what the named validators amount to: one that says invalid disputes, `quorum` that say valid attest."""
        words = [self.verdicts[validator] for validator in set(validators) if validator in self.verdicts]
        if Verdict.INVALID in words:
            return ProofStatus.DISPUTED
        return ProofStatus.ATTESTED if words.count(Verdict.VALID) >= max(quorum, 1) else ProofStatus.SUBMITTED


@dataclass(frozen=True)
class State:
    """All that a chain's events amount to. A `State` also serves as a change: the entries that one event sets."""

    registrations: Mapping[str, RegistrationState] = field(default_factory=dict)
    """By registration_id."""
    lines: Mapping[str, str] = field(default_factory=dict)
    """The newest version in force of each line, by the line."""
    names: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """The line of each provider's name. Names belong to their provider, and are never free again."""
    proofs: Mapping[str, ProofState] = field(default_factory=dict)
    """By proof_id."""
    events: Mapping[bytes, int] = field(default_factory=dict)
    """The position of every event, by event_id."""
    claims: Mapping[str, ClaimState] = field(default_factory=dict)
    """By proof_id."""
    credits: Mapping[str, int] = field(default_factory=dict)
    """What each account can withdraw; under `claim_state.NOBODY`, what was burnt."""
    withdrawals: Mapping[str, int] = field(default_factory=dict)
    """How many times each account has withdrawn."""
    time: int = 0
    """That of the newest event that told one."""

    @property
    def length(self) -> int:
        """The number of events so far."""
        return len(self.events)

    def owner(self, line: str) -> str:
        """Return the key that a line belongs to: the provider of its newest version in force."""
        return self.registrations[self.lines[line]].registration.provider


def reduce(state: State, event: Event) -> State:
    """Return the state after an event; raises Rejected where the rules refuse it. A repetition changes nothing."""
    change = decide(state, event)
    return State(
        registrations={**state.registrations, **change.registrations},
        lines={**state.lines, **change.lines},
        names={**state.names, **change.names},
        proofs={**state.proofs, **change.proofs},
        events={**state.events, **change.events},
        claims={**state.claims, **change.claims},
        credits={**state.credits, **change.credits},
        withdrawals={**state.withdrawals, **change.withdrawals},
        time=max(state.time, change.time),
    )


class Replay:
    """A state that grows event by event in constant time each: `reduce` would copy the whole for every one."""

    def __init__(self) -> None:
        self._registrations: dict[str, RegistrationState] = {}
        self._lines: dict[str, str] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._proofs: dict[str, ProofState] = {}
        self._events: dict[bytes, int] = {}
        self._claims: dict[str, ClaimState] = {}
        self._credits: dict[str, int] = {}
        self._withdrawals: dict[str, int] = {}
        self.state = self._view(time=0)
        """A live view, but for its time: take it anew after each event."""

    def apply(self, change: State) -> None:
        """Take over what `decide` returned."""
        self._registrations.update(change.registrations)
        self._lines.update(change.lines)
        self._names.update(change.names)
        self._proofs.update(change.proofs)
        self._events.update(change.events)
        self._claims.update(change.claims)
        self._credits.update(change.credits)
        self._withdrawals.update(change.withdrawals)
        if change.time > self.state.time:
            self.state = self._view(change.time)

    def _view(self, time: int) -> State:
        return State(
            MappingProxyType(self._registrations),
            MappingProxyType(self._lines),
            MappingProxyType(self._names),
            MappingProxyType(self._proofs),
            MappingProxyType(self._events),
            MappingProxyType(self._claims),
            MappingProxyType(self._credits),
            MappingProxyType(self._withdrawals),
            time,
        )


def vouched(state: State, registration_id: str, where: str) -> Registration:
    """Return a registration that its provider stands behind: active, or superseded and good for old proofs.

    Raises Rejected for any other, saying how it stands; `where` names the chain in the message.
    """
    found = state.registrations.get(registration_id)
    if found is None:
        raise Rejected(f"registration {registration_id[:80]!r} is not on {where}")
    if found.standing is Standing.REVOKED:
        reason = f": {found.reason}" if found.reason else ""
        raise Rejected(f"registration {registration_id} was revoked{reason}", hint="ask its provider for a new one")
    if found.standing is Standing.PROPOSED:
        raise Rejected(
            f"registration {registration_id} is proposed and not yet accepted by {found.registration.provider}",
            hint="its new provider registers it too",
        )
    return found.registration


def decide(state: State, event: Event) -> State:
    """Return what an event changes, as the entries it sets; raises Rejected. An empty change is a repetition."""
    record = event.record
    if event.event_id in state.events:
        if isinstance(record, Registration):
            _refuse_revoked(state, record)
        return State()
    if isinstance(record, Registration):
        change = _register(state, record, event.signer)
    elif isinstance(record, Revocation):
        change = _revoke(state, record, event.signer)
    elif isinstance(record, ProofRecord):
        change = _submit(state, record, event.signer)
    elif isinstance(record, Attestation):
        change = _attest(state, record, event.signer)
    elif isinstance(record, Verification):
        change = _verify(state, record, checked=event.checked)
    else:
        claims = decide_claim(state, event, record)
        change = State(claims=claims.claims, credits=claims.credits, withdrawals=claims.withdrawals)
    return replace(change, events={event.event_id: state.length + 1}, time=event.time)


def _refuse_revoked(state: State, record: Registration) -> None:
    """A repetition must not look like a success where the registration has been taken back since."""
    if state.registrations[record.registration_id].standing is Standing.REVOKED:
        raise Rejected(
            f"registration {record.registration_id} has been revoked",
            hint="revocation is final: register a new version or a new name",
        )


def _register(state: State, new: Registration, signer: str) -> State:
    if new.previous is None:
        return _register_first(state, new, signer)
    known = state.registrations.get(new.registration_id)
    if known is not None and known.standing is not Standing.PROPOSED:
        raise Rejected(f"registration {new.registration_id} is on the chain already, {known.standing}")
    previous = _known(state, new.previous)
    _check_next_version(previous, new)
    _check_name_is_free(state, new, line=previous.line)
    owner = previous.registration.provider
    if signer not in {owner, new.provider}:
        raise Rejected(
            f"version {new.version} of {new.name!r} must be signed by {owner}, the key of the version before"
        )
    if known is None and signer != owner:
        raise Rejected(
            f"version {new.version} of {new.name!r} was not offered by {owner}, the key of the version before",
            hint="a key is rotated in two steps: the old key registers the new version, then the new key does",
        )
    position = state.length + 1
    if signer != new.provider:
        proposed = RegistrationState(new, previous.line, Standing.PROPOSED, position)
        return State(registrations={new.registration_id: proposed})
    return State(
        registrations={
            new.registration_id: RegistrationState(new, previous.line, Standing.ACTIVE, position),
            new.previous: replace(previous, standing=Standing.SUPERSEDED, successor=new.registration_id),
        },
        lines={previous.line: new.registration_id},
        names={(new.provider, new.name): previous.line},
    )


def _register_first(state: State, new: Registration, signer: str) -> State:
    if new.version != 1:
        raise Rejected(
            f"version {new.version} of {new.name!r} names no previous registration",
            hint="a first version has number 1",
        )
    if signer != new.provider:
        raise Rejected(f"{new.name!r} must be signed by the provider that it names, {new.provider}")
    _check_name_is_free(state, new, line=None)
    line = new.registration_id
    return State(
        registrations={line: RegistrationState(new, line, Standing.ACTIVE, state.length + 1)},
        lines={line: line},
        names={(new.provider, new.name): line},
    )


def _check_next_version(previous: RegistrationState, new: Registration) -> None:
    old = previous.registration
    if previous.standing is not Standing.ACTIVE:
        mends = {
            Standing.PROPOSED: "its new provider must accept it first",
            Standing.SUPERSEDED: f"name its newest version as previous: {previous.successor}",
            Standing.REVOKED: "a revoked newest version ends its line: register a new name",
        }
        raise Rejected(
            f"the previous version {new.previous} of {new.name!r} is {previous.standing}",
            hint=mends[previous.standing],
        )
    if new.name != old.name:
        raise Rejected(f"a version of {old.name!r} cannot be called {new.name!r}")
    if new.version != old.version + 1:
        raise Rejected(f"version {new.version} of {new.name!r} cannot follow version {old.version}")


def _check_name_is_free(state: State, new: Registration, *, line: str | None) -> None:
    taken = state.names.get((new.provider, new.name))
    if taken is not None and taken != line:
        newest = state.registrations[state.lines[taken]]
        active = newest.standing is Standing.ACTIVE
        raise Rejected(
            f"the provider {new.provider} has registered the name {new.name!r} already",
            hint=f"register version {newest.registration.version + 1} with previous={state.lines[taken]}"
            if active
            else "its line has ended: choose another name",
        )


def _revoke(state: State, revocation: Revocation, signer: str) -> State:
    target = _known(state, revocation.registration_id)
    allowed = {state.owner(target.line)}
    if target.standing is Standing.PROPOSED:
        allowed.add(target.registration.provider)
    if signer not in allowed:
        raise Rejected(
            f"registration {revocation.registration_id} can be revoked only by the key of its newest version, "
            f"{state.owner(target.line)}"
        )
    if target.standing is Standing.REVOKED:
        raise Rejected(f"registration {revocation.registration_id} is revoked already")
    revoked = replace(target, standing=Standing.REVOKED, reason=revocation.reason)
    return State(registrations={revocation.registration_id: revoked})


def _submit(state: State, record: ProofRecord, signer: str) -> State:
    found = _known(state, record.registration_id)
    if not is_proof_of_claim(state, record) and found.standing is not Standing.ACTIVE:
        newest = f"; its successor is {found.successor}" if found.successor else ""
        raise Rejected(f"registration {record.registration_id} is {found.standing} and takes no proofs{newest}")
    if signer != found.registration.provider:
        raise Rejected(
            f"a proof of {record.registration_id} must be signed by its provider {found.registration.provider}"
        )
    if record.proof_id in state.proofs:
        raise Rejected(
            f"the answer {record.proof_id} (registration, inputs and context) has been proven in event "
            f"{state.proofs[record.proof_id].position}, by another bundle or with another statement",
            hint="an answer counts once: a new request has a context of its own",
        )
    return State(proofs={record.proof_id: ProofState(record, state.length + 1)})


def _attest(state: State, attestation: Attestation, signer: str) -> State:
    if signer != attestation.validator:
        raise Rejected(f"an attestation of {attestation.validator} must be signed by that key, not by {signer}")
    proof = _submitted(state, attestation.proof_id, attestation.statement_digest)
    verdict = Verdict.VALID if attestation.valid else Verdict.INVALID
    if attestation.validator in proof.verdicts:
        # Not a repetition, so it contradicts the first word.
        verdict = Verdict.EQUIVOCATED
    verdicts = {**proof.verdicts, attestation.validator: verdict}
    return State(proofs={attestation.proof_id: replace(proof, verdicts=verdicts)})


def _verify(state: State, record: Verification, *, checked: bool) -> State:
    if not checked:
        raise Rejected("this chain checks no proofs itself", hint="validators attest what they verified: `attest`")
    proof = _submitted(state, record.proof_id, record.statement_digest)
    if proof.verified:
        raise Rejected(f"the proof {record.proof_id} has been verified already")
    return State(proofs={record.proof_id: replace(proof, verified=True)})


def _submitted(state: State, proof_id: str, statement_digest: str) -> ProofState:
    proof = state.proofs.get(proof_id)
    if proof is None:
        raise Rejected(f"the proof {proof_id} has not been submitted")
    if statement_digest != proof.record.statement_digest:
        raise Rejected(f"the proof {proof_id} was submitted for another statement than this one")
    return proof


def _known(state: State, registration_id: str) -> RegistrationState:
    found = state.registrations.get(registration_id)
    if found is None:
        raise Rejected(f"registration {registration_id} is not on this chain")
    return found
