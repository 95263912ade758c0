"""The embedded ledger keeps its contract."""

from __future__ import annotations

import threading

import pytest

from balance_core.builtin.ledger import Ledger
from balance_core.chain import ChainRef, Finality, Revocation, Standing
from balance_core.chain_state import ProofStatus
from balance_core.errors import ChainError, ConfigError, Rejected
from balance_core.keys import KeyStore
from balance_core.workspace import Workspace


def ref(entry: int) -> ChainRef:
    return ChainRef(chain="ledger", entry=str(entry))


def test_a_registration_is_found_by_everybody_who_opens_the_file(world):
    registration = world.registration()
    assert world.ledger().register(registration, key="k") == ref(1)
    assert world.ledger("bob").registration(registration.registration_id) == registration


def test_without_settings_it_lies_in_the_data_folder_and_uses_the_default_key(tmp_path, monkeypatch, world):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "home"))
    ledger = Ledger()
    provider = KeyStore(Workspace.default().keys).default().public
    ledger.register(world.registration(provider=provider), key="k")
    assert ledger.path == tmp_path / "home" / "ledger.db"
    assert ledger.path.stat().st_mode & 0o077 == 0
    assert Ledger().head() == ledger.head()


def test_a_ledger_that_is_not_there_is_empty_and_not_made_by_reading(world):
    ledger = world.ledger()
    assert list(ledger.events()) == []
    assert ledger.status(ref(1)) is Finality.UNKNOWN
    with pytest.raises(Rejected, match="is not on the ledger"):
        ledger.registration("00" * 32)
    for call in (ledger.head, ledger.verify):
        with pytest.raises(ChainError, match="there is no ledger"):
            call()
    assert not world.path.exists()


def test_the_same_call_twice_gives_the_first_reference(world):
    ledger, record = world.filled(2), world.proof(7)
    first = ledger.submit(record, key="call", inline=b"bytes")
    assert ledger.submit(record, key="call", inline=b"bytes") == first == ref(3)
    assert world.ledger().submit(record, key="call") == first
    assert ledger.head().length == 3


def test_an_idempotency_key_is_for_one_record_of_one_signer(world):
    ledger = world.filled(2)
    with pytest.raises(Rejected, match="idempotency key 'r' was used for another record, in entry 1"):
        ledger.submit(world.proof(7), key="r")
    assert world.ledger("bob").register(world.registration("bob"), key="r") == ref(3)


def test_a_record_said_again_under_another_key_stands_for_the_first(world):
    ledger = world.filled(2)
    assert ledger.register(world.registration(), key="other") == ref(1)
    assert ledger.submit(world.proof(0), key="another") == ref(2)
    assert ledger.head().length == 2
    with pytest.raises(Rejected, match="used for another record"):
        ledger.submit(world.proof(7), key="other")


@pytest.mark.parametrize("key", ["", "x" * 257, "a\nb"])
def test_idempotency_keys_are_bounded_text(world, key):
    with pytest.raises(ConfigError):
        world.ledger().register(world.registration(), key=key)
    assert not world.path.exists()


def test_what_the_rules_refuse_leaves_no_trace(world):
    ledger = world.filled(2)
    before = ledger.head()
    with pytest.raises(Rejected, match="must be signed by the provider"):
        world.ledger("bob").register(world.registration(name="other"), key="x")
    with pytest.raises(Rejected, match="has been proven in event 2"):
        ledger.submit(world.proof(0, statement_digest="55" * 32), key="y")
    assert world.ledger().head() == before
    assert ledger.submit(world.proof(8), key="y") == ref(3)  # a refused call does not use up its key


def test_versions_rotation_and_revocation(world):
    alice, bob = world.ledger("alice"), world.ledger("bob")
    first = world.registration()
    second = world.registration("bob", version=2, previous=first.registration_id)
    alice.register(first, key="1")
    alice.register(second, key="2")
    with pytest.raises(Rejected, match="not yet accepted"):
        alice.registration(second.registration_id)
    bob.register(second, key="2")
    assert [event.type for event in alice.events()] == ["registered", "proposed", "registered"]
    assert alice.registration(first.registration_id) == first
    voucher = alice.voucher(first.registration_id)
    assert (voucher.standing, voucher.successor) == (Standing.SUPERSEDED, second.registration_id)
    with pytest.raises(Rejected, match="takes no proofs"):
        alice.submit(world.proof(), key="p")
    with pytest.raises(Rejected, match="can be revoked only by"):
        alice.revoke(Revocation(registration_id=first.registration_id), key="v")
    bob.revoke(Revocation(registration_id=first.registration_id, reason="weights leaked"), key="v")
    with pytest.raises(Rejected, match="was revoked: weights leaked"):
        alice.registration(first.registration_id)
    voucher = alice.voucher(first.registration_id)
    assert (voucher.standing, voucher.reason, voucher.entry) == (Standing.REVOKED, "weights leaked", "1")
    assert str(voucher).endswith("entry 1, revoked: weights leaked")
    assert alice.verify().head.length == 4


def test_attestations_come_from_their_validators(world):
    ledger, record = world.filled(2), world.proof(0)
    world.ledger("bob").attest(world.attestation(record, "bob"), key="a")
    with pytest.raises(Rejected, match="must be signed by that key"):
        ledger.attest(world.attestation(record, "carol"), key="a")
    found = ledger.state().proofs[record.proof_id]
    assert found.status({world.key("bob").public}) is ProofStatus.ATTESTED
    world.ledger("bob").attest(world.attestation(record, "bob", valid=False), key="b")
    found = ledger.state().proofs[record.proof_id]
    assert found.status({world.key("bob").public}) is ProofStatus.SUBMITTED
    assert [event.type for event in ledger.events()][-2:] == ["attested", "attested"]


def test_events_go_on_behind_a_cursor_and_name_their_signer(world):
    ledger = world.filled(4)
    events = list(ledger.events())
    assert [event.ref for event in events] == [ref(1), ref(2), ref(3), ref(4)]
    assert {event.signer for event in events} == {world.key().public}
    assert type(events[1]).from_json(events[1].to_json()) == events[1]
    for number, event in enumerate(events, start=1):
        assert list(world.ledger().events(event.cursor)) == events[number:]
    ledger.submit(world.proof(50), key="new")
    assert [event.ref for event in ledger.events(events[-1].cursor)] == [ref(5)]


def test_events_of_a_long_ledger_come_in_order_up_to_the_newest_at_the_start(world):
    ledger = world.filled(300)
    walk = ledger.events()
    first = next(walk)
    ledger.submit(world.proof(1000), key="new")
    assert [event.ref.entry for event in (first, *walk)] == [str(number) for number in range(1, 301)]


@pytest.mark.parametrize("cursor", ["", "1", "0:", "1:", "x:y", "-1:00", "99:" + "00" * 32, "1:" + "00" * 32, "²:x"])
def test_a_cursor_of_another_ledger_is_refused(world, cursor):
    with pytest.raises(ChainError, match="names no entry"):
        list(world.filled(2).events(cursor))


def test_an_entry_is_final_when_it_is_there(world):
    ledger = world.filled(2)
    assert ledger.status(ref(2)) is Finality.FINAL
    for entry in ("3", "0", "-1", "02", "x", "²", "9" * 40):
        assert ledger.status(ChainRef(chain="ledger", entry=entry)) is Finality.UNKNOWN
    assert ledger.status(ChainRef(chain="evm", entry="1")) is Finality.UNKNOWN


def test_inline_bytes_come_back(world):
    ledger = world.filled(3)
    assert world.ledger().inline(ref(2)) == b"inline"
    assert ledger.inline(ref(3)) is None
    with pytest.raises(ChainError, match="is not on the ledger"):
        ledger.inline(ref(9))
    largest = b"x" * 2**20
    assert ledger.inline(ledger.submit(world.proof(10), key="large", inline=largest)) == largest
    assert ledger.inline(ledger.submit(world.proof(11), key="empty", inline=b"")) == b""
    with pytest.raises(Rejected, match="too many"):
        ledger.submit(world.proof(12), key="larger", inline=largest + b"x")
    assert ledger.verify().inline_blobs == 3


def test_a_reason_and_a_name_of_the_largest_size_fit(world):
    ledger = world.filled(1)
    reason = "\N{EARTH GLOBE EUROPE-AFRICA}" * 1000
    ledger.revoke(Revocation(registration_id=world.registration().registration_id, reason=reason), key="v")
    assert ledger.verify().head.length == 2


def test_many_threads_can_use_one_ledger(world):
    ledger = world.filled(1)
    failures = []

    def work(start):
        try:
            for number in range(start, start + 20):
                ledger.submit(world.proof(number), key=str(number))
                assert sum(1 for _ in ledger.events()) > 1
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert ledger.verify().head.length == 81


def test_a_closed_ledger_opens_again_and_leaves_one_file(world):
    ledger = world.filled(3)
    head = ledger.head()
    ledger.close()
    assert sorted(path.name for path in world.folder.iterdir()) == [".ledger.db.lock", "keys", "ledger.db"]
    assert ledger.head() == head
    ledger.close()
    ledger.close()


def test_a_handed_over_ledger_is_read_without_touching_anything(world, tmp_path):
    ledger = world.filled(3)
    head = ledger.head()
    ledger.close()
    folder = tmp_path / "handed"
    folder.mkdir()
    copy = folder / "ledger.db"
    copy.write_bytes(world.path.read_bytes())
    copy.chmod(0o400)
    reader = world.ledger(path=copy, read_only=True)
    assert reader.verify(head).head == head
    assert len(list(reader.events())) == 3
    with pytest.raises(ChainError, match="opened for reading"):
        reader.submit(world.proof(9), key="x")
    assert [path.name for path in folder.iterdir()] == ["ledger.db"]
    assert copy.read_bytes() == world.path.read_bytes()


def test_a_reader_sees_what_a_living_writer_has_not_folded_in_yet(world):
    ledger = world.filled(3)
    reader = world.ledger(read_only=True)
    assert reader.head() == ledger.head()
    ledger.submit(world.proof(9), key="x")
    assert reader.head() == ledger.head()
