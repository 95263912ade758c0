"""Who writes to a chain under test, and what they write."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from balance_core import cid
from balance_core.chain import (
    RECORD_KINDS,
    Answer,
    Attestation,
    ChainRef,
    Challenge,
    Claim,
    Finality,
    ProofRecord,
    Revocation,
    Settlement,
    Withdrawal,
)
from balance_core.contracts import SupportsClaims
from balance_core.errors import Rejected
from balance_core.records import Registration, SetupTrust, Trust

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from balance_core.chain import ChainEvent, ChainRecord
    from balance_core.chain_state import State
    from balance_core.contracts import ChainAdapter
    from balance_core.testing.chain import ChainConformance

PEOPLE = ("alice", "bob", "carol")
"""Who writes to the chain in the cases."""
_SETTLE_SECONDS = 60.0


@dataclass
class Town:
    """A chain and those who write to it."""

    case: ChainConformance
    place: Path
    keys: dict[str, str] = field(default_factory=dict)
    opened: list[ChainAdapter] = field(default_factory=list)
    calls: int = 0

    def __post_init__(self) -> None:
        self.keys = {who: self.case.public_key(self.place, who) for who in PEOPLE}
        self.chains = {who: self.open(who) for who in PEOPLE}

    def open(self, who: str = "alice") -> ChainAdapter:
        """Return a new instance that signs as somebody."""
        chain: ChainAdapter = self.case.make(**self.case.place_settings(self.place, who))
        self.opened.append(chain)
        return chain

    def close(self) -> None:
        """Let go of everything, in whatever way the instances offer."""
        for chain in self.opened:
            close = getattr(chain, "close", None)
            if close is not None:
                close()

    def registration(self, who: str = "alice", **changes: Any) -> Registration:
        """Return the first version of somebody's model, with changes."""
        values: dict[str, Any] = {
            "name": "digits",
            "backend": "kit",
            "backend_version": "1",
            "circuit_id": "c1" * 32,
            "setup_trust": SetupTrust(trust=Trust.TRANSPARENT),
            "provider": self.keys[who],
        }
        return Registration(**{**values, **changes})

    def next_version(self, of: Registration, **changes: Any) -> Registration:
        """Return the version that follows, with changes."""
        values = {"version": of.version + 1, "previous": of.registration_id, "circuit_id": "c2" * 32}
        return of.model_copy(update={**values, **changes})

    def proof(self, of: Registration, number: int = 0, **changes: Any) -> ProofRecord:
        """Return a proof under a registration, for one of many requests."""
        values: dict[str, Any] = {
            "registration_id": of.registration_id,
            "context": f"{number:064x}",
            "inputs_digest": "a1" * 32,
            "statement_digest": "b1" * 32,
            "bundle": cid.of_bytes(b"bundle %d" % number),
        }
        return ProofRecord(**{**values, **changes})

    def attestation(self, record: ProofRecord, who: str, *, valid: bool = True, **changes: Any) -> Attestation:
        """Return somebody's word on a proof."""
        values: dict[str, Any] = {
            "proof_id": record.proof_id,
            "statement_digest": record.statement_digest,
            "valid": valid,
            "validator": self.keys[who],
        }
        return Attestation(**{**values, **changes})

    def claim(self, record: ProofRecord, **changes: Any) -> Claim:
        """Return a claim of what a proof would say, with changes."""
        values: dict[str, Any] = {
            "registration_id": record.registration_id,
            "context": record.context,
            "inputs_digest": record.inputs_digest,
            "statement_digest": record.statement_digest,
            "content": record.bundle,
            "bond": 1001,
            "challenge_bond": 400,
            "challenge_seconds": 1000,
            "answer_seconds": 2000,
        }
        return Claim(**{**values, **changes})

    def put(self, record: ChainRecord, who: str = "alice", *, key: str | None = None) -> ChainRef:
        """Publish a record as somebody, under a new idempotency key unless one is given, and wait until it stands."""
        self.calls += 1
        ref = write(self.chains[who], record, key or f"call-{self.calls}")
        self.settle(ref)
        return ref

    def settle(self, ref: ChainRef) -> None:
        """Wait until an entry is no longer pending."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while self.chains["alice"].status(ref) is Finality.PENDING:
            assert time.monotonic() < deadline, "the entry stays pending"
            time.sleep(0.05)

    def records(self, who: str = "bob") -> list[tuple[ChainRecord, str]]:
        """Return what the chain holds, with the signers."""
        return [told(event) for event in self.entries(who)]

    def entries(self, who: str = "bob", since: str | None = None) -> list[ChainEvent]:
        """Return the events that put a record on the chain."""
        return [event for event in self.chains[who].events(since) if event.type not in {"verified", "reverted"}]

    def rejects(self, record: ChainRecord, who: str = "alice", *, key: str | None = None) -> None:
        """Assert that a record is Rejected and leaves no trace."""
        before = self.records()
        with pytest.raises(Rejected):
            self.put(record, who, key=key)
        assert self.records() == before, "a rejected record is on the chain"


def write(chain: ChainAdapter, record: ChainRecord, key: str) -> ChainRef:
    """Publish a record by the call that is meant for it."""
    if isinstance(record, Registration):
        return chain.register(record, key=key)
    if isinstance(record, Revocation):
        return chain.revoke(record, key=key)
    if isinstance(record, ProofRecord):
        return chain.submit(record, key=key)
    if isinstance(record, Attestation):
        return chain.attest(record, key=key)
    assert isinstance(chain, SupportsClaims), f"this chain takes no {record.kind}"
    return _write_claim(chain, record, key)


def _write_claim(chain: SupportsClaims, record: ChainRecord, key: str) -> ChainRef:
    if isinstance(record, Claim):
        return chain.claim(record, key=key)
    if isinstance(record, Challenge):
        return chain.challenge(record, key=key)
    if isinstance(record, Answer):
        return chain.answer(record, key=key)
    if isinstance(record, Settlement):
        return chain.settle(record, key=key)
    assert isinstance(record, Withdrawal), f"nobody but the chain itself writes a {record.kind}"
    return chain.withdraw(record, key=key)


def told(event: ChainEvent) -> tuple[ChainRecord, str]:
    """Return the record that an event tells of, and who put it there."""
    return RECORD_KINDS[event.record_kind].from_value(event.record), event.signer


def fill(town: Town) -> list[ChainRecord]:
    """Put one record of each kind on the chain, and more, and return them in order."""
    registration = town.registration()
    proof = town.proof(registration)
    records: list[tuple[ChainRecord, str]] = [
        (registration, "alice"),
        (proof, "alice"),
        (town.attestation(proof, "bob"), "bob"),
        (town.registration("carol"), "carol"),
        (town.next_version(registration), "alice"),
        (Revocation(registration_id=registration.registration_id), "alice"),
    ]
    for record, who in records:
        town.put(record, who)
    return [record for record, _ in records]


def guess(town: Town, state: State, random: np.random.Generator) -> ChainRecord:
    """Return a record that is likely to be taken, or nearly."""

    def pick(values: Any) -> Any:
        values = list(values)
        return values[random.integers(len(values))]

    choice = random.integers(8)
    known = [found.registration for found in state.registrations.values()]
    proofs = [found.record for found in state.proofs.values()]
    if choice == 0 or not known:
        return town.registration(pick(PEOPLE), name=pick(("digits", "faces", "letters", "words")))
    if choice in {1, 2}:
        of = pick(known)
        provider = of.provider if random.random() < 0.6 else town.keys[pick(PEOPLE)]
        return town.next_version(of, provider=provider, circuit_id=pick(("c2", "c3")) * 32)
    if choice == 3:
        return pick(known)  # type: ignore[no-any-return]
    if choice == 4 and random.random() < 0.3:
        return Revocation(registration_id=pick(known).registration_id)
    if choice == 5 and proofs:
        return town.attestation(pick(proofs), pick(PEOPLE), valid=bool(random.integers(2)))
    return town.proof(pick(known), int(random.integers(6)))
