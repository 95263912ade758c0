"""Which proof comes next, and how one ends: fair to providers by what their proofs cost, durable at every step.

A provider's turn comes when least time was spent on its proofs, and within a provider it is the same between its
registrations. A provider whose proofs were valid before shares half of the validator with others like it, so that any
number of new keys takes at most the other half.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balance_core.chain import ChainRef, ProofRecord
from balance_core.service.validator.intake import CLOCK
from balance_core.service.validator.reasons import Reason, State
from balance_core.service.validator.store import keep_fact

if TYPE_CHECKING:
    import sqlite3

    from balance_core.service.validator.store import Store

_ADVANCE_SECONDS = 1.0
"""What a proof is taken to cost until that is known: so a provider does not get all workers at once."""
_DETAIL = 500
_DAY = 24 * 3600.0
_Row = tuple[str, bytes, str, str, str, int, int | None, int]
_SELECT = "SELECT proof, record, provider, entry, state, tries, verdict, generation FROM work "
_TO_SAY = _SELECT + "WHERE state = ? AND held = 0 AND due <= ? ORDER BY due LIMIT 1"
_TO_CHECK = _SELECT + "WHERE registration = ? AND state = ? AND held = 0 AND due <= ? ORDER BY due, rowid LIMIT 1"


@dataclass(frozen=True)
class Item:
    """A proof in hand."""

    proof_id: str
    record: ProofRecord
    provider: str
    entry: ChainRef
    state: State
    tries: int
    verdict: bool | None
    generation: int
    """It changes when the chain takes the proof back: what was found out meanwhile is then of no use."""


class Queue:
    """The proofs of a store, in the order in which they are worked on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turn = 0

    def recover(self, interruptions: int) -> int:
        """Take up what a process that died had in hand, and return how many; what killed too many is left alone."""
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE work SET state = ?, reason = ?, held = 0, changed = ?, detail = ?"
                " WHERE held = 1 AND state = ? AND interruptions >= ?",
                (
                    State.RECORDED,
                    Reason.INTERRUPTED,
                    time.time(),
                    f"the validator ended {interruptions} times while it had this proof in hand",
                    State.WAITING,
                    interruptions,
                ),
            )
            return connection.execute("UPDATE work SET held = 0 WHERE held = 1").rowcount

    def lease(self) -> Item | None:
        """Take the next proof in hand: what only has to be said comes first."""
        now = time.time()
        with self._store.transaction() as connection:
            row: _Row | None = connection.execute(_TO_SAY, (State.DECIDED, now)).fetchone()
            row = row or self._next(connection, now)
            if row is None:
                return None
            connection.execute(
                "UPDATE work SET held = 1, interruptions = interruptions + 1 WHERE proof = ?", (row[0],)
            )
        record, entry = ProofRecord.from_json(row[1]), ChainRef.from_json(row[3].encode())
        verdict = None if row[6] is None else bool(row[6])
        return Item(row[0], record, row[2], entry, State(row[4]), row[5], verdict, row[7])

    def _next(self, connection: sqlite3.Connection, now: float) -> _Row | None:
        self._turn += 1
        for good in (self._turn % 2, 1 - self._turn % 2):
            line = connection.execute(
                "SELECT l.registration, p.name, p.cost FROM providers p JOIN lines l ON l.provider = p.name"
                " WHERE p.good = ? AND EXISTS (SELECT 1 FROM work w WHERE w.registration = l.registration"
                " AND w.state = ? AND w.held = 0 AND w.due <= ?) ORDER BY p.cost, l.cost LIMIT 1",
                (good, State.WAITING, now),
            ).fetchone()
            if line is not None:
                break
        else:
            return None
        registration, provider, cost = line
        keep_fact(connection, CLOCK, repr(cost))
        _charge(connection, provider, registration, _ADVANCE_SECONDS)
        row: _Row = connection.execute(_TO_CHECK, (registration, State.WAITING, now)).fetchone()
        return row

    def next_due(self) -> float | None:
        """Return when something can be done next; None where nothing waits."""
        with self._store.reading() as connection:
            row = connection.execute(
                "SELECT min(due) FROM work WHERE state IN (?, ?) AND held = 0", (State.WAITING, State.DECIDED)
            ).fetchone()
        return None if row[0] is None else float(row[0])

    def is_done(self) -> bool:
        """Say whether every proof has come to its end."""
        with self._store.reading() as connection:
            query = "SELECT 1 FROM work WHERE state IN (?, ?) LIMIT 1"
            return connection.execute(query, (State.WAITING, State.DECIDED)).fetchone() is None

    def postpone(self, item: Item, detail: str, *, seconds: float, tried: bool = True) -> None:
        """Put a proof back, to be taken up later; `tried` counts it as a try."""
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE work SET held = 0, interruptions = 0, tries = tries + ?, due = ?, detail = ?"
                " WHERE proof = ? AND generation = ?",
                (tried, time.time() + seconds, _line(detail), item.proof_id, item.generation),
            )

    def record(self, item: Item, reason: Reason, detail: str, *, verdict: bool | None = None) -> None:
        """Keep why nothing is said of a proof."""
        with self._store.transaction() as connection:
            self._end(connection, item, State.RECORDED, (reason, detail), verdict=verdict)

    def decide(self, item: Item, reason: Reason, detail: str, *, valid: bool) -> bool:
        """Keep a verdict and return whether to say it on the chain now: not where it contradicts earlier words.

        One word for each statement, and at most one statement of an answer called valid: the rest is equivocation,
        whatever the chain looked like in between.
        """
        proof, statement = item.proof_id, item.record.statement_digest
        with self._store.transaction() as connection:
            said = connection.execute("SELECT statement, valid FROM said WHERE proof = ?", (proof,)).fetchall()
            for other, word in said:
                if bool(word) != valid if other == statement else (bool(word) and valid):
                    words = f"it was called {'valid' if word else 'invalid'} before, with the statement {other}"
                    self._end(connection, item, State.RECORDED, (Reason.CONTRADICTION, words), verdict=valid)
                    return False
            if not self._end(connection, item, State.DECIDED, (reason, detail), verdict=valid):
                return False
            connection.execute("INSERT OR IGNORE INTO said VALUES (?, ?, ?)", (proof, statement, valid))
            if valid:
                connection.execute("UPDATE providers SET good = 1 WHERE name = ?", (item.provider,))
            return True

    @staticmethod
    def _end(
        connection: sqlite3.Connection, item: Item, state: State, why: tuple[Reason, str], *, verdict: bool | None
    ) -> bool:
        # What is only on its way to the chain goes on at once in the same hands.
        held = state is State.DECIDED
        changed = connection.execute(
            "UPDATE work SET state = ?, reason = ?, detail = ?, verdict = ?, held = ?, interruptions = 0, tries = 0,"
            " due = 0, changed = ? WHERE proof = ? AND generation = ?",
            (
                state,
                why[0],
                _line(why[1]),
                verdict,
                held,
                time.time(),
                item.proof_id,
                item.generation,
            ),
        )
        return changed.rowcount == 1

    def attested(self, item: Item, word: ChainRef) -> None:
        """Keep that the verdict is on the chain."""
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE work SET state = ?, word = ?, held = 0, interruptions = 0, changed = ?"
                " WHERE proof = ? AND generation = ?",
                (State.ATTESTED, word.to_json().decode(), time.time(), item.proof_id, item.generation),
            )

    def charge(self, item: Item, seconds: float) -> None:
        """Put what a proof really cost on its provider's account."""
        with self._store.transaction() as connection:
            _charge(connection, item.provider, item.record.registration_id, seconds - _ADVANCE_SECONDS)

    def called_invalid_today(self, provider: str) -> int:
        """Return how many proofs of a provider were called invalid on the chain within a day."""
        with self._store.reading() as connection:
            row = connection.execute(
                "SELECT count(*) FROM work WHERE provider = ? AND state IN (?, ?) AND reason = ? AND changed > ?",
                (provider, State.DECIDED, State.ATTESTED, Reason.INVALID, time.time() - _DAY),
            ).fetchone()
        return int(row[0])


def _line(text: str) -> str:
    """Return a stranger's words, or an error's, as one line of bounded length without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:_DETAIL])


def _charge(connection: sqlite3.Connection, provider: str, registration: str, seconds: float) -> None:
    connection.execute("UPDATE providers SET cost = cost + ? WHERE name = ?", (seconds, provider))
    connection.execute("UPDATE lines SET cost = cost + ? WHERE registration = ?", (seconds, registration))
