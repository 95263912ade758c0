"""The queue's database: opened, brought up to date, and written to by one group of callers at a time.

Nothing but `_tune` and `Database.erase_traces` knows that it is SQLite.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import sqlalchemy as sa

from balance_core.errors import BalanceError, ConfigError, StorageError, StorageUnreachable
from balance_core.files import locked
from balance_core.service.jobs.tables import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, CursorResult, Dialect, Engine, Insert

T = TypeVar("T")

_GROUP = 256
"""The most calls that share one commit."""
_WAIT_MILLISECONDS = 30_000
_ERASE_MILLISECONDS = 200
"""While traces are erased nobody writes; who reads in another process is not waited for longer, but the next time."""
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",  # a commit is on the disk when it returns
    "fullfsync=ON",
    "secure_delete=ON",  # what is erased is overwritten
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "mmap_size=0",
    "foreign_keys=ON",
    f"busy_timeout={_WAIT_MILLISECONDS}",
)
_STEPS = Path(__file__).parent / "migrations"


class _Call(Generic[T]):
    """One caller's part of a transaction, and what became of it."""

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self.work = work
        self.finished = False
        self._value: T | None = None
        self._error: BaseException | None = None

    def end(self, value: T | None, error: BaseException | None = None) -> None:
        self._value, self._error, self.finished = value, error, True

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return cast("T", self._value)  # None is what a call of type None gives


class Database:
    """One database for any number of threads; other processes may use it at the same time."""

    def __init__(self, url: str) -> None:
        try:
            self.url = sa.make_url(url)
            self._engine = sa.create_engine(
                self.url, pool_size=16, max_overflow=48, pool_timeout=_WAIT_MILLISECONDS / 1000
            )
        except (sa.exc.ArgumentError, ModuleNotFoundError, TypeError) as error:
            raise ConfigError(
                f"the queue's database cannot be opened: {error}", hint="for example sqlite:///jobs.db"
            ) from error
        self._file = _tune(self._engine)
        self._waiting: deque[_Call[Any]] = deque()
        self._leader = threading.Lock()
        with explained(self.name):
            open_tables(self._engine, self._file)
            self._writer = self._engine.connect().execution_options(writes=True)

    @property
    def name(self) -> str:
        """The database, without a password."""
        return self.url.render_as_string(hide_password=True)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do the work in a transaction and return when it is durable; what it raises undoes its own part only.

        Callers that come while another commits share the next commit. `work` may be called again, on a fresh
        transaction, where another caller's part of the first one failed.
        """
        call = _Call(work)
        self._waiting.append(call)
        while not call.finished:
            with self._leader:
                if not call.finished:
                    self._commit(self._next_group())
        return call.result()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection to read from."""
        with explained(self.name), self._engine.connect() as connection:
            yield connection

    def erase_traces(self) -> bool:
        """Remove what was erased from the journal beside the database, too; False while somebody still reads it."""
        if self._file is None:
            return True
        with self._leader, explained(self.name), self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={_ERASE_MILLISECONDS}")
            try:
                busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.exec_driver_sql(f"PRAGMA busy_timeout={_WAIT_MILLISECONDS}")
            return busy is not None and busy[0] == 0

    def close(self) -> None:
        """Close all connections."""
        with self._leader:
            self._writer.close()
            self._engine.dispose()

    def _next_group(self) -> list[_Call[Any]]:
        group: list[_Call[Any]] = []
        while self._waiting and len(group) < _GROUP:
            group.append(self._waiting.popleft())
        return group

    def _commit(self, group: Sequence[_Call[Any]], *, again: bool = True) -> None:
        """Do a group's work in one transaction, or, where a part fails, each in one of its own."""
        try:
            with explained(self.name), self._writer.begin():
                values = [call.work(self._writer) for call in group]
        except Exception as error:  # noqa: BLE001 - it belongs to the caller whose work raised it
            if len(group) > 1:
                for call in group:
                    self._commit([call])
            elif again and isinstance(error.__cause__, sa.exc.IntegrityError):
                self._commit(group, again=False)  # another process was first: now the row is seen
            else:
                group[0].end(None, error)
        except BaseException:
            for call in group:
                call.end(None, StorageError("the service was interrupted while it wrote"))
            raise
        else:
            for call, value in zip(group, values, strict=True):
                call.end(value)


def run_known(connection: Connection, statement: Insert, row: dict[str, Any]) -> CursorResult[Any]:
    """Run a statement of a module, one that every answer runs, without finding its text anew each time."""
    text, places = _text(statement, connection.dialect)
    return connection.exec_driver_sql(text, row if places is None else tuple(row[name] for name in places))


@lru_cache(maxsize=16)
def _text(statement: Insert, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
    """Return a statement's text, and its parameters in order where the database names none."""
    compiled = statement.compile(dialect=dialect)
    places = compiled.positiontup
    return str(compiled), None if places is None else tuple(places)


def _tune(engine: Engine) -> Path | None:
    """Set up each connection to a SQLite file, and return the file's path; None for any other database."""
    if engine.dialect.name != "sqlite":
        return None
    if not engine.url.database or engine.url.database == ":memory:":
        raise ConfigError("the queue's database must be a file", hint="for example sqlite:///jobs.db")
    path = Path(engine.url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise ConfigError(f"the queue's database {str(path)!r} cannot be made: {error.strerror}") from error

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says so, and nowhere else
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return path


def open_tables(engine: Engine, file: Path | None) -> None:
    """Bring the tables up to date; processes that start together wait for each other."""
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return
    with contextlib.ExitStack() as held:
        if file is not None:
            held.enter_context(locked(file.with_name(f".{file.name}.lock")))
        connection = held.enter_context(engine.connect().execution_options(writes=True))
        version = _version(connection)
        connection.rollback()
        if version == HEAD:
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config()
        config.set_main_option("script_location", str(_STEPS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
        if version is not None and version not in known:
            raise ConfigError(
                f"the queue's database was made by a newer version of Balance ({version})",
                hint="pip install --upgrade balance-core",
            )
        with connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


@contextlib.contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn the database's errors into typed ones that name it."""
    try:
        yield
    except BalanceError:
        raise
    except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StorageUnreachable(
            f"the queue's database {name} did not do as asked: {cause}", hint="check the disk, or try again"
        ) from error
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StorageError(f"the queue's database {name}: {cause}") from error
