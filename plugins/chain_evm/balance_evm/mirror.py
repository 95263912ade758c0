"""A local copy of a registry's log, kept in step with the chain: also where the chain goes back.

A node tells what is on the chain now. Who was told of an entry must also learn that it is gone, so entries of blocks
that are no longer the chain's are kept, marked as stale, each with the one that stood before it.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from balance_core.errors import ChainError, ConfigError
from balance_core.files import locked
from balance_evm.rpc import RpcRefused, quantity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from balance_evm.rpc import Rpc

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
    place INTEGER PRIMARY KEY AUTOINCREMENT, previous INTEGER NOT NULL, block INTEGER NOT NULL, hash TEXT NOT NULL,
    time INTEGER NOT NULL, tx TEXT NOT NULL, position INTEGER NOT NULL, log TEXT NOT NULL,
    canonical INTEGER NOT NULL, told TEXT, UNIQUE (hash, position)
);
CREATE TABLE IF NOT EXISTS head (
    one INTEGER PRIMARY KEY CHECK (one = 1), block INTEGER NOT NULL, hash TEXT NOT NULL, rewinds INTEGER NOT NULL
);
"""
_COLUMNS = "place, previous, block, hash, time, tx, position, log, canonical, told"
_SPAN, _LEAST_SPAN = 10_000, 1
_TRIES = 8


@dataclass(frozen=True)
class Entry:
    """One log of the registry at its place in a block."""

    place: int
    previous: int
    """The place of the entry before it on its branch; 0 for the first."""
    block: int
    hash: str
    time: int
    tx: str
    position: int
    """Its number among the logs of the block."""
    log: dict[str, Any]
    canonical: bool
    told: dict[str, Any] | None
    """The event that readers were told, if any."""


class Head(NamedTuple):
    """How far the copy goes."""

    hash: str
    """Of the block that it is in step with."""
    rewinds: int
    """How often what was read has been taken back so far."""


@dataclass(frozen=True)
class Block:
    """A block's number and hash, and when it was made."""

    number: int
    hash: str
    time: int


class Mirror:
    """The log of one registry; any number of processes may share it."""

    def __init__(self, rpc: Rpc, path: Path, registry: str, from_block: int) -> None:
        self._rpc, self._path, self._registry, self._from = rpc, path, registry, from_block
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, timeout=60, isolation_level="IMMEDIATE")) as found:
                found.executescript(_SCHEMA)
                with found:
                    yield found
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"the copy of the registry's log {str(self._path)!r} cannot be used: {error}",
                hint="remove it: it is read from the chain again",
            ) from error

    def sync(self) -> Head:
        """Take over what is new, and mark what the chain took back."""
        with locked(self._path.with_suffix(".lock")), self._open() as copy:
            for _ in range(_TRIES):
                tip = self.block("latest")
                if tip is None:
                    raise ChainError("the node has no newest block")
                if self._step(copy, tip):
                    break
            else:
                raise ChainError("the chain goes back and forth faster than it can be read", hint="try again")
            return Head(*copy.execute("SELECT hash, rewinds FROM head").fetchone())

    def _step(self, copy: sqlite3.Connection, tip: Block) -> bool:
        """Bring the copy to a block; False where the chain went back meanwhile."""
        head = copy.execute("SELECT block, hash, rewinds FROM head").fetchone()
        rewinds = head[2] if head else 0
        if head is None:
            start = self._from
        elif (head[0], head[1]) == (tip.number, tip.hash):
            return True
        elif self._is_canonical(head[0], head[1]):
            start = head[0] + 1
        else:
            start = self._rewind(copy)
            rewinds += 1
        logs = list(self._logs(start, tip.number))
        if not self._is_canonical(tip.number, tip.hash):
            copy.rollback()
            return False
        self._append(copy, logs, tip)
        copy.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?, ?)", (tip.number, tip.hash, rewinds))
        return True

    def reset(self) -> None:
        """Forget what the chain has, so that it is read again; what it took back is kept.

        This counts as going back: whoever else reads this copy begins anew, too.
        """
        with locked(self._path.with_suffix(".lock")), self._open() as copy:
            copy.execute("DELETE FROM entries WHERE canonical = 1")
            copy.execute("UPDATE head SET hash = '', rewinds = rewinds + 1")

    def _rewind(self, copy: sqlite3.Connection) -> int:
        """Mark entries of blocks that are gone, and return the first block to read again."""
        blocks = copy.execute(
            "SELECT DISTINCT block, hash FROM entries WHERE canonical = 1 ORDER BY block DESC"
        ).fetchall()
        for number, name in blocks:
            if self._is_canonical(number, name):
                return int(number) + 1
            copy.execute("UPDATE entries SET canonical = 0 WHERE hash = ?", (name,))
        return self._from

    def _append(self, copy: sqlite3.Connection, logs: list[dict[str, Any]], tip: Block) -> None:
        times = {tip.hash: tip.time}
        row = copy.execute("SELECT max(place) FROM entries WHERE canonical = 1").fetchone()
        previous = row[0] or 0
        # By place, so that what a node delivers twice is there once.
        placed = {(quantity(log["blockNumber"]), quantity(log["logIndex"])): log for log in logs}
        for _, log in sorted(placed.items()):
            name, number, position = str(log["blockHash"]), quantity(log["blockNumber"]), quantity(log["logIndex"])
            if name not in times:
                times[name] = self._time(log, name)
            kept = json.dumps({"topics": log["topics"], "data": log["data"]})
            copy.execute("DELETE FROM entries WHERE hash = ? AND position = ?", (name, position))
            values = (previous, number, name, times[name], str(log["transactionHash"]), position, kept)
            cursor = copy.execute(
                "INSERT INTO entries (previous, block, hash, time, tx, position, log, canonical)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
                values,
            )
            previous = cursor.lastrowid

    def _time(self, log: dict[str, Any], name: str) -> int:
        if log.get("blockTimestamp") is not None:
            return quantity(log["blockTimestamp"])
        block = self._rpc.call("eth_getBlockByHash", name, False)
        if not isinstance(block, dict):
            raise ChainError("the node does not have the block of an event that it told of", hint="try again")
        return quantity(block["timestamp"])

    def block(self, which: int | str) -> Block | None:
        """Return a block of the chain as it is now."""
        found = self._rpc.call("eth_getBlockByNumber", which if isinstance(which, str) else hex(which), False)
        if not isinstance(found, dict):
            return None
        return Block(quantity(found["number"]), str(found["hash"]), quantity(found["timestamp"]))

    def _is_canonical(self, number: int, name: str) -> bool:
        found = self.block(number)
        return found is not None and found.hash == name

    def _logs(self, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Yield the registry's logs of a range of blocks, in pieces that the node is ready to answer."""
        span = _SPAN
        while first <= last:
            end = min(first + span - 1, last)
            wanted = {"address": self._registry, "fromBlock": hex(first), "toBlock": hex(end)}
            try:
                found = self._rpc.call("eth_getLogs", wanted)
            except RpcRefused:
                if span <= _LEAST_SPAN:
                    raise
                span = max(span // 8, _LEAST_SPAN)
                continue
            if not isinstance(found, list):
                raise ChainError("the node answered eth_getLogs with something that is no list")
            yield from (log for log in found if not log.get("removed"))
            first = end + 1

    def behind(self, place: int) -> list[Entry]:
        """Return the chain's entries behind a place, in order."""
        return self._read("canonical = 1 AND place > ? ORDER BY place", place)

    def at(self, place: int) -> Entry | None:
        """Return an entry, also a stale one."""
        found = self._read("place = ?", place)
        return found[0] if found else None

    def find(self, name: str, position: int) -> Entry | None:
        """Return the entry of a block, also of one that is gone."""
        found = self._read("hash = ? AND position = ?", name, position)
        return found[0] if found else None

    def of_transaction(self, tx: str) -> list[Entry]:
        """Return a transaction's entries: those on the chain, or else those that it took back."""
        found = self._read("tx = ? ORDER BY place", tx)
        return [entry for entry in found if entry.canonical] or found

    def _read(self, where: str, *values: object) -> list[Entry]:
        with self._open() as copy:
            rows = copy.execute(f"SELECT {_COLUMNS} FROM entries WHERE {where}", values).fetchall()  # noqa: S608 - ours
        return [_entry(row) for row in rows]

    def keep_told(self, told: dict[int, dict[str, Any]]) -> None:
        """Note what readers were told of entries, by place."""
        with self._open() as copy:
            rows = [(json.dumps(event), place) for place, event in told.items()]
            copy.executemany("UPDATE entries SET told = ? WHERE place = ?", rows)


def _entry(row: tuple[Any, ...]) -> Entry:
    place, previous, block, name, time, tx, position, log, canonical, told = row
    event = None if told is None else json.loads(told)
    return Entry(place, previous, block, name, time, tx, position, json.loads(log), bool(canonical), event)
