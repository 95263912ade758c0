"""One validator: what it says, what it keeps silent about, and that it says nothing twice."""

from __future__ import annotations

import io
import sqlite3
import threading
import time

import pytest

from balance_core.builtin.ledger_file import create
from balance_core.chain import Attestation, ChainEvent, ChainRef, ProofRecord
from balance_core.errors import ChainError, ConfigError
from balance_core.records import SetupTrust, Trust
from balance_core.service.validator import Course, Reason, State, ValidatorSettings
from balance_core.service.validator.intake import follow, take
from balance_core.service.validator.queue import Queue
from balance_core.service.validator.status import read_proof, read_status
from balance_core.service.validator.store import Store, keep_cursor
from balance_core.workspace import Workspace

from .validating import Yard


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("validator")
        patch.setenv("BALANCE_HOME", str(folder))
        yield folder


@pytest.fixture
def yard(home, tmp_path, monkeypatch):
    key = Yard(home).key
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    return Yard(tmp_path, key=key)


def ended(yard, record, name="validator"):
    store = Store(yard.home / f"{name}.db", read_only=True)
    try:
        return read_proof(store, record.proof_id)
    finally:
        store.close()


class TestVerdicts:
    def test_a_valid_proof_is_called_valid_and_a_false_one_invalid(self, yard):
        registration = yard.register()
        good, false = yard.publish(registration), yard.publish(registration, lie=True)
        status = yard.run()
        me = status.validator
        assert yard.words(good) == [(good.proof_id, me, True)]
        assert yard.words(false) == [(false.proof_id, me, False)]
        assert ended(yard, false).detail == "the model answers otherwise"

    def test_a_bundle_of_another_request_does_not_bear_out_the_record(self, yard):
        registration = yard.register()
        made, _ = yard.bundle(registration)
        _, other = yard.bundle(registration)
        record = yard.submit(registration, other, yard.storage.put(io.BytesIO(made.to_bytes())))
        status = yard.run()
        assert yard.words(record) == [(record.proof_id, status.validator, False)]
        assert "something else than the chain says" in ended(yard, record).detail

    def test_a_bundle_of_another_registration_is_called_invalid(self, yard):
        registration, other = yard.register(), yard.register("other")
        made, statement = yard.bundle(other)
        record = yard.submit(registration, statement, yard.storage.put(io.BytesIO(made.to_bytes())))
        yard.run()
        assert [valid for _, _, valid in yard.words(record)] == [False]
        assert "the bundle is of the registration" in ended(yard, record).detail

    @pytest.mark.parametrize("content", [b"", b"no bundle", b"PK\x03\x04 and then nothing"])
    def test_content_that_is_no_bundle_is_called_invalid(self, yard, content):
        record = yard.publish(yard.register(), content=content)
        yard.run()
        assert [valid for _, _, valid in yard.words(record)] == [False]
        assert "no bundle" in ended(yard, record).detail


class TestSilence:
    """What is not attested, and the reason that is kept for it."""

    def silent(self, yard, record, reason, **changes):
        status = yard.run(**changes)
        assert yard.words() == []
        assert status.count(State.RECORDED, reason) == 1
        assert ended(yard, record).reason == reason

    def test_a_valid_proof_of_an_unsound_backend(self, yard):
        self.silent(yard, yard.publish(yard.register()), Reason.UNSOUND, unsound=Course.RECORD)

    def test_proofs_of_an_unsound_backend_are_not_even_fetched_once_it_is_known(self, yard):
        registration = yard.register()
        yard.publish(registration)
        absent = yard.junk(registration, 1, "unavailable")
        status = yard.run(unsound=Course.RECORD, workers=1)
        assert status.count(State.RECORDED, Reason.UNSOUND) == 2
        assert ended(yard, absent).tries == 0

    def test_a_setup_made_for_tests(self, yard):
        trust = SetupTrust(trust=Trust.INSECURE_TEST, parameters="ab" * 32)
        record = yard.junk(yard.register(setup_trust=trust), 1, "unavailable")
        self.silent(yard, record, Reason.INSECURE_SETUP)

    def test_a_backend_that_is_not_installed(self, yard):
        self.silent(yard, yard.junk(yard.register(backend="martian"), 1, "unavailable"), Reason.UNKNOWN_BACKEND)

    def test_a_backend_that_the_settings_do_not_name(self, yard):
        self.silent(yard, yard.publish(yard.register()), Reason.OTHER_BACKEND, backends=("ezkl",))

    def test_a_registration_that_was_revoked(self, yard):
        registration = yard.register()
        record = yard.publish(registration)
        yard.revoke(registration)
        self.silent(yard, record, Reason.REVOKED)

    def test_content_that_nobody_has_after_so_many_tries(self, yard):
        record = yard.junk(yard.register(), 1, "unavailable")
        self.silent(yard, record, Reason.UNAVAILABLE)

    def test_content_that_is_too_large(self, yard):
        self.silent(yard, yard.junk(yard.register(), 1, "huge"), Reason.TOO_LARGE)

    def test_a_check_that_takes_too_much_memory(self, yard):
        self.silent(yard, yard.publish(yard.register()), Reason.OUT_OF_MEMORY, verify_memory=2**24)

    def test_a_proof_that_does_not_verify_where_the_settings_keep_that_here(self, yard):
        record = yard.publish(yard.register(), lie=True)
        self.silent(yard, record, Reason.INVALID, invalid=Course.RECORD)

    def test_no_more_than_so_many_of_a_provider_are_named_within_a_day(self, yard):
        registration = yard.register()
        for number in range(5):
            yard.junk(registration, number, "malformed")
        status = yard.run(invalid_per_day=2, workers=1)
        assert len(yard.words()) == 2
        assert status.count(State.RECORDED, Reason.BUDGET) == 3


class TestMemory:
    def test_nothing_is_said_twice_by_a_second_run(self, yard):
        yard.publish(yard.register())
        yard.run()
        yard.run()
        assert len(yard.words()) == 1

    def test_a_lost_memory_learns_from_the_chain_what_was_said(self, yard):
        registration = yard.register()
        record = yard.publish(registration)
        yard.run()
        (yard.home / "validator.db").unlink()
        (yard.storage.folder / "blobs" / record.bundle[-2:] / record.bundle).unlink()
        status = yard.run()
        assert len(yard.words()) == 1
        assert status.count(State.ATTESTED, Reason.VALID) == 1

    def test_a_verdict_that_was_kept_is_said_after_a_restart_and_not_made_again(self, yard):
        record = yard.publish(yard.register())
        with yard.validator() as validator:
            take_all(validator)
            item = validator.queue.lease()
            assert validator.queue.decide(item, Reason.VALID, "", valid=True)
        (yard.storage.folder / "blobs" / record.bundle[-2:] / record.bundle).unlink()
        status = yard.run()
        assert yard.words(record) == [(record.proof_id, status.validator, True)]

    def test_a_word_that_would_contradict_an_earlier_one_is_not_said(self, yard):
        record = yard.publish(yard.register(), lie=True)
        with yard.validator() as validator:
            take_all(validator)
            with validator.store.transaction() as connection:
                connection.execute("INSERT INTO said VALUES (?, ?, 1)", (record.proof_id, record.statement_digest))
        status = yard.run()
        assert yard.words() == []
        assert status.count(State.RECORDED, Reason.CONTRADICTION) == 1

    def test_one_memory_serves_one_process(self, yard):
        with yard.validator(), pytest.raises(ConfigError, match="another validator works with"):
            yard.validator()

    def test_one_memory_serves_one_key(self, yard):
        memory = yard.home / "shared.db"
        with yard.validator("one", memory=memory):
            pass
        with pytest.raises(ConfigError, match="is of the validator"):
            yard.validator("two", memory=memory)

    def test_another_database_is_refused_and_left_alone(self, yard):
        memory = yard.home / "other.db"
        with sqlite3.connect(memory) as connection:
            connection.execute("CREATE TABLE precious (x)")
        connection.close()
        with pytest.raises(ConfigError, match="is not the memory of a validator"):
            yard.validator(memory=memory)

    def test_a_ledger_that_was_replaced_is_found_by_the_cursor(self, yard):
        yard.publish(yard.register())
        yard.run()
        yard.ledger.close()
        for path in yard.home.glob("ledger.db*"):
            path.unlink()
        create(Workspace(yard.home).ledger)
        with yard.validator() as validator, pytest.raises(ChainError, match="names no entry"):
            validator.run(until_done=True)

    def test_what_kills_the_validator_every_time_is_left_alone_at_last(self, yard):
        record = yard.publish(yard.register())
        for _ in range(3):
            with yard.validator() as validator:
                take_all(validator)
                validator.queue.recover(interruptions=3)
                assert validator.queue.lease() is not None  # and here it dies
        status = yard.run(interruptions=3)
        assert yard.words() == []
        assert ended(yard, record).reason == Reason.INTERRUPTED
        assert status.waiting == 0


class TestOrder:
    def test_a_flood_by_one_provider_does_not_keep_others_waiting(self, yard):
        flooder, honest = yard, yard.beside("honest")
        bad, good = flooder.register(), honest.register()
        for number in range(60):
            flooder.junk(bad, number, "malformed")
        records = [honest.publish(good) for _ in range(3)]
        with yard.validator(workers=1) as validator:
            take_all(validator)
            first = [leased(validator.queue) for _ in range(8)]
        assert {record.proof_id for record in records} <= {item.proof_id for item in first}

    def test_many_new_providers_take_at_most_half_of_the_turns_of_those_with_valid_proofs(self, yard):
        honest = yard.beside("honest")
        good = honest.register()
        honest.publish(good)
        yard.run()
        for number in range(12):
            sybil = yard.beside(f"sybil-{number}")
            sybil.junk(sybil.register(), number, "unavailable")
        records = [honest.publish(good) for _ in range(3)]
        with yard.validator() as validator:
            take_all(validator)
            first = [leased(validator.queue) for _ in range(6)]
        assert {record.proof_id for record in records} <= {item.proof_id for item in first}

    def test_registrations_of_one_provider_take_turns(self, yard):
        many, few = yard.register("many"), yard.register("few")
        for number in range(20):
            yard.junk(many, number, "unavailable")
        record = yard.publish(few)
        with yard.validator() as validator:
            take_all(validator)
            assert record.proof_id in {leased(validator.queue).proof_id for _ in range(2)}


def leased(queue):
    item = queue.lease()
    queue.charge(item, 1.0)
    return item


def take_all(validator):
    follow(validator.chain, validator.store, validator.public_key)


class TestReversal:
    """The chain takes back what it told; events as a chain that can go back tells them."""

    @pytest.fixture
    def store(self, tmp_path):
        store = Store(tmp_path / "memory.db")
        yield store
        store.close()

    @staticmethod
    def event(record, kind, cursor="1", signer="aa" * 32):
        return ChainEvent(
            ref=ChainRef(chain="town", entry=f"entry-{cursor}"),
            cursor=cursor,
            type=kind,
            signer=signer,
            record_kind=record.kind,
            record=record.model_dump(mode="json"),
        )

    @staticmethod
    def proof(**changes):
        values = {
            "registration_id": "11" * 32,
            "context": "22" * 32,
            "inputs_digest": "33" * 32,
            "statement_digest": "44" * 32,
            "bundle": "b" + "a" * 58,
        }
        return ProofRecord(**{**values, **changes})

    @staticmethod
    def word(record, *, valid=True, validator="cc" * 32):
        return Attestation(
            proof_id=record.proof_id, statement_digest=record.statement_digest, valid=valid, validator=validator
        )

    def tell(self, store, *events):
        with store.transaction() as connection:
            take(connection, events, "cc" * 32)

    def state(self, store, record):
        return read_proof(store, record.proof_id).state

    def test_a_proof_that_is_taken_back_is_no_longer_worked_on(self, store):
        record, queue = self.proof(), Queue(store)
        self.tell(store, self.event(record, "submitted"))
        item = queue.lease()
        self.tell(store, self.event(record, "reverted"))
        assert not queue.decide(item, Reason.VALID, "", valid=True)
        assert self.state(store, record) == State.REVERTED
        assert queue.is_done()

    def test_one_that_comes_back_is_checked_anew(self, store):
        record, queue = self.proof(), Queue(store)
        self.tell(store, self.event(record, "submitted"))
        queue.lease()
        self.tell(store, self.event(record, "reverted"), self.event(record, "submitted", "2"))
        assert queue.lease().entry.entry == "entry-2"

    def test_another_proof_of_the_same_answer_does_not_inherit_the_verdict(self, store):
        record, queue = self.proof(), Queue(store)
        other = self.proof(statement_digest="55" * 32)
        assert other.proof_id == record.proof_id
        self.tell(store, self.event(record, "submitted"))
        item = queue.lease()
        assert queue.decide(item, Reason.VALID, "", valid=True)
        self.tell(store, self.event(record, "reverted"), self.event(other, "submitted", "2"))
        queue.attested(item, ChainRef(chain="town", entry="late"))
        again = queue.lease()
        assert (again.state, again.record) == (State.WAITING, other)
        # Both called valid would convict an honest validator: whoever has its two words can show them.
        assert not queue.decide(again, Reason.VALID, "", valid=True)

    def test_a_word_that_is_taken_back_is_said_again(self, store):
        record, queue = self.proof(), Queue(store)
        self.tell(store, self.event(record, "submitted"))
        queue.decide(queue.lease(), Reason.VALID, "", valid=True)
        self.tell(store, self.event(self.word(record), "attested", "2", "cc" * 32))
        assert self.state(store, record) == State.ATTESTED
        self.tell(store, self.event(self.word(record), "reverted", "2", "cc" * 32))
        item = queue.lease()
        assert (item.state, item.verdict) == (State.DECIDED, True)

    def test_words_of_others_that_are_taken_back_do_not_count(self, store):
        record, queue = self.proof(), Queue(store)
        false = self.word(record, valid=False, validator="dd" * 32)
        self.tell(store, self.event(record, "submitted"), self.event(false, "attested", "2"))
        queue.decide(queue.lease(), Reason.VALID, "", valid=True)
        assert read_status(store).false_words == 1
        self.tell(store, self.event(false, "reverted", "2"))
        assert read_status(store).false_words == 0

    def test_events_and_cursor_are_kept_together_or_not_at_all(self, store):
        record = self.proof()
        with pytest.raises(ZeroDivisionError), store.transaction() as connection:  # noqa: PT012 - the block is what breaks off
            take(connection, [self.event(record, "submitted")], "cc" * 32)
            keep_cursor(connection, "1")
            connection.execute("SELECT ?", (1 // 0,))
        assert (read_proof(store, record.proof_id), store.cursor()) == (None, None)

    def test_an_event_that_cannot_be_read_is_passed_over(self, store):
        record = self.proof()
        broken = self.event(record, "submitted").model_copy(update={"record": {"bundle": 7}})
        self.tell(store, broken, self.event(record, "submitted", "2"))
        assert self.state(store, record) == State.WAITING


def test_waits_double_up_to_the_longest():
    settings = ValidatorSettings(retry_seconds=2, longest_retry_seconds=60)
    assert [settings.wait_after(tries) for tries in (1, 2, 3, 6, 10_000)] == [2, 4, 8, 60, 60]


def test_stopping_is_prompt_and_loses_nothing(yard):
    registration = yard.register()
    for number in range(6):
        yard.junk(registration, number, "cut")
    with yard.validator() as validator:
        threading.Timer(0.3, validator.stop).start()
        started = time.monotonic()
        validator.run()
        assert time.monotonic() - started < 10
    status = yard.run()
    assert (len(yard.words()), status.waiting) == (6, 0)
