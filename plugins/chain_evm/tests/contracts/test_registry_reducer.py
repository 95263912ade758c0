"""The registry takes and refuses what the core's reducer does, and reaches the same state, under random events."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from balance_core.chain import Answer, Challenge, Revocation, Settlement, Standing, Verification, Withdrawal
from balance_core.chain_state import Event, ProofStatus, State, Verdict, reduce
from balance_core.claim_state import NOBODY, ClaimStatus
from balance_core.errors import Rejected

from .machine import Reverted
from .office import NOBODY as ZERO
from .office import Office, raw

PEOPLE = ("alice", "bob", "carol")
WHO = st.sampled_from(PEOPLE)
PICK = st.integers(0, 2**12)
MOSTLY = st.sampled_from([True, True, True, False])
NUMBER = st.integers(0, 2)
VALIDATORS = ("bob", "carol")
QUORUM = 2
STANDINGS = [None, Standing.PROPOSED, Standing.ACTIVE, Standing.SUPERSEDED, Standing.REVOKED]
STATUSES = [None, ProofStatus.SUBMITTED, ProofStatus.DISPUTED, ProofStatus.ATTESTED, ProofStatus.VERIFIED]
VERDICTS = [None, Verdict.VALID, Verdict.INVALID, Verdict.EQUIVOCATED]
CLAIMS = [None, *ClaimStatus]
OPEN = {ClaimStatus.CLAIMED, ClaimStatus.CHALLENGED}


class Both(RuleBasedStateMachine):
    """Every step goes to the reducer and to the contract."""

    oracle_code = b""

    def __init__(self):
        super().__init__()
        self.office = Office()
        self.oracle = self.office.machine.create(self.oracle_code)
        self.state = State()

    def send(self, events, act) -> None:
        """Events are records with who signs them; the contract does them all in one call, or none."""
        state = self.expected(events)
        if state is None:
            with pytest.raises(Reverted) as found:
                act()
            assert not found.value.name.startswith("0x"), f"not a refusal with a name: {found.value}"
            return
        told = act()
        assert [one.values["sequence"] for one in told] == list(range(self.state.length + 1, state.length + 1))
        self.state = state

    def expected(self, events) -> State | None:
        """Return the state after all events; None for a refusal or a repetition: the contract refuses both."""
        state = self.state
        for record, who in events:
            try:
                after = reduce(state, Event(record, self.office.key(who), self.office.machine.now, checked=True))
            except Rejected:
                return None
            if after.length == state.length:
                return None
            state = after
        return state

    def pick(self, items, number):
        items = list(items)
        return items[number % len(items)] if items else None

    def some_registration(self, number):
        """Return one, three times of four an active one."""
        every = self.state.registrations.values()
        active = [found for found in every if found.standing is Standing.ACTIVE]
        return self.pick(active if number % 4 and active else every, number // 4).registration

    def register(self, record, who):
        terms = {
            "verifier": self.oracle,
            "verifyingKey": bytes([7]) * 32,
            "validators": [self.office.address(name) for name in VALIDATORS],
            "quorum": QUORUM,
        }
        self.send([(record, who)], lambda: self.office.register(record, who, **terms))

    @initialize(who=WHO)
    def begin(self, who):
        self.register(self.office.registration(who), who)

    @rule(seconds=st.sampled_from([1, 20, 50, 100]))
    def wait(self, seconds):
        self.office.machine.tick(seconds)

    @rule(name=st.sampled_from(["mnist", "iris"]), provider=WHO, who=WHO, version=st.sampled_from([1, 1, 1, 2]))
    def register_first(self, name, provider, who, version):
        self.register(self.office.registration(provider, name=name, version=version), who)

    @rule(number=PICK, provider=WHO, by_owner=MOSTLY, who=WHO, step=st.sampled_from([1, 1, 1, 1, 0, 2]))
    def register_next(self, number, provider, by_owner, who, step):
        previous = self.some_registration(number)
        record = self.office.next_version(
            previous, provider=self.office.key(provider), version=max(1, previous.version + step)
        )
        self.register(record, self.office.who(previous.provider) if by_owner else who)

    @rule(number=PICK, who=WHO, by_provider=st.booleans())
    def register_again(self, number, who, by_provider):
        record = self.some_registration(number)
        self.register(record, self.office.who(record.provider) if by_provider else who)

    @rule(number=PICK)
    def accept(self, number):
        waiting = [one for one in self.state.registrations.values() if one.standing is Standing.PROPOSED]
        found = self.pick(waiting, number)
        if found:
            self.register(found.registration, self.office.who(found.registration.provider))

    @rule(number=PICK, who=WHO, reason=st.sampled_from(["", "why"]), rarely=st.integers(0, 9))
    def revoke(self, number, who, reason, rarely):
        record = self.some_registration(number)
        if rarely:
            return
        revocation = Revocation(registration_id=record.registration_id, reason=reason)
        model = self.office.models[record.registration_id]
        self.send(
            [(revocation, who)],
            lambda: self.office.registry.send(self.office.address(who), "revoke", model, reason),
        )

    def record(self, pick, number, statement=True):
        """Return a proof; every other time one that has been claimed, if there is any."""
        digest = ("b1" if statement else "b2") * 32
        claimed = [found.claim for found in self.state.claims.values()]
        if pick % 2 and claimed:
            return self.office.proof_of(self.pick(claimed, pick // 2), statement_digest=digest)
        return self.office.proof(self.some_registration(pick), number, statement_digest=digest)

    @rule(pick=PICK, number=NUMBER, by_owner=MOSTLY, who=WHO, statement=MOSTLY)
    def submit(self, pick, number, by_owner, who, statement):
        record = self.record(pick, number, statement)
        who = self.owner_of(record) if by_owner else who
        self.send([(record, who)], lambda: self.office.submit(record, who))

    def owner_of(self, record):
        return self.office.who(self.state.registrations[record.registration_id].registration.provider)

    @rule(pick=PICK, number=NUMBER, by_owner=MOSTLY, who=WHO, valid=st.sampled_from([True, True, False]))
    def verify(self, pick, number, by_owner, who, valid):
        self.bring(self.record(pick, number), by_owner, who, valid)

    @rule(pick=PICK, by_owner=MOSTLY, who=WHO, submitted=st.booleans())
    def prove_claim(self, pick, by_owner, who, submitted):
        open_claims = [found.claim for found in self.state.claims.values() if found.status in OPEN]
        claim = self.pick(open_claims, pick)
        if claim is not None:
            record = self.office.proof_of(claim)
            if submitted and record.proof_id not in self.state.proofs:
                owner = self.owner_of(record)
                self.send([(record, owner)], lambda: self.office.submit(record, owner))
            self.bring(record, by_owner, who, valid=True)

    def bring(self, record, by_owner, who, valid):
        who = self.owner_of(record) if by_owner else who
        events = [(Verification(proof_id=record.proof_id, statement_digest=record.statement_digest), who)]
        if record.proof_id not in self.state.proofs:
            events.insert(0, (record, who))
        claim = self.state.claims.get(record.proof_id)
        if claim and claim.status is ClaimStatus.CHALLENGED and self.office.machine.now < claim.deadline:
            events.append((Answer(proof_id=record.proof_id), who))
        values = [int(part, 16) for part in (record.context, record.inputs_digest, record.statement_digest)]
        if not valid:
            with pytest.raises(Reverted):
                self.office.verify(record, (b"", b"\x02", values), who)
            with pytest.raises(Reverted):
                self.office.verify(record, (b"", b"\x01", [*values[:2], values[2] ^ 1]), who)
            return
        self.send(events, lambda: self.office.verify(record, (b"", b"\x01proof", values), who))

    @rule(pick=PICK, number=NUMBER, who=WHO, valid=st.booleans(), statement=MOSTLY)
    def attest(self, pick, number, who, valid, statement):
        record = self.record(pick, number, statement)
        attestation = self.office.attestation(record, who, valid=valid)
        self.send([(attestation, who)], lambda: self.office.attest(record, who, valid=valid))

    @rule(pick=PICK, number=NUMBER, by_owner=MOSTLY, who=WHO, bond=st.integers(1, 9))
    def claim(self, pick, number, by_owner, who, bond):
        record = self.record(pick, number, statement=number != 2)
        who = self.owner_of(record) if by_owner else who
        claim = self.office.claim_record(record, bond=bond, challenge_bond=(bond + 1) // 2)
        self.send([(claim, who)], lambda: self.office.claim(claim, who))
        if pick % 3:
            self.demand(claim, PEOPLE[bond % 3])

    @rule(pick=PICK, who=WHO)
    def challenge(self, pick, who):
        found = self.pick(self.state.claims.values(), pick)
        if found is not None:
            self.demand(found.claim, who)

    def demand(self, claim, who):
        event = Challenge(proof_id=claim.proof_id, challenger=self.office.key(who))
        standing = self.state.claims.get(claim.proof_id)
        answer, value = self.office.answer(claim), (standing.claim if standing else claim).challenge_bond
        self.send([(event, who)], lambda: self.office.challenge(answer, who, value=value))

    @rule(pick=PICK, who=WHO, late=MOSTLY)
    def settle(self, pick, who, late):
        found = self.pick(self.state.claims.values(), pick)
        if found is not None:
            if late and found.status in OPEN:
                self.office.machine.tick(max(0, found.deadline - self.office.machine.now))
            event = Settlement(proof_id=found.claim.proof_id)
            self.send([(event, who)], lambda: self.office.settle(self.office.answer(found.claim), who))

    @rule(who=WHO, amount=st.integers(1, 9))
    def withdraw(self, who, amount):
        account = self.office.key(who)
        event = Withdrawal(account=account, number=self.state.withdrawals.get(account, 0) + 1, amount=amount)
        address = self.office.address(who)
        self.send([(event, who)], lambda: self.office.registry.send(address, "withdraw", address, amount))

    @invariant()
    def registrations_stand_alike(self):
        get = self.office.registry.get
        for name, found in self.state.registrations.items():
            model = self.office.models[name]
            told = get("modelState", model)
            assert STANDINGS[told["standing"]] is found.standing
            assert told["registrationId"] == raw(name)
            assert told["version"] == found.registration.version
            assert told["line"] == self.office.models[found.line]
            assert told["sequence"] == found.position or found.standing is Standing.REVOKED
        for line, last in self.state.lines.items():
            assert get("newest", self.office.models[line]) == self.office.models[last]

    @invariant()
    def proofs_stand_alike(self):
        get = self.office.registry.get
        named = [self.office.key(who) for who in VALIDATORS]
        for found in self.state.proofs.values():
            answer = self.office.answer(found.record)
            model = self.office.models[found.record.registration_id]
            assert STATUSES[get("proofStatus", model, answer)] is found.status(named, QUORUM)
            for who in PEOPLE:
                said = VERDICTS[get("verdict", answer, self.office.address(who))]
                assert said is found.verdicts.get(self.office.key(who))

    @invariant()
    def claims_stand_alike_and_money_is_conserved(self):
        registry, held = self.office.registry, 0
        for found in self.state.claims.values():
            told = registry.get("claimState", self.office.answer(found.claim))
            assert CLAIMS[told["status"]] is found.status
            assert told["deadline"] == found.deadline
            assert told["challenger"] == (
                self.office.address(self.office.who(found.challenger)).lower() if found.challenger else ZERO
            )
            held += found.claim.bond if found.status in OPEN else 0
            held += found.claim.challenge_bond if found.status is ClaimStatus.CHALLENGED else 0
        owed = {who: self.office.owed(who) for who in PEOPLE}
        assert owed == {who: self.state.credits.get(self.office.key(who), 0) for who in PEOPLE}
        burnt = self.office.owed(ZERO)
        assert burnt == self.state.credits.get(NOBODY, 0)
        assert self.office.machine.evm.get_balance(registry.address) == held + burnt + sum(owed.values())

    @invariant()
    def events_are_counted_alike(self):
        assert self.office.registry.get("sequence") == self.state.length


def run(props, examples, steps):
    kind = type("Both", (Both,), {"oracle_code": props["Oracle"][1]})
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # To find out what made a long run fail takes much longer than to read it.
            phases=[Phase.generate],
        ),
    )


def test_registry_and_reducer_agree(props):
    run(props, 60, 50)


@pytest.mark.soak
def test_registry_and_reducer_agree_for_long(props):
    run(props, 3000, 80)
