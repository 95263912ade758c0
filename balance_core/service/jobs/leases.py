"""Leases: who works on a job holds it for a time, and changes nothing once the time has run out and another came.

Every change by a worker names its lease's token, so that a worker that was paused or cut off cannot publish what
another one works on. A job is written down as proven before the chain hears of it, and never proven again after that.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from balance_core.chain import ProofRecord
from balance_core.errors import StorageError
from balance_core.service.jobs.lease import Lease, LeaseLost
from balance_core.service.jobs.orders import JobState
from balance_core.service.jobs.rows import PRIORITY_MS, add_event, finish, kept_receipt, milliseconds, short
from balance_core.service.jobs.tables import inputs, jobs
from balance_core.service.jobs.vault import Sealed, parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Row

    from balance_core.chain import ChainRef
    from balance_core.service.jobs.database import Database
    from balance_core.service.jobs.lease import Memory
    from balance_core.service.jobs.vault import Vault
    from balance_core.service.receipts import SignedReceipt

MAX_LOSSES = 20
"""How many workers may vanish with a job in hand before it is given up: the job may be what kills them."""
_ALONE_AFTER = 3
"""A job that was lost so often is proven by itself, so that it does not take others with it."""
_LOOK = 64
"""How many jobs are looked at beyond those that are wanted, for one that fits."""
_PATIENCE_MS = 60_000
"""A job that has waited so long for memory is waited for: smaller ones do not overtake it any more."""
_BACKOFF_SECONDS = 300.0
_EVENTFUL = 30
"""So many attempts are told of one by one; a chain can be away for days."""


class Leasing:
    """The part of the queue that workers talk to."""

    def __init__(self, database: Database, vault: Vault, clock: Callable[[], float], max_events: int) -> None:
        self._database = database
        self._vault = vault
        self._clock = clock
        self._max_events = max_events

    def lease(self, worker: str, seconds: float, memory: Memory | None = None, most: int = 1) -> list[Lease]:
        """Take the next job that fits the memory, and up to `most` in all that can be proven in one process with it.

        These are of the same registration, need no more memory and have not failed before. A journalled job, which
        only has to be published, comes alone.
        """
        token = secrets.token_hex(16)
        now = milliseconds(self._clock)

        def take(connection: Connection) -> list[tuple[Row[Any], Row[Any] | None, SignedReceipt | None]]:
            chosen = self._choose(connection, now, memory, most)
            if not chosen:
                return []
            for row in chosen:
                state = JobState.PROVING if row.bundle is None else JobState.PUBLISHING
                values = {
                    "state": state.value,
                    "ready_at": now + int(seconds * 1000),
                    "worker": worker[:128],
                    "token": token,
                    "losses": row.losses + (row.token is not None),
                }
                connection.execute(sa.update(jobs).where(jobs.c.job_id == row.job_id).values(values))
                if row.failures + row.losses + row.delays < _EVENTFUL:
                    add_event(connection, row.job_id, now, state)
            names = [row.job_id for row in chosen]
            sealed = {
                one.job_id: one for one in connection.execute(sa.select(inputs).where(inputs.c.job_id.in_(names)))
            }
            return [(row, sealed.get(row.job_id), kept_receipt(connection, row.receipt_id)) for row in chosen]

        leases = [self._lease(token, *found) for found in self._database.write(take)]
        return [lease for lease in leases if lease is not None]

    def _choose(self, connection: Connection, now: int, memory: Memory | None, most: int) -> list[Row[Any]]:
        """Return the rows to lease, after ending those that can no longer be."""
        ready = (
            sa.select(jobs)
            .where(jobs.c.rank.is_not(None), jobs.c.ready_at <= now)
            .order_by(jobs.c.rank)
            .limit(most + _LOOK)
            .with_for_update(skip_locked=True)
        )
        chosen: list[Row[Any]] = []
        for row in connection.execute(ready).all():
            if len(chosen) == most or (chosen and chosen[0].bundle is not None):
                break
            if row.bundle is None and row.deadline_at is not None and row.deadline_at <= now:
                finish(connection, row.job_id, now, JobState.EXPIRED, reason="its deadline passed")
            elif row.bundle is None and row.token is not None and row.losses + 1 >= MAX_LOSSES:
                finish(connection, row.job_id, now, JobState.FAILED, reason="every worker that had it vanished")
            elif chosen and not _companions(chosen[0], row):
                continue
            elif memory is None or row.memory_bytes <= memory.free or row.bundle is not None:
                chosen.append(row)
            elif not chosen and row.memory_bytes <= memory.total and now - row.accepted_at > _PATIENCE_MS:
                break
        return chosen

    def _lease(
        self, token: str, row: Row[Any], sealed: Row[Any] | None, receipt: SignedReceipt | None
    ) -> Lease | None:
        problem, data, blind = "", b"", None
        if row.bundle is None and sealed is None:
            problem = "its inputs are not there any more"
        elif row.bundle is None and sealed is not None:
            try:
                data, blind = parted(self._vault.open(row.job_id, Sealed(sealed.nonce, sealed.sealed)))
            except StorageError as error:
                problem = error.message
        if receipt is None:
            problem = "its receipt is not there any more"
        if problem or receipt is None:
            now = milliseconds(self._clock)
            self._database.write(
                lambda connection: finish(connection, row.job_id, now, JobState.FAILED, reason=problem, token=token)
            )
            return None
        return Lease(
            job_id=row.job_id,
            registration_id=row.registration_id,
            context=row.context,
            receipt=receipt,
            inputs=data,
            blind=blind,
            memory_bytes=row.memory_bytes,
            rank=row.rank,
            seconds=row.seconds,
            token=token,
            bundle=row.bundle,
            proof=None if row.proof is None else ProofRecord.from_json(row.proof),
            leasing=self,
        )

    def renew(self, leases: Sequence[Lease], seconds: float) -> set[str]:
        """Hold jobs for that long from now; return those that are still ours, and mark the others as lost."""
        until = milliseconds(self._clock) + int(seconds * 1000)

        def extend(connection: Connection) -> None:
            for token, names in _by_token(leases).items():
                held = (jobs.c.token == token, jobs.c.job_id.in_(names))
                connection.execute(sa.update(jobs).where(*held).values(ready_at=until))

        self._database.write(extend)
        return self.held(leases)

    def held(self, leases: Sequence[Lease]) -> set[str]:
        """Return the jobs that are still ours, and mark the others as lost."""
        found: set[str] = set()
        with self._database.read() as connection:
            for token, names in _by_token(leases).items():
                held = sa.select(jobs.c.job_id).where(jobs.c.token == token, jobs.c.job_id.in_(names))
                found.update(connection.execute(held).scalars())
        for lease in leases:
            lease.lost = lease.job_id not in found
        return found

    def overtaken(self, lease: Lease, memory_bytes: int) -> bool:
        """Whether a job waits that goes ahead of a leased one by its priority, and needs no more memory."""
        waiting = (
            jobs.c.rank <= lease.rank - PRIORITY_MS,
            jobs.c.ready_at <= milliseconds(self._clock),
            jobs.c.memory_bytes <= memory_bytes,
        )
        with self._database.read() as connection:
            return connection.execute(sa.select(jobs.c.job_id).where(*waiting).limit(1)).first() is not None

    def progress(self, lease: Lease, text: str, fraction: float | None) -> None:
        """Keep an event, up to the most that are kept of a job."""
        from balance_core.service.jobs.tables import events

        now = milliseconds(self._clock)

        def note(connection: Connection) -> None:
            there = sa.select(sa.func.count()).select_from(events).where(events.c.job_id == lease.job_id)
            if connection.execute(there).scalar_one() < self._max_events:
                add_event(connection, lease.job_id, now, JobState.PROVING, text=text, fraction=fraction)

        self._database.write(note)

    def proven(self, lease: Lease, bundle: str, proof: ProofRecord) -> None:
        """Journal the proof before anybody else hears of it; from now on nobody proves the job again."""
        now = milliseconds(self._clock)

        def journal(connection: Connection) -> None:
            values = {"state": JobState.PUBLISHING.value, "bundle": bundle, "proof": proof.to_json(), "reason": ""}
            _change(connection, lease, values)
            connection.execute(sa.delete(inputs).where(inputs.c.job_id == lease.job_id))
            add_event(connection, lease.job_id, now, JobState.PUBLISHING, text="proven")

        self._database.write(journal)
        lease.bundle, lease.proof, lease.inputs, lease.blind = bundle, proof, b"", None

    def adopt(self, lease: Lease, bundle: str, proof: ProofRecord) -> None:
        """Take over the record that the chain has of this very answer."""
        self._database.write(
            lambda connection: _change(connection, lease, {"bundle": bundle, "proof": proof.to_json()})
        )
        lease.bundle, lease.proof = bundle, proof

    def done(self, lease: Lease, chain_ref: ChainRef | None) -> None:
        """End the job as published."""
        now = milliseconds(self._clock)
        reference = None if chain_ref is None else chain_ref.to_json()

        def end(connection: Connection) -> None:
            state = JobState.PUBLISHED
            if not finish(connection, lease.job_id, now, state, token=lease.token, chain_ref=reference):
                raise _lost(lease)

        self._database.write(end)

    def failed(self, lease: Lease, reason: str, *, retry: bool, counted: bool, memory_bytes: int) -> None:
        """Put the job back with a delay that doubles, or end it."""
        now = milliseconds(self._clock)

        def put_back(connection: Connection) -> None:
            row = connection.execute(
                sa.select(jobs).where(jobs.c.job_id == lease.job_id, jobs.c.token == lease.token)
            ).one_or_none()
            if row is None:
                return
            failures, delays = row.failures + counted, row.delays + (not counted)
            if not retry or (counted and failures >= row.attempts):
                finish(connection, lease.job_id, now, JobState.FAILED, reason=reason)
                connection.execute(sa.update(jobs).where(jobs.c.job_id == lease.job_id).values(failures=failures))
                return
            wait = min(_BACKOFF_SECONDS, 2.0 ** min(failures + delays - 1, 20)) * (
                0.5 + secrets.randbelow(500) / 1000
            )
            state = JobState.QUEUED if row.bundle is None else JobState.PUBLISHING
            values = {
                "state": state.value,
                "ready_at": now + int(wait * 1000),
                "token": None,
                "worker": None,
                "failures": failures,
                "delays": delays,
                "memory_bytes": max(row.memory_bytes, memory_bytes),
                "reason": short(reason),
            }
            _change(connection, lease, values)
            if failures + delays < _EVENTFUL:
                add_event(connection, lease.job_id, now, state, text=f"tried again in {wait:.0f} s: {reason}")

        self._database.write(put_back)

    def release(self, leases: Iterable[Lease]) -> None:
        """Put jobs back as they were."""
        now = milliseconds(self._clock)

        def put_back(connection: Connection) -> None:
            for lease in leases:
                state = JobState.QUEUED if lease.bundle is None else JobState.PUBLISHING
                values = {"state": state.value, "ready_at": now, "token": None, "worker": None}
                held = (jobs.c.job_id == lease.job_id, jobs.c.token == lease.token)
                connection.execute(sa.update(jobs).where(*held).values(values))

        self._database.write(put_back)


def _companions(first: Row[Any], other: Row[Any]) -> bool:
    """Whether two jobs may be proven one after another in one process."""
    fresh = all(row.bundle is None and not row.failures and row.losses < _ALONE_AFTER for row in (first, other))
    same = other.registration_id == first.registration_id and other.seconds == first.seconds
    return fresh and same and bool(other.memory_bytes <= first.memory_bytes)


def _by_token(leases: Sequence[Lease]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for lease in leases:
        names.setdefault(lease.token, []).append(lease.job_id)
    return names


def _change(connection: Connection, lease: Lease, values: dict[str, Any]) -> None:
    held = (jobs.c.job_id == lease.job_id, jobs.c.token == lease.token)
    if not connection.execute(sa.update(jobs).where(*held).values(values)).rowcount:
        raise _lost(lease)


def _lost(lease: Lease) -> LeaseLost:
    return LeaseLost(f"job {lease.job_id} is not this worker's any more", hint="whoever has it now goes on")
