"""Whatever somebody does to a ledger's file is found, or needs the keys of those who signed."""

from __future__ import annotations

import sqlite3

import pytest

from balance_core.builtin.ledger_entry import Entry, SignedHead, countersign
from balance_core.chain_state import Event
from balance_core.errors import BalanceError, ChainError, ConfigError
from balance_core.signing import SigningKey


def edit(world, *statements) -> None:
    """Change the file as somebody without Balance would: SQL, or a pair of SQL and its values."""
    connection = sqlite3.connect(world.path, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(*((statement,) if isinstance(statement, str) else statement))
    finally:
        connection.close()


def move(world, *pairs) -> None:
    """Give entries other numbers."""
    edit(world, *(("UPDATE entries SET sequence = ? WHERE sequence = ?", (new, old)) for old, new in pairs))


def found(world, match: str, head=None) -> None:
    with pytest.raises(ChainError, match=match):
        world.ledger().verify(head)


@pytest.mark.parametrize("sequence", [1, 3, 6])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("previous", "00" * 32),
        ("kind", "revocation"),
        ("kind", "unknown"),
        ("record", b"{}"),
        ("record", b""),
        ("record", b"\xff"),
        ("record", "text"),
        ("inline", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        ("inline", b"x"),
        ("signer", "00" * 32),
        ("signer", "x"),
        ("signature", "00" * 64),
        ("signature", ""),
        ("signature", b"\x00" * 64),
    ],
)
def test_an_altered_value_is_found_by_the_file_itself(world, sequence, column, value):
    world.filled()
    edit(world, ("UPDATE entries SET COLUMN = ? WHERE sequence = ?".replace("COLUMN", column), (value, sequence)))
    found(world, rf"entry {sequence} of the ledger was altered|entry \d|wrong type|does not follow")
    for use in (lambda ledger: list(ledger.events()), lambda ledger: ledger.register(world.registration(), key="x")):
        with pytest.raises(ChainError):
            use(world.ledger())


@pytest.mark.parametrize("column", ["signer", "signature"])
def test_another_spelling_of_the_last_entry_is_found(world, column):
    world.filled()
    edit(world, "UPDATE entries SET COLUMN = upper(COLUMN) WHERE sequence = 6".replace("COLUMN", column))
    found(world, "entry 6 of the ledger was altered")


def test_a_byte_of_a_record_is_found(world):
    ledger = world.filled()
    record = world.proof(2).to_json()
    edit(world, ("UPDATE entries SET record = ? WHERE sequence = 4", (record.replace(b"44", b"45", 1),)))
    found(world, "entry 4 of the ledger was altered")
    with pytest.raises(ChainError, match="have changed since they were read"):
        list(ledger.events())


@pytest.mark.parametrize("sequence", [1, 3, 5])
def test_a_removed_entry_is_found(world, sequence):
    world.filled()
    edit(world, ("DELETE FROM entries WHERE sequence = ?", (sequence,)))
    found(world, "does not follow|is missing")


def test_a_removed_entry_whose_followers_moved_up_is_found(world):
    world.filled()
    edit(world, "DELETE FROM entries WHERE sequence = 3")
    move(world, (4, 3), (5, 4), (6, 5))
    found(world, "entry 3 does not follow")


def test_swapped_entries_are_found(world):
    world.filled()
    move(world, (3, 99), (4, 3), (99, 4))
    found(world, "entry 3 does not follow")


@pytest.mark.parametrize("sequence", [0, -5, 8, 2**62])
def test_an_entry_outside_the_row_is_found(world, sequence):
    world.filled()
    move(world, (6, sequence))
    found(world, "does not follow|is missing")


def test_a_signer_cannot_change_his_own_entry_under_those_who_signed_later(world):
    world.ledger("bob").register(world.registration("bob", name="bobs"), key="b")
    base = world.ledger("bob").head()
    world.ledger("bob").register(world.registration("bob", name="changed"), key="c")
    world.ledger("alice").register(world.registration(), key="a")
    event = Event(world.registration("bob", name="better"), world.key("bob").public)
    other = Entry.sign(event, world.key("bob"), after=base, inline=None)
    edit(world, "DELETE FROM entries WHERE sequence = 2")
    insert(world, other)
    edit(world, ("UPDATE entries SET previous = ? WHERE sequence = 3", (other.hash,)))
    found(world, "entry 3 of the ledger was altered")


def test_an_inserted_entry_is_found(world):
    ledger = world.filled()
    head = ledger.head()
    last = head.model_copy(update={"length": 2, "hash": "11" * 32})
    entry = Entry.sign(Event(world.proof(9), world.key().public), world.key(), after=last, inline=None)
    move(world, (6, 7), (5, 6), (4, 5), (3, 4))
    insert(world, entry)
    found(world, "entry 3 does not follow")


def insert(world, entry: Entry) -> None:
    values = (entry.sequence, entry.previous, entry.kind, entry.record, entry.inline, entry.signer, entry.signature)
    edit(world, ("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", values))


@pytest.mark.parametrize(
    "statement", ["UPDATE inline SET data = x'00'", "DELETE FROM inline", "UPDATE inline SET data = 'text'"]
)
def test_inline_bytes_are_covered_by_their_entry(world, statement):
    world.filled()
    edit(world, statement)
    found(world, "kept with entry 2 of the ledger are missing or altered")


@pytest.mark.parametrize("value", ["00" * 32, "", "x", b"x" * 32, None])
def test_the_ledgers_id_is_covered_by_every_entry(world, value):
    world.filled()
    statement = "DELETE FROM ledger" if value is None else ("UPDATE ledger SET id = ?", (value,))
    edit(world, statement)
    found(world, "does not follow|has lost its id")


def test_a_second_id_is_refused(world):
    world.filled()
    edit(world, "INSERT INTO ledger SELECT id FROM ledger")
    found(world, "has lost its id")


def test_a_signed_entry_that_breaks_the_rules_is_found(world):
    ledger = world.filled()
    event = Event(world.registration("bob", name="other"), world.key().public)
    insert(world, Entry.sign(event, world.key(), after=ledger.head(), inline=None))
    found(world, "entry 7 breaks the rules of the chain: 'other' must be signed by")


def test_a_signed_repetition_is_found(world):
    ledger = world.filled()
    event = Event(world.proof(0), world.key().public)
    insert(world, Entry.sign(event, world.key(), after=ledger.head(), inline=None))
    found(world, "entry 7 repeats an earlier one")


def test_an_entry_of_another_ledger_is_not_taken(world):
    ledger = world.filled()
    foreign = ledger.head().model_copy(update={"ledger_id": "00" * 32})
    insert(world, Entry.sign(Event(world.proof(9), world.key().public), world.key(), after=foreign, inline=None))
    found(world, "entry 7 of the ledger was altered")


def test_a_cut_tail_shows_against_a_head_and_not_without(world):
    ledger = world.filled()
    head = ledger.head()
    edit(world, "DELETE FROM entries WHERE sequence > 4")
    assert world.ledger().verify().head.length == 4
    found(world, "tail was cut: it has 4 entries, and had 6", head)
    with pytest.raises(ChainError, match="have changed since"):
        ledger.head()


def test_a_call_whose_entry_was_cut_off_is_made_again(world):
    ledger = world.filled()
    ledger.close()
    edit(world, "DELETE FROM entries WHERE sequence > 4")
    assert world.ledger().submit(world.proof(4), key="p4").entry == "5"


def test_a_rewrite_by_the_keys_owner_shows_against_a_head_and_not_without(world):
    ledger = world.filled()
    signed = countersign(ledger.head(), world.key("bob"))
    ledger.close()
    edit(world, "DELETE FROM entries WHERE sequence > 3", "DELETE FROM calls")
    rewritten = world.ledger()
    for number in (77, 78, 79, 80):
        rewritten.submit(world.proof(number), key=str(number))
    assert rewritten.verify().head.length == 7
    found(world, "was rewritten: its first 6 entries", signed)
    found(world, "was rewritten: its first 6 entries", signed.head)
    assert world.ledger().verify(rewritten.head()).checked_against == rewritten.head()


def test_a_process_that_had_read_the_ledger_notices_a_rewrite(world):
    ledger = world.filled()
    cursor = list(ledger.events())[-1].cursor
    edit(world, "DELETE FROM entries WHERE sequence > 3", "DELETE FROM calls")
    world.ledger().submit(world.proof(77), key="77")
    for use in (ledger.head, lambda: ledger.submit(world.proof(80), key="80"), lambda: ledger.status(ledger_ref())):
        with pytest.raises(ChainError, match=r"have changed since|does not follow"):
            use()
    with pytest.raises(ChainError, match="names no entry"):
        list(world.ledger().events(cursor))


def ledger_ref():
    from balance_core.chain import ChainRef

    return ChainRef(chain="ledger", entry="1")


def test_a_new_ledger_at_the_same_place_is_not_the_old_one(world):
    ledger = world.filled()
    head = ledger.head()
    world.path.unlink()
    for suffix in ("-wal", "-shm"):
        world.path.with_name(f"ledger.db{suffix}").unlink(missing_ok=True)
    world.ledger().register(world.registration(), key="again")
    found(world, "the head is of the ledger", head)
    with pytest.raises(ChainError, match="another ledger lies at"):
        ledger.submit(world.proof(9), key="x")


def test_what_is_left_of_a_removed_ledger_is_not_mixed_with_a_new_one(world):
    ledger = world.filled()
    ledger.head()
    world.path.unlink()
    with pytest.raises(ChainError, match="what is left of another ledger"):
        world.ledger().register(world.registration(), key="again")


def test_an_early_head_is_still_good_later_on(world):
    ledger = world.filled(1)
    empty_or_early = ledger.head()
    ledger.submit(world.proof(5), key="5")
    report = ledger.verify(countersign(empty_or_early, world.key("carol")))
    assert report.checked_against == empty_or_early
    assert report.countersigned_by == world.key("carol").public
    assert report.signers == (world.key().public,)


def test_a_countersignature_is_checked_first(world):
    ledger = world.filled()
    signed = countersign(ledger.head(), world.key("bob"))
    assert SignedHead.from_json(signed.to_json()).check() == ledger.head()
    forged = signed.model_copy(update={"signer": SigningKey.generate().public})
    with pytest.raises(ConfigError, match="was not countersigned"):
        ledger.verify(forged)


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        (b"", ConfigError, "no Balance ledger"),
        (b"x" * 5000, ConfigError, "not a database"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, BalanceError, None),
    ],
)
def test_a_file_that_is_no_ledger_is_refused_and_kept(world, content, error, match):
    world.path.write_bytes(content)
    for use in (
        lambda: world.ledger().head(),
        lambda: world.ledger(read_only=True).verify(),
        lambda: world.ledger().register(world.registration(), key="x"),
    ):
        with pytest.raises(error, match=match):
            use()
    assert world.path.read_bytes() == content


def test_another_programs_database_is_refused_and_kept(world):
    edit(world, "CREATE TABLE entries (sequence INTEGER PRIMARY KEY)")
    before = world.path.read_bytes()
    with pytest.raises(ConfigError, match="no Balance ledger"):
        world.ledger().register(world.registration(), key="x")
    assert world.path.read_bytes() == before


def test_a_ledger_of_another_format_is_refused(world):
    world.filled().close()
    edit(world, "PRAGMA user_version=2")
    with pytest.raises(ConfigError, match="has format 2, this version of Balance reads 1"):
        world.ledger().head()


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE sequence = 1; END"],
        ["CREATE VIEW v AS SELECT 1"],
        ["CREATE TABLE more (x)"],
        ["CREATE INDEX i ON entries (kind)"],
        [
            "DROP TABLE entries",
            """CREATE VIEW entries AS WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)
            SELECT n AS sequence, '' AS previous, '' AS kind, x'' AS record, NULL AS inline, '' AS signer,
            '' AS signature FROM c""",
        ],
        ["DROP TABLE calls"],
        ["ALTER TABLE entries ADD COLUMN more TEXT"],
    ],
)
def test_a_file_with_programs_or_other_tables_is_refused(world, statements):
    world.filled().close()
    edit(world, *statements)
    with pytest.raises(ConfigError, match="other tables"):
        world.ledger(read_only=True).verify()


def test_values_of_many_megabytes_are_not_read(world):
    world.filled().close()
    edit(world, "UPDATE entries SET record = zeroblob(5000000) WHERE sequence = 3")
    with pytest.raises(ChainError, match="too big"):
        world.ledger(read_only=True).verify()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM calls", "UPDATE calls SET sequence = 'x'", "UPDATE calls SET sequence = 5"]
)
def test_the_table_of_idempotency_keys_is_not_believed(world, statement):
    ledger = world.filled()
    edit(world, statement)
    assert ledger.submit(world.proof(0), key="p0").entry == "2"


def test_flipped_bytes_anywhere_in_the_file_never_pass_for_another_history(world, tmp_path):
    """A flipped byte is found, or lies where nothing is said (free space, idempotency keys)."""
    ledger = world.filled(12)
    head, events = ledger.head(), list(ledger.events())
    ledger.close()
    original = world.path.read_bytes()
    path = tmp_path / "flipped.db"
    refused = 0
    for offset in range(0, len(original), 293):
        data = bytearray(original)
        data[offset] ^= 0xFF
        path.write_bytes(data)
        try:
            reader = world.ledger(path=path, read_only=True)
            assert reader.verify().head == head
            assert list(reader.events()) == events
        except BalanceError:
            refused += 1
        reader.close()
    assert refused > 10


@pytest.mark.parametrize("size", [1, 100, 4096, 5000, 20000])
def test_a_cut_file_is_a_clean_error(world, size):
    ledger = world.filled(12)
    head = ledger.head()
    ledger.close()
    data = world.path.read_bytes()
    assert len(data) > size
    world.path.write_bytes(data[:size])
    with pytest.raises(BalanceError):
        world.ledger(read_only=True).verify(head)
