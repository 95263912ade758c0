"""A ledger as far as it was read: every entry checked, hashed and given to the reducer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balance_core.builtin.ledger_entry import Entry, LedgerHead, genesis
from balance_core.chain_state import Replay, decide
from balance_core.errors import ChainError, Rejected

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

_SELECT = "SELECT sequence, previous, kind, record, inline, signer, signature FROM entries "
SELECT_ALL = _SELECT + "ORDER BY sequence"
SELECT_BEHIND = _SELECT + "WHERE sequence > ? ORDER BY sequence"
SELECT_SOME = _SELECT + "WHERE sequence BETWEEN ? AND ? ORDER BY sequence"


class ReplayedLedger:
    """The entries of one ledger up to a point: checked, hashed and replayed."""

    def __init__(self, ledger: str) -> None:
        self.ledger_id = ledger
        self.hashes: list[str] = []
        self.replay = Replay()

    @property
    def last(self) -> str:
        """The hash that the next entry names."""
        return self.hash_at(len(self.hashes))

    def hash_at(self, length: int) -> str:
        """Return what an entry after `length` entries names: the last one's hash, or the ledger's beginning."""
        return self.hashes[length - 1] if length else genesis(self.ledger_id)

    def head(self) -> LedgerHead:
        """Return the head of what was read."""
        return LedgerHead(ledger_id=self.ledger_id, length=len(self.hashes), hash=self.last)

    def extend(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[Entry]:
        """Check and take over the entries that follow; raises ChainError at the first that is wrong."""
        for row in rows:
            expected = len(self.hashes) + 1
            entry = Entry.from_row(self.ledger_id, self.last, row)
            if entry.sequence != expected:
                raise ChainError(f"entry {expected} of the ledger is missing: entry {entry.sequence} stands there")
            event = entry.event()
            try:
                change = decide(self.replay.state, event)
            except Rejected as error:
                raise ChainError(f"entry {expected} breaks the rules of the chain: {error.message}") from error
            if not change.events:
                raise ChainError(f"entry {expected} repeats an earlier one")
            self.replay.apply(change)
            self.hashes.append(entry.hash)
            yield entry

    def compare(self, head: LedgerHead) -> None:
        """Raise ChainError unless this ledger continues the one that the head was taken from."""
        if head.ledger_id != self.ledger_id:
            raise ChainError(f"the head is of the ledger {head.ledger_id}, this is {self.ledger_id}")
        if head.length > len(self.hashes):
            raise ChainError(
                f"the ledger's tail was cut: it has {len(self.hashes)} entries, and had {head.length} under this head"
            )
        if self.hash_at(head.length) != head.hash:
            raise ChainError(f"the ledger was rewritten: its first {head.length} entries are not those of this head")

    def again(self, connection: sqlite3.Connection, first: int, last: int) -> list[Entry]:
        """Read entries that were checked before; raises ChainError if they are not the same any more."""
        rows = connection.execute(SELECT_SOME, (first, last)).fetchall()
        entries = []
        for sequence, row in zip(range(first, last + 1), rows, strict=False):
            entry = Entry.from_row(self.ledger_id, self.hash_at(sequence - 1), row)
            if entry.sequence == sequence and entry.hash == self.hash_at(sequence):
                entries.append(entry)
        if len(entries) != last + 1 - first:
            raise ChainError(
                f"entries {first} to {last} of the ledger have changed since they were read",
                hint="`balance ledger verify --head H` says more",
            )
        return entries
