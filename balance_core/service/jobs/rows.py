"""What rows mean, and the steps that several parts of the queue take with them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from balance_core.service.jobs.database import run_known
from balance_core.service.jobs.orders import AnsweredBefore, Event, Job, JobState
from balance_core.service.jobs.tables import events, inputs, jobs, receipts, requests
from balance_core.service.nonces import named_another
from balance_core.service.receipts import SignedReceipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Row

    from balance_core.service.jobs.orders import Terms
    from balance_core.service.jobs.vault import Sealed
    from balance_core.service.receipts import AnswerReceipt

TEXT = 500
"""The most characters of a reason or a message."""
PRIORITY_MS = 60_000
"""What one step of priority is worth in the queue."""
_KEEP = sa.insert(receipts).from_select(
    ["receipt_id", "signed_at", "body"],
    sa.select(
        sa.bindparam("name", type_=receipts.c.receipt_id.type),
        sa.bindparam("now", type_=receipts.c.signed_at.type),
        sa.bindparam("content", type_=receipts.c.body.type),
    ).where(~sa.exists().where(receipts.c.receipt_id == sa.bindparam("name"))),
)
"""Written once, as those below: every answer runs it."""
_CLAIM = sa.insert(requests).from_select(
    ["context", "proof", "input_sha256", "receipt_id"],
    sa.select(
        sa.bindparam("context", type_=requests.c.context.type),
        sa.bindparam("proof", type_=requests.c.proof.type),
        sa.bindparam("input", type_=requests.c.input_sha256.type),
        sa.bindparam("name", type_=requests.c.receipt_id.type),
    ).where(
        ~sa.exists().where(
            requests.c.context == sa.bindparam("context"),
            sa.or_(requests.c.proof == sa.bindparam("proof"), requests.c.input_sha256 != sa.bindparam("input")),
        )
    ),
)
_ROW = sa.select(
    sa.bindparam("name", type_=inputs.c.job_id.type),
    sa.bindparam("now", type_=inputs.c.kept_at.type),
    sa.bindparam("bytes", type_=inputs.c.size.type),
    sa.bindparam("salt", type_=inputs.c.nonce.type),
    sa.bindparam("content", type_=inputs.c.sealed.type),
).where(~sa.exists().where(inputs.c.job_id == sa.bindparam("name")))
_COLUMNS = ["job_id", "kept_at", "size", "nonce", "sealed"]
_SEAL = sa.insert(inputs).from_select(_COLUMNS, _ROW)
_SEAL_UNORDERED = sa.insert(inputs).from_select(
    _COLUMNS, _ROW.where(~sa.exists().where(jobs.c.job_id == sa.bindparam("name")))
)


def stamp(milliseconds: int) -> str:
    """Return a time as records hold it."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def milliseconds(clock: Callable[[], float]) -> int:
    """Return the present time as rows hold it."""
    return int(clock() * 1000)


def short(text: str) -> str:
    """Return a message as one line that fits its column."""
    return " ".join(text.split())[:TEXT]


def job_of(row: Row[Any]) -> Job:
    """Return a job from its row."""
    return Job.from_value(
        {
            "job_id": row.job_id,
            "registration_id": row.registration_id,
            "receipt_id": row.receipt_id,
            "state": row.state,
            "accepted": stamp(row.accepted_at),
            "finished": None if row.finished_at is None else stamp(row.finished_at),
            "deadline": None if row.deadline_at is None else stamp(row.deadline_at),
            "failures": row.failures,
            "bundle": row.bundle,
            "proof": None if row.proof is None else json.loads(row.proof),
            "chain_ref": None if row.chain_ref is None else json.loads(row.chain_ref),
            "reason": row.reason,
        }
    )


def event_of(row: Row[Any]) -> Event:
    """Return an event from its row."""
    return Event(
        number=row.number,
        job_id=row.job_id,
        time=stamp(row.at),
        state=JobState(row.state),
        text=row.text,
        fraction=row.fraction,
    )


def known_job(connection: Connection, job_id: str) -> Job:
    """Return a job that is there."""
    return job_of(connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one())


def job_row(connection: Connection, job_id: str) -> Row[Any] | None:
    """Return a job's row, if there is one."""
    return connection.execute(sa.select(jobs).where(jobs.c.job_id == job_id)).one_or_none()


def kept_receipt(connection: Connection, receipt_id: str) -> SignedReceipt | None:
    """Return a kept receipt."""
    body = connection.execute(sa.select(receipts.c.body).where(receipts.c.receipt_id == receipt_id)).scalar()
    return None if body is None else SignedReceipt.from_json(body)


def keep_receipt(connection: Connection, receipt: SignedReceipt, now: int) -> None:
    """Keep a receipt, unless it is there already.

    Raises AnsweredBefore where its request has another one, Rejected where its nonce has named another input.
    """
    answer, name = receipt.receipt, receipt.receipt_id
    place = {"context": answer.context, "proof": answer.proof}
    claim = {**place, "input": answer.input_sha256, "name": name}
    if not run_known(connection, _CLAIM, claim).rowcount:
        for row in connection.execute(sa.select(requests).where(requests.c.context == answer.context)):
            if row.input_sha256 != answer.input_sha256:
                raise named_another()
            if row.proof == answer.proof and row.receipt_id != name:
                raise AnsweredBefore(row.receipt_id)
    run_known(connection, _KEEP, {"name": name, "now": now, "content": receipt.to_json()})


def keep_inputs(
    connection: Connection, job_id: str, now: int, size: int, sealed: Sealed, *, unless_ordered: bool = False
) -> bool:
    """Keep sealed inputs, unless the job's are there already or, if so asked, there is a job; says whether it did."""
    row = {"name": job_id, "now": now, "bytes": size, "salt": sealed.nonce, "content": sealed.data}
    return bool(run_known(connection, _SEAL_UNORDERED if unless_ordered else _SEAL, row).rowcount)


def add_event(
    connection: Connection, job_id: str, now: int, state: JobState, *, text: str = "", fraction: float | None = None
) -> None:
    """Write down what happened to a job."""
    row = {"job_id": job_id, "at": now, "state": state.value, "text": short(text), "fraction": fraction}
    connection.execute(sa.insert(events), row)


def enqueue(
    connection: Connection, receipt: AnswerReceipt, receipt_id: str, terms: Terms, *, unknown_memory: int, now: int
) -> None:
    """Make the job that proves a receipt's answer, or take up one that ended without a proof."""
    values = {
        "registration_id": receipt.registration_id,
        "receipt_id": receipt_id,
        "context": receipt.context,
        "state": JobState.QUEUED.value,
        "rank": now - terms.priority * PRIORITY_MS,
        "ready_at": now,
        "accepted_at": now,
        "deadline_at": None if terms.deadline is None else int(terms.deadline * 1000),
        "finished_at": None,
        "memory_bytes": terms.memory_bytes or unknown_memory,
        "seconds": terms.seconds,
        "attempts": terms.attempts,
        "failures": 0,
        "losses": 0,
        "delays": 0,
        "reason": "",
    }
    changed = connection.execute(sa.update(jobs).where(jobs.c.job_id == receipt.job).values(values)).rowcount
    if not changed:
        connection.execute(sa.insert(jobs), {"job_id": receipt.job, **values})
    add_event(connection, receipt.job, now, JobState.QUEUED)


def finish(
    connection: Connection,
    job_id: str,
    now: int,
    state: JobState,
    *,
    reason: str = "",
    token: str | None = None,
    chain_ref: bytes | None = None,
) -> bool:
    """End a job and erase its inputs; with a token only if that lease still holds it. Returns whether it ended."""
    where = [jobs.c.job_id == job_id, jobs.c.rank.is_not(None)]
    if token is not None:
        where.append(jobs.c.token == token)
    values = {
        "state": state.value,
        "rank": None,
        "token": None,
        "worker": None,
        "finished_at": now,
        "reason": short(reason),
        "chain_ref": chain_ref,
    }
    if not connection.execute(sa.update(jobs).where(*where).values(values)).rowcount:
        return False
    connection.execute(sa.delete(inputs).where(inputs.c.job_id == job_id))
    add_event(connection, job_id, now, state, text=reason)
    return True
