"""The conformance of chains: what they take, refuse and tell is what docs/chain-states.md says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from balance_core import cid
from balance_core.chain import Finality, Revocation, Standing, Vouches
from balance_core.chain_state import Event, State, reduce
from balance_core.errors import BalanceError, Rejected
from balance_core.keys import KeyStore
from balance_core.testing import confine
from balance_core.testing.form import PluginConformance
from balance_core.testing.town import PEOPLE, Town, fill, guess, told
from balance_core.workspace import HOME_VARIABLE, Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from balance_core.chain import ChainRecord
    from balance_core.contracts import ChainAdapter


COURSE, COURSE_EVENTS = 32, 140
"""Seed and length of the random course: one that leads to every standing, and to contradictions."""


class ChainConformance(PluginConformance):
    """What every chain promises: `class TestMine(ChainConformance): chain = "mine"`.

    Each case has an empty folder that is also the data folder (BALANCE_HOME), with a signing key for each of three
    people, and settings `key=<name>` for the one who writes. A chain that works otherwise overrides `place_settings`
    and `public_key`.
    """

    kind = "chains"
    attribute = "chain"
    chain: ClassVar[str | type[ChainAdapter]]
    """Name or class of the chain."""

    @classmethod
    def place_settings(cls, place: Path, who: str) -> dict[str, Any]:
        """Return settings under which an instance uses the chain at a place and signs as somebody."""
        del place
        return {"key": who}

    @classmethod
    def public_key(cls, place: Path, who: str) -> str:
        """Make somebody's key if there is none, and return its public half as registrations name it."""
        store = KeyStore(Workspace(place).keys)
        return (store.load(who) if who in store.names() else store.create(who)).public

    @pytest.fixture
    def town(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
        """An empty chain and those who write to it."""
        self.plugin_class()
        place = tmp_path / "place"
        place.mkdir()
        monkeypatch.setenv(HOME_VARIABLE, str(place))
        town = Town(self, place)
        yield town
        town.close()

    def test_registration_comes_back(self, town: Town) -> None:
        """A registration is returned by its id, to everybody, as it was published."""
        registration = town.registration()
        town.put(registration)
        for chain in (*town.chains.values(), town.open("carol")):
            assert chain.registration(registration.registration_id) == registration
        assert town.records() == [(registration, town.keys["alice"])]

    def test_unknown_ids_are_rejected(self, town: Town) -> None:
        """What names a registration or proof that is not on the chain is Rejected, and so is what is no id at all."""
        absent = town.registration(name="absent")
        town.put(town.registration())
        for name in (absent.registration_id, "0" * 64):
            with pytest.raises(Rejected):
                town.chains["alice"].registration(name)
        for name in ("", "zz", "../ledger", "0x" + "1" * 64):
            with pytest.raises(BalanceError):
                town.chains["alice"].registration(name)
        town.rejects(Revocation(registration_id=absent.registration_id))
        town.rejects(town.proof(absent))
        town.rejects(town.attestation(town.proof(absent), "alice"))

    def test_same_call_again_gives_the_first_entry(self, town: Town) -> None:
        """A call with the same idempotency key and record gives the first one's reference, and nothing is added."""
        registration = town.registration()
        proof = town.proof(registration)
        records: tuple[ChainRecord, ...] = (registration, proof, town.attestation(proof, "alice"))
        for number, record in enumerate(records, start=1):
            first = town.put(record, key=f"same-{number}")
            assert town.put(record, key=f"same-{number}") == first
            assert len(town.records()) == number
        revocation = Revocation(registration_id=registration.registration_id)
        assert town.put(revocation, key="same-r") == town.put(revocation, key="same-r")
        assert len(town.records()) == len(records) + 1

    def test_same_key_with_another_record_is_rejected(self, town: Town) -> None:
        """An idempotency key that was used for another record is Rejected."""
        registration = town.registration()
        town.put(registration, key="used")
        town.rejects(town.proof(registration), key="used")
        town.rejects(town.registration(name="letters"), key="used")

    def test_repetition_counts_once(self, town: Town) -> None:
        """The same record under another idempotency key adds nothing."""
        registration = town.registration()
        town.put(registration)
        town.put(town.proof(registration))
        before = town.records()
        town.put(registration)
        town.put(town.proof(registration))
        assert town.records() == before

    def test_only_the_right_signer_writes(self, town: Town) -> None:
        """A record by anybody but the one it names or needs is Rejected, and leaves no trace."""
        registration = town.registration()
        town.rejects(registration, "bob")
        town.put(registration)
        proof = town.proof(registration)
        town.rejects(proof, "bob")
        town.put(proof)
        town.rejects(town.attestation(proof, "bob"), "carol")
        town.rejects(town.next_version(registration), "bob")
        town.rejects(Revocation(registration_id=registration.registration_id), "bob")

    def test_versions_follow_each_other(self, town: Town) -> None:
        """A next version names the newest one, with the next number and the same name; only it takes proofs."""
        first = town.registration()
        town.put(first)
        second = town.next_version(first)
        wrong = [
            second.model_copy(update={"version": 3}),
            second.model_copy(update={"name": "letters"}),
            second.model_copy(update={"previous": "0" * 64}),
            second.model_copy(update={"previous": None}),
            town.registration(circuit_id="c3" * 32),
        ]
        for record in wrong:
            town.rejects(record)
        town.put(second)
        assert town.chains["bob"].registration(second.registration_id) == second
        town.rejects(town.next_version(first, circuit_id="c4" * 32))
        town.rejects(town.proof(first))
        town.put(town.proof(second))

    def test_key_is_rotated_in_two_steps(self, town: Town) -> None:
        """A line goes to another key when the old one offers it and the new one accepts, and not before."""
        first = town.registration()
        town.put(first)
        second = town.next_version(first, provider=town.keys["bob"])
        town.rejects(second, "bob")
        town.put(second, "alice")
        with pytest.raises(Rejected):
            town.chains["carol"].registration(second.registration_id)
        town.put(town.proof(first), "alice")
        town.put(second, "bob")
        assert town.chains["carol"].registration(second.registration_id) == second
        town.rejects(Revocation(registration_id=first.registration_id), "alice")
        town.put(town.proof(second), "bob")

    def test_revocation_is_final(self, town: Town) -> None:
        """A revoked registration is Rejected wherever it is named, and cannot be registered again."""
        registration = town.registration()
        town.put(registration)
        town.put(Revocation(registration_id=registration.registration_id, reason="the weights were wrong"))
        with pytest.raises(Rejected, match="revoked"):
            town.chains["carol"].registration(registration.registration_id)
        for record in (registration, town.proof(registration), town.next_version(registration)):
            town.rejects(record)

    def test_answer_counts_once(self, town: Town) -> None:
        """A second proof of one registration, inputs and context is Rejected; another context is another answer."""
        registration = town.registration()
        town.put(registration)
        town.put(town.proof(registration))
        town.rejects(town.proof(registration, bundle=cid.of_bytes(b"another bundle")))
        town.rejects(town.proof(registration, statement_digest="b2" * 32))
        town.put(town.proof(registration, 1))

    def test_attestations_are_kept(self, town: Town) -> None:
        """Validators speak for themselves, about the statement that was submitted, and a contradiction is kept."""
        registration = town.registration()
        proof = town.proof(registration)
        town.put(registration)
        town.put(proof)
        for who, valid in (("bob", True), ("carol", False), ("bob", False)):
            town.put(town.attestation(proof, who, valid=valid), who)
        assert [signer for _, signer in town.records()[2:]] == [town.keys[who] for who in ("bob", "carol", "bob")]
        town.rejects(town.attestation(proof, "alice", statement_digest="b2" * 32))

    def test_events_are_told_in_order(self, town: Town) -> None:
        """Every reader is told of all entries in one order, can go on behind any, and is told nothing twice."""
        put = fill(town)
        everything = town.entries()
        assert [told(event)[0] for event in everything] == put
        assert len({event.cursor for event in everything}) == len(everything)
        assert [event.ref for event in everything] == list(dict.fromkeys(event.ref for event in everything))
        for place, event in enumerate(everything, start=1):
            assert town.entries("carol", since=event.cursor) == everything[place:]

    def test_what_is_no_cursor_is_refused(self, town: Town) -> None:
        """A cursor that the chain never gave is an error, not a start from somewhere."""
        fill(town)
        for cursor in ("", "x", "-1", "999999", "1:" + "0" * 64):
            with pytest.raises(BalanceError):
                list(town.chains["bob"].events(cursor))

    def test_status_is_told(self, town: Town) -> None:
        """An entry that stands is final; one that the chain does not know is unknown, whatever it is called."""
        ref = town.put(town.registration())
        assert town.chains["bob"].status(ref) is Finality.FINAL
        for other in (
            ref.model_copy(update={"entry": ref.entry + "0"}),
            ref.model_copy(update={"entry": "no such entry"}),
            ref.model_copy(update={"chain": "another-chain"}),
        ):
            assert town.chains["bob"].status(other) is Finality.UNKNOWN

    def test_it_remembers_after_a_restart(self, town: Town) -> None:
        """A new instance on the same chain tells the same entries, and knows the idempotency keys of before."""
        registration = town.registration()
        first = town.put(registration, key="before")
        town.put(town.proof(registration))
        before = town.entries()
        town.close()
        again = town.open("alice")
        assert list(again.events(None)) == before
        with pytest.raises(Rejected):
            again.register(town.registration(name="letters"), key="before")
        assert again.register(registration, key="before") == first
        assert list(again.events(None)) == before

    def test_two_write_at_once(self, town: Town) -> None:
        """What several write at the same time is all there, once, and in one order for all."""
        mine = {who: town.registration(who) for who in ("alice", "bob")}
        for who, registration in mine.items():
            town.put(registration, who)
        wanted = {who: [town.proof(registration, n) for n in range(8)] for who, registration in mine.items()}

        def send(who: str) -> None:
            chain = town.open(who)
            for number, record in enumerate(wanted[who]):
                town.settle(chain.submit(record, key=f"{who}-{number}"))

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(send, wanted))
        told_to = [town.records(who)[2:] for who in PEOPLE]
        assert told_to[0] == told_to[1] == told_to[2]
        for who, records in wanted.items():
            assert [record for record, signer in told_to[0] if signer == town.keys[who]] == records
        assert len(told_to[0]) == sum(map(len, wanted.values()))

    def test_inline_bytes_are_taken_or_refused(self, town: Town) -> None:
        """A small proof is taken inline or Rejected, an absurd one Rejected; either way the chain goes on."""
        registration = town.registration()
        town.put(registration)
        for number, inline in enumerate((b"", b"proof", bytes(2**26))):
            try:
                ref = town.chains["alice"].submit(town.proof(registration, number), key=f"in-{number}", inline=inline)
            except Rejected:
                continue
            assert len(inline) < 2**26, "64 MiB were put on the chain"
            town.settle(ref)
        town.put(town.proof(registration, 9))

    def test_it_decides_as_the_rules_say(self, town: Town) -> None:
        """Over a random course of events it takes and refuses what the reducer does, and reaches the same state."""
        random = np.random.default_rng(COURSE)
        state = State()
        for _ in range(COURSE_EVENTS):
            who = str(random.choice(PEOPLE))
            event = Event(guess(town, state, random), town.keys[who])
            try:
                after = reduce(state, event)
            except Rejected:
                with pytest.raises(Rejected):
                    town.put(event.record, who)
                continue
            town.put(event.record, who)
            state = after
        assert len(town.records()) == state.length
        self._check_standings(town, state)

    @staticmethod
    def _check_standings(town: Town, state: State) -> None:
        chain = town.chains["carol"]
        for name, found in state.registrations.items():
            if found.standing is Standing.ACTIVE:
                assert chain.registration(name) == found.registration
            if found.standing in {Standing.REVOKED, Standing.PROPOSED}:
                with pytest.raises(Rejected):
                    chain.registration(name)
            if isinstance(chain, Vouches):
                assert chain.voucher(name).standing is found.standing

    def test_it_keeps_to_its_place(self, town: Town, tmp_path: Path) -> None:
        """It writes nothing outside its place and a temporary folder, and calls nobody unless it says so."""
        temporary, around = tmp_path / "temporary", tmp_path / "around"
        temporary.mkdir()
        around.mkdir()
        network = self.plugin_class().needs_network
        variables = {"HOME": str(around), HOME_VARIABLE: str(town.place)}
        with (
            confine.surroundings(around, temporary, variables),
            confine.watched((town.place, temporary), network=network) as watch,
        ):
            town.put(town.registration())
            assert town.records()
        assert not watch.writes
        assert network or not watch.calls
        assert not [*around.iterdir(), *temporary.iterdir()]
