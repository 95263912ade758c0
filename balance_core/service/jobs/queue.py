"""The queue: what is accepted is on the disk, and is published exactly once or says why not."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from typing_extensions import override

from balance_core import arrays
from balance_core.closing import Closing
from balance_core.errors import Busy, ConfigError, StageOutOfMemory
from balance_core.service.jobs.database import Database
from balance_core.service.jobs.leases import Leasing
from balance_core.service.jobs.orders import Event, Job, JobState, Order, QueueLimits, Terms
from balance_core.service.jobs.pressure import Pressure
from balance_core.service.jobs.rows import (
    enqueue,
    event_of,
    finish,
    job_of,
    job_row,
    keep_inputs,
    keep_receipt,
    kept_receipt,
    known_job,
    milliseconds,
)
from balance_core.service.jobs.sweeping import sweep
from balance_core.service.jobs.tables import events, inputs, jobs, receipts
from balance_core.service.jobs.vault import Vault, joined
from balance_core.service.receipts import SignedReceipt, request_sha256
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from sqlalchemy import Connection

KEY_FILE = "jobs.key"
_MAX_EVENTS_READ = 500
_MAX_JOBS_READ = 500


class JobQueue(Closing):
    """One queue for any number of threads and processes; a URL of SQLAlchemy names the database.

    By default it is a SQLite file in the data folder. `key` is the file of the key that seals inputs. `close` it, or
    use it as a context manager.
    """

    def __init__(
        self,
        url: str | Path | None = None,
        *,
        limits: QueueLimits | None = None,
        key: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        folder = Workspace.default().root / "service" if url is None or key is None else None
        if url is None and folder is not None:
            url = folder / "jobs.db"
        if isinstance(url, Path):
            key = key or url.with_name(KEY_FILE)
            url = sa.URL.create("sqlite", database=str(url.absolute())).render_as_string()
        self.limits = limits or QueueLimits()
        self._clock = clock
        self._database = Database(str(url))
        self._vault = Vault(key or (folder or Path()) / KEY_FILE)
        self._leasing = Leasing(self._database, self._vault, clock, self.limits.max_events)
        self._pressure = Pressure(self._database, self.limits, clock)
        self._news = threading.Condition()
        self.lease = self._leasing.lease
        self.renew = self._leasing.renew
        self.held = self._leasing.held
        self.release = self._leasing.release

    @override
    def close(self) -> None:
        """Close the database; what was accepted stays accepted."""
        self._database.close()

    def accept(self, order: Order, receipt: SignedReceipt) -> Job:
        """Keep a job with its receipt; both are on the disk when this returns.

        The same request (registration, input, context) gives the same job, which is taken up again if it ended
        without a proof. Raises AnsweredBefore where it has another receipt, Rejected for a nonce that named another
        input, Busy where too much waits, StageOutOfMemory for a proof that no worker may make,
        ConfigError for what does not belong together.
        """
        answer = receipt.receipt
        if answer.job_id is None:
            raise ConfigError("the receipt promises no proof", hint="sign one that names the job: proof=later or now")
        if request_sha256(order.inputs) != answer.input_sha256:
            raise ConfigError("the receipt is about another input than the order")
        now = milliseconds(self._clock)
        self._admit(order.terms, now)
        packed = joined(arrays.pack(order.inputs), order.blind)
        try:
            self._pressure.admit(1, len(packed))
        except Busy:
            known = self.job(answer.job)
            if known is None or (known.state.final and known.state is not JobState.PUBLISHED):
                raise
            self.keep(receipt)
            return known
        sealed = self._vault.seal(answer.job, packed)
        name, unknown = receipt.receipt_id, self.limits.unknown_memory_bytes

        def insert(connection: Connection) -> Job:
            keep_receipt(connection, receipt, now)
            row = job_row(connection, answer.job)
            if row is None or row.state in _UNPROVEN:
                keep_inputs(connection, answer.job, now, len(packed), sealed)
                enqueue(connection, answer, name, order.terms, unknown_memory=unknown, now=now)
                self._pressure.add(1, len(packed))
            return known_job(connection, answer.job)

        job = self._database.write(insert)
        self._tell()
        return job

    def keep(
        self, receipt: SignedReceipt, inputs: Mapping[str, np.ndarray] | None = None, blind: bytes | None = None
    ) -> None:
        """Keep the receipt of an answer, and its inputs where a proof may be asked for later; durable on return.

        `blind` is what hides private inputs in that proof. Raises AnsweredBefore and Rejected as `accept` does.
        """
        now = milliseconds(self._clock)
        if inputs is None:
            self._database.write(lambda connection: keep_receipt(connection, receipt, now))
            return
        job_id = receipt.receipt.job
        packed = joined(arrays.pack(inputs), blind)
        self._pressure.admit(0, len(packed))
        sealed = self._vault.seal(job_id, packed)

        def insert(connection: Connection) -> None:
            keep_receipt(connection, receipt, now)
            if keep_inputs(connection, job_id, now, len(packed), sealed, unless_ordered=True):
                self._pressure.add(0, len(packed))

        self._database.write(insert)

    def order(self, receipt_id: str, terms: Terms | None = None) -> Job:
        """Have an answer proven whose inputs were kept; the job of an answer that is being proven is that one.

        Raises ConfigError for an unknown receipt or inputs that are gone, and as `accept` does.
        """
        terms, now = terms or Terms(), milliseconds(self._clock)
        receipt = self.receipt(receipt_id)
        if receipt is None:
            raise ConfigError(f"there is no receipt {receipt_id[:80]}", hint="receipts are kept for a limited time")
        answer = receipt.receipt
        known = self.job(answer.job)
        if known is not None and known.state.value not in _UNPROVEN:
            return known
        self._admit(terms, now)
        self._pressure.admit(1, 0)
        unknown = self.limits.unknown_memory_bytes

        def insert(connection: Connection) -> Job:
            row = job_row(connection, answer.job)
            if row is None or row.state in _UNPROVEN:
                kept = sa.select(inputs.c.job_id).where(inputs.c.job_id == answer.job)
                if connection.execute(kept).first() is None:
                    raise ConfigError(
                        f"the input of receipt {receipt_id} is not kept any more",
                        hint="ask again with balance_proof=later, so that it is proven",
                    )
                enqueue(connection, answer, receipt_id, terms, unknown_memory=unknown, now=now)
                self._pressure.add(1, 0)
            return known_job(connection, answer.job)

        job = self._database.write(insert)
        self._tell()
        return job

    def receipt(self, receipt_id: str) -> SignedReceipt | None:
        """Return a kept receipt."""
        with self._database.read() as connection:
            return kept_receipt(connection, receipt_id)

    def job(self, job_id: str) -> Job | None:
        """Return how a job stands."""
        with self._database.read() as connection:
            row = job_row(connection, job_id)
        return None if row is None else job_of(row)

    def jobs(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Return how jobs stand, those that are known, in few questions to the database."""
        found: dict[str, Job] = {}
        with self._database.read() as connection:
            for start in range(0, len(job_ids), _MAX_JOBS_READ):
                some = sa.select(jobs).where(jobs.c.job_id.in_(job_ids[start : start + _MAX_JOBS_READ]))
                found.update((row.job_id, job_of(row)) for row in connection.execute(some))
        return found

    def proven_and_ended(self, job_ids: Sequence[str]) -> tuple[int, int]:
        """Return how many of these jobs have a bundle, and how many have ended."""
        proven = ended = 0
        counts = sa.func.count(jobs.c.bundle), sa.func.count(jobs.c.finished_at)
        with self._database.read() as connection:
            for start in range(0, len(job_ids), _MAX_JOBS_READ):
                some = sa.select(*counts).where(jobs.c.job_id.in_(job_ids[start : start + _MAX_JOBS_READ]))
                row = connection.execute(some).one()
                proven, ended = proven + row[0], ended + row[1]
        return proven, ended

    def published(self, bundle: str) -> bool:
        """Say whether a bundle is one that a job has stored here."""
        with self._database.read() as connection:
            found = sa.select(jobs.c.job_id).where(jobs.c.bundle == bundle).limit(1)
            return connection.execute(found).first() is not None

    def cancel(self, job_id: str) -> Job | None:
        """Stop a job, and with it the process that proves it; one that is proven is published all the same."""
        now = milliseconds(self._clock)

        def stop(connection: Connection) -> Job | None:
            row = job_row(connection, job_id)
            if row is not None and row.bundle is None:
                finish(connection, job_id, now, JobState.CANCELLED, reason="cancelled")
                row = job_row(connection, job_id)
            return None if row is None else job_of(row)

        return self._database.write(stop)

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """Return what happened to a job behind an event's number, oldest first, up to 500."""
        behind = (
            sa.select(events)
            .where(events.c.job_id == job_id, events.c.number > after)
            .order_by(events.c.number)
            .limit(_MAX_EVENTS_READ)
        )
        with self._database.read() as connection:
            return [event_of(row) for row in connection.execute(behind)]

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are in each state, how many receipts, and the bytes of inputs kept."""
        with self._database.read() as connection:
            states = connection.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)).all()
            kept = connection.execute(sa.select(sa.func.count()).select_from(receipts)).scalar_one()
            size = connection.execute(sa.select(sa.func.coalesce(sa.func.sum(inputs.c.size), 0))).scalar_one()
        found = {state.value: 0 for state in JobState} | {str(state): int(count) for state, count in states}
        return {**found, "receipts": int(kept), "input_bytes": int(size)}

    def expect(self, memory_bytes: int) -> None:
        """Refuse from now on what needs more memory than the workers of this process have, unless a limit was set."""
        if self.limits.memory_bytes is None:
            self.limits = self.limits.model_copy(update={"memory_bytes": memory_bytes})

    def wait(self, seconds: float) -> None:
        """Return when this process has accepted a job, or after that time."""
        with self._news:
            self._news.wait(seconds)

    def sweep(self) -> dict[str, int]:
        """Drop what is past its time and erase the traces of what was dropped; returns how much that was."""
        dropped = sweep(self._database, self.limits, milliseconds(self._clock))
        self._database.erase_traces()
        return dropped

    def _admit(self, terms: Terms, now: int) -> None:
        """Refuse what cannot ever be proven."""
        needed = terms.memory_bytes or self.limits.unknown_memory_bytes
        if self.limits.memory_bytes is not None and needed > self.limits.memory_bytes:
            raise StageOutOfMemory(
                f"a proof is expected to need {needed / 2**30:.2f} GiB, "
                f"and the workers may use {self.limits.memory_bytes / 2**30:.2f} GiB",
                hint="the provider has to give its workers more memory",
            )
        if terms.deadline is not None and terms.deadline * 1000 <= now:
            raise ConfigError("the deadline has passed already", hint="give a later one, in seconds since 1970")
        if not 1 <= terms.attempts <= 100 or abs(terms.priority) > 10_000:
            raise ConfigError("a job has 1 to 100 attempts and a priority of at most 10000")

    def _tell(self) -> None:
        with self._news:
            self._news.notify_all()


_UNPROVEN = {JobState.FAILED.value, JobState.CANCELLED.value, JobState.EXPIRED.value}
