"""A validator's memory: one SQLite file with the cursor, the proofs to check, what was said of them, and by whom.

What an event changes and the cursor behind it are one transaction, so that a restart neither skips nor repeats. A
verdict is here before it is on the chain, so that it is never another one the second time.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING

from balance_core.errors import ConfigError
from balance_core.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_APPLICATION_ID = 0x42414C56
"""'BALV' in the file's header."""
_VERSION = 1
_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE providers (
    name TEXT PRIMARY KEY, cost REAL NOT NULL, good INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX provider_order ON providers (good, cost);
CREATE TABLE lines (registration TEXT PRIMARY KEY, provider TEXT NOT NULL, cost REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX line_order ON lines (provider, cost);
CREATE TABLE work (
    proof TEXT PRIMARY KEY, registration TEXT NOT NULL, provider TEXT NOT NULL, record BLOB NOT NULL,
    entry TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '',
    verdict INTEGER, word TEXT NOT NULL DEFAULT '', held INTEGER NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL,
    changed REAL NOT NULL
);
CREATE INDEX work_ready ON work (registration, state, held, due);
CREATE INDEX work_due ON work (state, held, due);
CREATE INDEX work_provider ON work (provider, state, reason, changed);
CREATE TABLE said (
    proof TEXT NOT NULL, statement TEXT NOT NULL, valid INTEGER NOT NULL, PRIMARY KEY (proof, statement)
) WITHOUT ROWID;
CREATE TABLE words (
    proof TEXT NOT NULL, validator TEXT NOT NULL, valid INTEGER NOT NULL, PRIMARY KEY (proof, validator, valid)
) WITHOUT ROWID;
"""
_CURSOR = "cursor"


class Store:
    """The file of one validator on one chain; its threads share it, and only one process writes it at a time."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        try:
            self._connection = _open(path, read_only=read_only)
        except sqlite3.Error as error:
            raise ConfigError(
                f"the validator's memory {str(path)!r} cannot be opened: {error}",
                hint="check the path; `balance validator run` makes it",
            ) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only process that works with this file; raises ConfigError where another one does."""
        with locked(self.path.with_name(self.path.name + ".lock"), wait=False) as free:
            if not free:
                raise ConfigError(
                    f"another validator works with {str(self.path)!r}",
                    hint="stop it first, or give this one a memory of its own: --memory FILE",
                )
            yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection; what is written is on the disk when it is left, or none of it."""
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection for looking; what is read belongs together."""
        with self._lock, self._explained():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ConfigError(
                f"the validator's memory {str(self.path)!r} cannot be read or written: {error}",
                hint="check the disk and the file's permissions; nothing that was said is lost, the chain has it",
            ) from error

    def belongs_to(self, validator: str, chain: str) -> None:
        """Remember whose memory this is; raises ConfigError if it is of another validator or another chain."""
        with self.transaction() as connection:
            for name, value in (("validator", validator), ("chain", chain)):
                known = fact(connection, name)
                if known is None:
                    keep_fact(connection, name, value)
                elif known != value:
                    raise ConfigError(
                        f"the memory {str(self.path)!r} is of the {name} {known}, and not of {value}",
                        hint="give every validator a memory of its own on every chain: --memory FILE",
                    )

    def cursor(self) -> str | None:
        """Return the place on the chain behind which nothing has been read yet."""
        with self.reading() as connection:
            return fact(connection, _CURSOR)

    def rescan(self) -> None:
        """Read the chain from its first entry again; what was decided and said stays."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM facts WHERE name = ?", (_CURSOR,))


def keep_cursor(connection: sqlite3.Connection, cursor: str) -> None:
    """Remember how far the chain was read, in the transaction that keeps what was read."""
    keep_fact(connection, _CURSOR, cursor)


def fact(connection: sqlite3.Connection, name: str) -> str | None:
    """Return a remembered value."""
    row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def keep_fact(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Remember a value."""
    connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}",
        uri=True,
        timeout=30,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _prepare(connection, path, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    """Make the tables in an empty file; raises ConfigError for any other than a validator's."""
    if not read_only:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if empty:
            for statement in _SCHEMA.split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={_VERSION}")
        connection.execute("COMMIT")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (application, version) != (_APPLICATION_ID, _VERSION):
        raise ConfigError(
            f"{str(path)!r} is not the memory of a validator of this version", hint="check --memory FILE"
        )
