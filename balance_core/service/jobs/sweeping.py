"""Garbage: what is past its time goes, a piece at a time, so that nobody waits long for the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from balance_core.service.jobs.orders import JobState
from balance_core.service.jobs.rows import finish
from balance_core.service.jobs.tables import events, inputs, jobs, receipts, requests
from balance_core.service.receipts import SignedReceipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Connection, Table

    from balance_core.service.jobs.database import Database
    from balance_core.service.jobs.orders import QueueLimits

_PIECE = 500


def sweep(database: Database, limits: QueueLimits, now: int) -> dict[str, int]:
    """End jobs whose deadline has passed; drop old inputs, finished jobs with their events, and old receipts."""
    open_jobs = jobs.c.rank.is_not(None)
    in_use = sa.select(jobs.c.job_id).where(open_jobs)
    relied_on = sa.select(jobs.c.receipt_id).where(open_jobs)

    def before(seconds: float) -> int:
        return now - int(seconds * 1000)

    def expire(connection: Connection) -> int:
        late = sa.select(jobs.c.job_id).where(open_jobs, jobs.c.bundle.is_(None), jobs.c.deadline_at <= now)
        names = connection.execute(late.limit(_PIECE)).scalars().all()
        for name in names:
            finish(connection, name, now, JobState.EXPIRED, reason="its deadline passed")
        return len(names)

    def forget_jobs(connection: Connection) -> int:
        old = sa.select(jobs.c.job_id).where(jobs.c.finished_at < before(limits.job_seconds)).limit(_PIECE)
        names = connection.execute(old).scalars().all()
        for table in (events, inputs, jobs):
            connection.execute(sa.delete(table).where(table.c.job_id.in_(names)))
        return len(names)

    def drop(table: Table, key: str, *where: ColumnElement[Any]) -> Callable[[Connection], int]:
        def piece(connection: Connection) -> int:
            names = connection.execute(sa.select(table.c[key]).where(*where).limit(_PIECE)).scalars().all()
            connection.execute(sa.delete(table).where(table.c[key].in_(names)))
            return len(names)

        return piece

    def forget_receipts(connection: Connection) -> int:
        found = connection.execute(sa.select(receipts.c.receipt_id, receipts.c.body).where(*old).limit(_PIECE)).all()
        places = [(one.context, one.proof) for one in (SignedReceipt.from_json(row.body).receipt for row in found)]
        for context, proof in places:
            connection.execute(sa.delete(requests).where(requests.c.context == context, requests.c.proof == proof))
        connection.execute(sa.delete(receipts).where(receipts.c.receipt_id.in_([row.receipt_id for row in found])))
        return len(found)

    unused = (inputs.c.kept_at < before(limits.input_seconds), inputs.c.job_id.not_in(in_use))
    old = (receipts.c.signed_at < before(limits.receipt_seconds), receipts.c.receipt_id.not_in(relied_on))
    return {
        "expired": _all(database, expire),
        "jobs": _all(database, forget_jobs),
        "inputs": _all(database, drop(inputs, "job_id", *unused)),
        "receipts": _all(database, forget_receipts),
    }


def _all(database: Database, piece: Callable[[Connection], int]) -> int:
    total = 0
    while found := database.write(piece):
        total += found
        if found < _PIECE:
            break
    return total
