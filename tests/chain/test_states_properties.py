"""The invariants of docs/chain-states.md, under random events."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from balance_core import cid
from balance_core.chain import Attestation, ProofRecord, Revocation, Standing
from balance_core.chain_state import Event, Replay, State, Verdict, decide, reduce
from balance_core.errors import Rejected
from balance_core.records import Registration, SetupTrust, Trust

KEYS = st.sampled_from([letter * 64 for letter in "abc"])
NAMES = st.sampled_from(["mnist", "iris"])
PICK = st.integers(0, 2**16)
AFTER = {
    None: set(Standing) - {Standing.SUPERSEDED, Standing.REVOKED},
    Standing.PROPOSED: {Standing.PROPOSED, Standing.ACTIVE, Standing.REVOKED},
    Standing.ACTIVE: {Standing.ACTIVE, Standing.SUPERSEDED, Standing.REVOKED},
    Standing.SUPERSEDED: {Standing.SUPERSEDED, Standing.REVOKED},
    Standing.REVOKED: {Standing.REVOKED},
}


class Chain(RuleBasedStateMachine):
    """Sends events, sensible and not, to the reducer, and keeps what it accepted."""

    def __init__(self):
        super().__init__()
        self.state = State()
        self.replay = Replay()
        self.accepted: list[Event] = []

    def send(self, record, signer: str) -> None:
        event = Event(record, signer)
        before = self.state
        try:
            self.state = reduce(before, event)
        except Rejected:
            return
        self.replay.apply(decide(self.replay.state, event))
        if self.state == before:
            assert event in self.accepted
            return
        assert event not in self.accepted
        self.accepted.append(event)
        self.check_step(before, event)

    def check_step(self, before: State, event: Event) -> None:
        """What one event may change."""
        for key, found in self.state.registrations.items():
            old = before.registrations.get(key)
            assert found.standing in AFTER[old.standing if old else None]
            assert old is None or (old.registration, old.line) == (found.registration, found.line)
        for pair, line in before.names.items():
            assert self.state.names[pair] == line
        for key, found in self.state.proofs.items():
            old = before.proofs.get(key)
            if old is None:
                assert before.registrations[found.record.registration_id].standing is Standing.ACTIVE
                assert event.signer == before.registrations[found.record.registration_id].registration.provider
            else:
                assert old.record == found.record
                for validator, verdict in old.verdicts.items():
                    assert found.verdicts[validator] in {verdict, Verdict.EQUIVOCATED}

    def pick(self, items, number: int):
        items = sorted(items)
        return items[number % len(items)] if items else "ee" * 32

    @rule(name=NAMES, provider=KEYS, signer=KEYS, circuit=st.sampled_from(["00" * 32, "11" * 32]))
    def register_first(self, name, provider, signer, circuit):
        self.send(self.registration(name, 1, provider, None, circuit), signer)

    @rule(number=PICK, provider=KEYS, by_owner=st.booleans(), signer=KEYS, step=st.sampled_from([1, 1, 1, 0, 2]))
    def register_next(self, number, provider, by_owner, signer, step):
        previous = self.pick(self.state.registrations, number)
        found = self.state.registrations.get(previous)
        name, version = (found.registration.name, found.registration.version) if found else ("mnist", 1)
        owner = self.state.owner(found.line) if found else signer
        version = max(version + step, 1)
        self.send(self.registration(name, version, provider, previous, "22" * 32), owner if by_owner else signer)

    @rule(number=PICK, signer=KEYS)
    def register_again(self, number, signer):
        found = self.state.registrations.get(self.pick(self.state.registrations, number))
        if found:
            self.send(found.registration, signer)

    @rule(number=PICK)
    def accept(self, number):
        waiting = [key for key, found in self.state.registrations.items() if found.standing is Standing.PROPOSED]
        if waiting:
            found = self.state.registrations[self.pick(waiting, number)].registration
            self.send(found, found.provider)

    @rule(number=PICK, signer=KEYS, reason=st.sampled_from(["", "why"]))
    def revoke(self, number, signer, reason):
        self.send(Revocation(registration_id=self.pick(self.state.registrations, number), reason=reason), signer)

    @rule(number=PICK, signer=KEYS, context=st.sampled_from(["00" * 32, "11" * 32]), statement=st.booleans())
    def submit(self, number, signer, context, statement):
        record = ProofRecord(
            registration_id=self.pick(self.state.registrations, number),
            context=context,
            inputs_digest="00" * 32,
            statement_digest=("00" if statement else "11") * 32,
            bundle=cid.of_bytes(b""),
        )
        self.send(record, signer)

    @rule(number=PICK, validator=KEYS, signer=KEYS, valid=st.booleans(), honest=st.booleans())
    def attest(self, number, validator, signer, valid, honest):
        proof_id = self.pick(self.state.proofs, number)
        found = self.state.proofs.get(proof_id)
        digest = found.record.statement_digest if found else "00" * 32
        record = Attestation(proof_id=proof_id, statement_digest=digest, valid=valid, validator=validator)
        self.send(record, validator if honest else signer)

    @staticmethod
    def registration(name, version, provider, previous, circuit):
        return Registration(
            name=name,
            version=version,
            backend="fake",
            backend_version="1",
            circuit_id=circuit,
            setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
            provider=provider,
            previous=previous,
        )

    @invariant()
    def lines_are_unbroken(self):
        signers = {}
        for event in self.accepted:
            signers.setdefault(event.record.digest, set()).add(event.signer)
        for line, newest in self.state.lines.items():
            found = self.state.registrations[newest]
            assert found.standing in {Standing.ACTIVE, Standing.REVOKED}
            while True:
                registration = found.registration
                assert found.line == line
                assert registration.provider in signers[registration.digest]
                assert self.state.names[registration.provider, registration.name] == line
                if registration.previous is None:
                    break
                before = self.state.registrations[registration.previous]
                assert before.standing in {Standing.SUPERSEDED, Standing.REVOKED}
                assert before.successor == registration.registration_id
                assert registration.version == before.registration.version + 1
                assert before.registration.provider in signers[registration.digest]
                found = before
            assert (found.registration.registration_id, found.registration.version) == (line, 1)
        in_force = {Standing.ACTIVE, Standing.SUPERSEDED}
        assert sum(found.standing is Standing.ACTIVE for found in self.state.registrations.values()) <= len(
            self.state.lines
        )
        for found in self.state.registrations.values():
            assert found.standing not in in_force or found.line in self.state.lines

    @invariant()
    def a_replay_gives_the_same(self):
        state = State()
        for event in self.accepted:
            state = reduce(state, event)
        assert state == self.state
        assert state.length == len(self.accepted)
        for field in ("registrations", "lines", "names", "proofs", "events"):
            assert dict(getattr(self.replay.state, field)) == getattr(state, field)


TestChain = Chain.TestCase
TestChain.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
