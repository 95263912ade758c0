"""The embedded ledger's SQLite file: made whole or not at all, opened only if it is one, and never trusted.

A ledger handed over by somebody else is hostile until it is verified. So its schema must be letter for letter the one
below (a view or trigger would be a program), values are limited in size, and every row is checked where it is read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from balance_core.builtin.ledger_entry import MAX_ENTRY_BYTES
from balance_core.errors import ChainError, ChainUnreachable, ConfigError
from balance_core.files import locked, sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_INLINE_BYTES = 1024 * 1024
"""Largest content that is kept with an entry."""

_APPLICATION_ID = 0x42414C43
"""'BALC' in the file's header."""
_SCHEMA_VERSION = 1
_SCHEMA = (
    "CREATE TABLE ledger (id TEXT NOT NULL)",
    """CREATE TABLE entries (sequence INTEGER PRIMARY KEY, previous TEXT NOT NULL, kind TEXT NOT NULL,
        record BLOB NOT NULL, inline TEXT, signer TEXT NOT NULL, signature TEXT NOT NULL)""",
    "CREATE TABLE inline (cid TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE calls (signer TEXT NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, sequence INTEGER NOT NULL,
        PRIMARY KEY (signer, key)) WITHOUT ROWID""",
)
"""`calls` holds the idempotency keys of this file's writers; it is no part of what the ledger says."""


class LedgerFile:
    """The connection to one ledger; a child after fork, and a replaced file, get a new one."""

    def __init__(self, path: Path, *, read_only: bool, wait_seconds: float) -> None:
        self.path = path
        self._read_only = read_only
        self._wait_seconds = wait_seconds
        self._connection: sqlite3.Connection | None = None
        self._opened_as: tuple[int, int, int] | None = None

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None and self._opened_as is not None and self._opened_as[0] == os.getpid():
            connection.close()

    def exists(self) -> bool:
        """Say whether there is a file."""
        return self.path.exists()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside a read transaction: what is read belongs together."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection inside the one write transaction; leaving it without an error means it is on the disk."""
        if self._read_only:
            raise ChainError(
                f"the ledger {str(self.path)!r} was opened for reading", hint="leave out -o chain.read_only"
            )
        with _explained(self.path):
            if not self.exists():
                create(self.path)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with _explained(self.path):
            connection = self._connect()
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A failed commit has rolled back already; a lost connection cannot.
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def _connect(self) -> sqlite3.Connection:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self.close()
            raise ChainError(
                f"there is no ledger at {str(self.path)!r}", hint="`balance run` makes one, or check the path"
            ) from None
        identity = (os.getpid(), found.st_dev, found.st_ino)
        if self._connection is not None and self._opened_as == identity:
            return self._connection
        self.close()
        connection = _open(self.path, read_only=self._read_only, wait_seconds=self._wait_seconds)
        try:
            _check_form(connection, self.path)
        except BaseException:
            connection.close()
            raise
        self._connection, self._opened_as = connection, identity
        return connection


def _open(path: Path, *, read_only: bool, wait_seconds: float) -> sqlite3.Connection:
    """Open without making a file. A handed-over ledger may lie where nothing can be written."""
    options = "mode=rw"
    if read_only:
        options = "mode=ro" if Path(f"{path}-wal").exists() else "mode=ro&immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=wait_seconds,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_INLINE_BYTES + MAX_ENTRY_BYTES)
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0", "synchronous=FULL", "fullfsync=ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_form(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ConfigError unless this is a ledger of the version that is spoken here, and nothing more."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != _APPLICATION_ID:
        raise ConfigError(f"{str(path)!r} is a database, but no Balance ledger", hint="check the path")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _SCHEMA_VERSION:
        raise ConfigError(
            f"the ledger {str(path)!r} has format {version}, this version of Balance reads {_SCHEMA_VERSION}",
            hint="pip install --upgrade balance-core",
        )
    found = connection.execute("SELECT sql FROM sqlite_master LIMIT 100").fetchall()
    if sorted(str(sql) for (sql,) in found) != sorted(_SCHEMA):
        raise ConfigError(f"the ledger {str(path)!r} has other tables than a ledger has", hint="do not use this file")


def ledger_id(connection: sqlite3.Connection) -> str:
    """Return the id that the ledger drew when it was made; raises ChainError."""
    rows = connection.execute("SELECT id FROM ledger LIMIT 2").fetchall()
    text = rows[0][0] if len(rows) == 1 else None
    if not isinstance(text, str) or len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ChainError("the ledger has lost its id", hint="restore it from a copy")
    return text


def create(path: Path) -> None:
    """Make an empty ledger, unless somebody else has made one meanwhile; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent / f".{path.name}.lock"):
        if path.exists():
            return
        journal = Path(f"{path}-wal")
        if journal.exists():
            raise ChainError(
                f"{str(journal)!r} is what is left of another ledger that was at this place",
                hint=f"restore {path} from a copy, or remove the file",
            )
        with tempfile.TemporaryDirectory(prefix=".ledger-", dir=path.parent) as folder:
            draft = Path(folder) / "ledger.db"
            connection = sqlite3.connect(draft, isolation_level=None)
            try:
                connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute("INSERT INTO ledger VALUES (?)", (secrets.token_hex(32),))
                connection.execute("PRAGMA journal_mode=WAL")
            finally:
                connection.close()
            with draft.open("rb") as stream:
                os.fsync(stream.fileno())
            draft.chmod(0o600)
            draft.replace(path)
        sync_folder(path.parent)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the errors of SQLite and the system into typed ones that name the file."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise ConfigError(f"{str(path)!r} is no ledger: it is not a database", hint="check the path") from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise ChainUnreachable(
                f"the ledger {str(path)!r} is held by another process", hint="try again when it has finished"
            ) from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            raise ConfigError(
                f"the ledger {str(path)!r} cannot be opened: {error}", hint="check the path and its permissions"
            ) from error
        raise ChainError(
            f"the ledger {str(path)!r} cannot be read or written: {error}", hint="check the disk, or restore a copy"
        ) from error
    except UnicodeError as error:
        # The database's own texts are damaged, and with them the message that SQLite makes of it.
        raise ChainError(f"the ledger {str(path)!r} is damaged", hint="restore a copy") from error
    except OSError as error:
        raise ConfigError(
            f"the ledger {str(path)!r} cannot be used: {error.strerror or error}",
            hint="check the path, its permissions and the space left",
        ) from error
