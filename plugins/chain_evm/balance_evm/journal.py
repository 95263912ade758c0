"""What an account sent from this data folder: every signed transaction, kept before it is sent.

Processes that share an account share its journal: a number (nonce) is given out under a lock, and the signed bytes
are on the disk before a node sees them. So whoever comes later, after a crash or on a chain that has forgotten, sends
the same bytes again, and nothing is done twice.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError
from balance_core.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sent (
    hash TEXT PRIMARY KEY, nonce INTEGER NOT NULL, raw BLOB NOT NULL, target TEXT, data BLOB NOT NULL,
    value TEXT NOT NULL, gas INTEGER NOT NULL, max_fee TEXT NOT NULL, priority_fee TEXT NOT NULL, time REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS sent_by_nonce ON sent (nonce);
CREATE TABLE IF NOT EXISTS calls (
    registry TEXT NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, nonce INTEGER, entry TEXT,
    PRIMARY KEY (registry, key)
);
"""


@dataclass(frozen=True)
class Sent:
    """A transaction as it was signed; a replacement has the same nonce and another hash."""

    hash: str
    nonce: int
    raw: bytes
    target: str | None
    data: bytes
    value: int
    gas: int
    max_fee: int
    priority_fee: int
    time: float


@dataclass(frozen=True)
class Call:
    """An idempotency key with the record that it stood for, and where that went."""

    event: str
    nonce: int | None
    entry: str | None


class Journal:
    """One account's transactions on one chain; any number of processes and threads may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=60, isolation_level="IMMEDIATE")) as found:
                found.execute("PRAGMA synchronous=FULL")
                found.executescript(_SCHEMA)
                with found:
                    yield found
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"the journal {str(self._path)!r} cannot be used: {error}",
                hint="move it away if it is damaged; transactions that are still on their way are in it",
            ) from error

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Hold the right to give out a number; it is free again when the process ends."""
        with locked(self._path.with_suffix(".lock")):
            yield

    def add(self, sent: Sent) -> None:
        """Keep a signed transaction, on the disk when this returns."""
        values = (sent.hash, sent.nonce, sent.raw, sent.target, sent.data, str(sent.value), sent.gas)
        with self._open() as journal:
            journal.execute(
                "INSERT OR IGNORE INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, str(sent.max_fee), str(sent.priority_fee), sent.time),
            )

    def forget(self, name: str) -> None:
        """Drop a transaction that a node refused for good, so that its number is given out again."""
        with self._open() as journal:
            journal.execute("DELETE FROM sent WHERE hash = ?", (name,))

    def behind(self, nonce: int) -> list[Sent]:
        """Return the transactions from this number on, each number's newest one last."""
        return self._read("WHERE nonce >= ? ORDER BY nonce, time", nonce)

    def numbered(self, nonce: int) -> list[Sent]:
        """Return all that were signed with a number, oldest first."""
        return self._read("WHERE nonce = ? ORDER BY time", nonce)

    def _read(self, where: str, value: object) -> list[Sent]:
        with self._open() as journal:
            rows = journal.execute(f"SELECT * FROM sent {where}", (value,)).fetchall()  # noqa: S608 - our own text
        return [
            Sent(name, nonce, raw, target, data, int(value), gas, int(max_fee), int(priority_fee), at)
            for name, nonce, raw, target, data, value, gas, max_fee, priority_fee, at in rows
        ]

    def call(self, registry: str, key: str) -> Call | None:
        """Return what an idempotency key stood for."""
        with self._open() as journal:
            row = journal.execute(
                "SELECT event, nonce, entry FROM calls WHERE registry = ? AND key = ?", (registry, key)
            ).fetchone()
        return None if row is None else Call(*row)

    def keep_call(self, registry: str, key: str, call: Call) -> None:
        """Note what an idempotency key stands for."""
        with self._open() as journal:
            journal.execute(
                "INSERT OR REPLACE INTO calls VALUES (?, ?, ?, ?, ?)",
                (registry, key, call.event, call.nonce, call.entry),
            )


def now() -> float:
    """Return the time that entries are ordered by."""
    return time.time()
