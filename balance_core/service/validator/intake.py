"""What the chain's events mean to a validator: proofs to check, words of validators, and what was taken back."""

from __future__ import annotations

import logging
import time
from itertools import islice
from typing import TYPE_CHECKING

from balance_core.chain import Attestation, ProofRecord
from balance_core.errors import BalanceError
from balance_core.service.validator.diary import tell
from balance_core.service.validator.reasons import Reason, State
from balance_core.service.validator.store import fact, keep_cursor

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from balance_core.chain import ChainEvent
    from balance_core.contracts import ChainAdapter
    from balance_core.service.validator.store import Store

BATCH = 256
"""Events that are taken in by one transaction."""
CLOCK = "clock"
"""The cost of the provider that was served last: who comes back, or anew, starts no better than that."""


def follow(chain: ChainAdapter, store: Store, validator: str) -> int:
    """Take in all events behind the cursor, up to the newest, and return how many; raises ChainError.

    A ChainError that names the cursor means that the chain is not the one that was read before.
    """
    taken = 0
    events = iter(chain.events(store.cursor()))
    while batch := list(islice(events, BATCH)):
        with store.transaction() as connection:
            take(connection, batch, validator)
            keep_cursor(connection, batch[-1].cursor)
        taken += len(batch)
    return taken


def take(connection: sqlite3.Connection, events: Iterable[ChainEvent], validator: str) -> None:
    """Do what the events say; one that cannot be read says nothing."""
    for event in events:
        try:
            if event.record_kind == ProofRecord.kind:
                _proof(connection, event, ProofRecord.from_value(event.record))
            elif event.record_kind == Attestation.kind:
                _word(connection, event, Attestation.from_value(event.record), validator)
        except BalanceError as error:
            tell("an event was passed over", level=logging.WARNING, entry=event.ref.entry, why=error.message)


def _proof(connection: sqlite3.Connection, event: ChainEvent, record: ProofRecord) -> None:
    now = time.time()
    if event.type == "reverted":
        connection.execute(
            "UPDATE work SET state = ?, held = 0, generation = generation + 1, changed = ?"
            " WHERE proof = ? AND record = ?",
            (State.REVERTED, now, record.proof_id, record.to_json()),
        )
        return
    _enter(connection, event.signer, record.registration_id)
    connection.execute(
        "INSERT INTO work (proof, registration, provider, record, entry, state, due, changed)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (proof) DO UPDATE SET"
        " registration = excluded.registration, provider = excluded.provider, record = excluded.record,"
        " entry = excluded.entry, state = excluded.state, reason = '', detail = '', verdict = NULL, word = '',"
        " held = 0, tries = 0, interruptions = 0, generation = generation + 1, due = excluded.due,"
        " changed = excluded.changed WHERE work.state = ? OR work.record != excluded.record",
        (
            record.proof_id,
            record.registration_id,
            event.signer,
            record.to_json(),
            event.ref.to_json().decode(),
            State.WAITING,
            now,
            now,
            State.REVERTED,
        ),
    )


def _enter(connection: sqlite3.Connection, provider: str, registration: str) -> None:
    """Give whoever has nothing waiting a place in the order, not before those who have waited."""
    clock = float(fact(connection, CLOCK) or 0.0)
    waits = "SELECT 1 FROM work WHERE provider = ? AND state = ? LIMIT 1"
    if connection.execute(waits, (provider, State.WAITING)).fetchone() is None:
        connection.execute(
            "INSERT INTO providers (name, cost) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET cost = max(cost, excluded.cost)",
            (provider, clock),
        )
    connection.execute(
        "INSERT OR IGNORE INTO lines SELECT ?, ?, coalesce(min(cost), 0) FROM lines WHERE provider = ?",
        (registration, provider, provider),
    )


def _word(connection: sqlite3.Connection, event: ChainEvent, word: Attestation, validator: str) -> None:
    values = (word.proof_id, word.validator, word.valid)
    if event.type == "reverted":
        connection.execute("DELETE FROM words WHERE proof = ? AND validator = ? AND valid = ?", values)
        if word.validator == validator:
            _own_word_is_gone(connection, word)
        return
    connection.execute("INSERT OR IGNORE INTO words VALUES (?, ?, ?)", values)
    if word.validator == validator:
        _own_word(connection, event, word)


def _own_word(connection: sqlite3.Connection, event: ChainEvent, word: Attestation) -> None:
    """Take what stands on the chain under this key as said, also where this memory knows nothing of it."""
    known = connection.execute(
        "SELECT valid FROM said WHERE proof = ? AND statement = ?", (word.proof_id, word.statement_digest)
    ).fetchone()
    if known is None:
        connection.execute("INSERT INTO said VALUES (?, ?, ?)", (word.proof_id, word.statement_digest, word.valid))
    elif bool(known[0]) != word.valid:
        tell(
            "somebody else signs with this key: the chain has a word that contradicts what was said here",
            level=logging.ERROR,
            proof=word.proof_id,
            entry=event.ref.entry,
        )
        return
    connection.execute(
        "UPDATE work SET state = ?, reason = CASE verdict WHEN ? THEN reason ELSE ? END, verdict = ?, word = ?,"
        " held = 0, generation = generation + 1, changed = ? WHERE proof = ? AND state IN (?, ?, ?)",
        (
            State.ATTESTED,
            word.valid,
            Reason.VALID if word.valid else Reason.INVALID,
            word.valid,
            event.ref.to_json().decode(),
            time.time(),
            word.proof_id,
            State.WAITING,
            State.DECIDED,
            State.ATTESTED,
        ),
    )


def _own_word_is_gone(connection: sqlite3.Connection, word: Attestation) -> None:
    """Say it again: the verdict stands."""
    connection.execute(
        "UPDATE work SET state = ?, word = '', held = 0, due = 0, generation = generation + 1"
        " WHERE proof = ? AND state = ?",
        (State.DECIDED, word.proof_id, State.ATTESTED),
    )
