"""Workers: threads that lease jobs and have them proven, within the memory that they share."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Self

from typing_extensions import override

from balance_core import measure
from balance_core.closing import Closing
from balance_core.errors import BalanceError
from balance_core.service.jobs.attempt import Stop
from balance_core.service.jobs.lease import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from balance_core.service.jobs.lease import Lease
    from balance_core.service.jobs.proving import Prover, Publish
    from balance_core.service.jobs.queue import JobQueue

_BEAT_SECONDS = 0.5
_SWEEP_SECONDS = 15.0
_REST_SECONDS = 2.0
"""After an error of the database."""
_SHARE = 0.8
"""Of the memory that is available, what proving may use unless the caller says otherwise."""
_log = logging.getLogger(__name__)


class Workers(Closing):
    """So many threads, each with one proving process at a time; a context manager, or `start` and `close` it."""

    def __init__(
        self,
        queue: JobQueue,
        prover: Prover,
        *,
        count: int = 1,
        memory_bytes: int | None = None,
        most: int = 128,
        lease_seconds: float = 30.0,
        poll_seconds: float = 0.5,
    ) -> None:
        """`most` jobs at the most go to one process; a job whose worker vanished waits for `lease_seconds`."""
        self.memory_bytes = memory_bytes or int(measure.available_memory() * _SHARE)
        queue.expect(self.memory_bytes)
        self._queue = queue
        self._prover = prover
        self._count = count
        self._most = most
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._name = f"{platform.node()[:64]}/{os.getpid()}"
        self._stop = Stop()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._reserved = 0
        self._active: dict[str, Lease] = {}
        self._threads: list[threading.Thread] = []

    @override
    def __enter__(self) -> Self:
        self.start()
        return self

    def start(self) -> None:
        """Start the threads."""
        jobs = [threading.Thread(target=self._run, name=f"prove-{i}", daemon=True) for i in range(self._count)]
        self._threads = [*jobs, threading.Thread(target=self._beat, name="prove-beat", daemon=True)]
        for thread in self._threads:
            thread.start()

    @override
    def close(self, grace_seconds: float = 30.0) -> None:
        """Finish the proofs that are being made, or, after the grace, give their jobs back; then end."""
        self._stop.soon.set()
        ends = time.monotonic() + grace_seconds
        for thread in self._threads[:-1]:
            thread.join(max(ends - time.monotonic(), 0.0))
        self._stop.now.set()
        for thread in self._threads[:-1]:
            thread.join()
        self._closed.set()
        for thread in self._threads[-1:]:
            thread.join()
        self._threads = []

    @property
    def active(self) -> tuple[str, ...]:
        """The jobs that are being worked on."""
        with self._lock:
            return tuple(self._active)

    def _run(self) -> None:
        """Prove jobs, and have what is proven checked and published meanwhile."""
        before: list[Future[None]] = []
        with ThreadPoolExecutor(1, thread_name_prefix="publish") as publishing:
            while not self._stop.soon.is_set():
                leases, memory, more = self._next()
                if not leases:
                    continue
                handed: list[Future[None]] = []

                def publish(
                    work: Callable[[], None], done: Sequence[Lease], handed: list[Future[None]] = handed
                ) -> Future[None]:
                    handed.append(publishing.submit(self._publish, work, done))
                    return handed[-1]

                self._prove(leases, memory, publish, more=more)
                for each in before:
                    each.result()
                before = handed

    def _next(self) -> tuple[list[Lease], Memory, bool]:
        """Lease jobs; without any, return after a while or when there is news."""
        try:
            leases, memory, more = self._take()
        except BalanceError as error:
            _log.warning("no job could be leased: %s", error)
            self._stop.soon.wait(_REST_SECONDS)
            return [], Memory(0, 0), False
        if not leases:
            self._queue.wait(self._poll_seconds)
        return leases, memory, more

    def _take(self) -> tuple[list[Lease], Memory, bool]:
        """Lease what fits the memory that is free, and say whether more of its kind waits.

        A proof may use all that was free when it began.
        """
        with self._lock:
            memory = Memory(self.memory_bytes - self._reserved, self.memory_bytes)
            leases = self._queue.lease(self._name, self._lease_seconds, memory, self._most)
            if not leases:
                return [], memory, False
            portion = self._prover.portion(leases)
            if leases[portion:]:
                self._queue.release(leases[portion:])
            self._reserved += max(lease.memory_bytes for lease in leases[:portion])
            self._active.update((lease.job_id, lease) for lease in leases[:portion])
            return leases[:portion], memory, portion < len(leases)

    def _prove(self, leases: Sequence[Lease], memory: Memory, publish: Publish, *, more: bool) -> None:
        try:
            self._prover.prove(leases, publish, memory=memory, stop=self._stop, more=more)
        except Exception as error:  # noqa: BLE001 - the thread goes on with other jobs
            publish(partial(_give_back, leases, error), leases)
        finally:
            with self._lock:
                self._reserved -= max(lease.memory_bytes for lease in leases)

    def _publish(self, work: Callable[[], None], leases: Sequence[Lease]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the same
            _give_back(leases, error)
        finally:
            with self._lock:
                for lease in leases:
                    self._active.pop(lease.job_id, None)

    def _beat(self) -> None:
        """Hold the leases, notice those that are lost, and keep the queue clean."""
        renewed = swept = time.monotonic()
        while not self._closed.wait(_BEAT_SECONDS):
            now = time.monotonic()
            with self._lock:
                active = list(self._active.values())
            try:
                if active and now - renewed > self._lease_seconds / 3:
                    self._queue.renew(active, self._lease_seconds)
                    renewed = now
                elif active:
                    self._queue.held(active)
                if now - swept > _SWEEP_SECONDS:
                    swept = now
                    self._queue.sweep()
            except BalanceError as error:
                _log.warning("the queue did not answer: %s", error)


def _give_back(leases: Sequence[Lease], error: Exception) -> None:
    """Give jobs back after what nobody foresaw."""
    _log.error("proving failed in a way that nobody foresaw", exc_info=error)
    for lease in leases:
        with contextlib.suppress(BalanceError):  # the lease then ends by itself
            lease.failed(f"{type(error).__name__}: {error}")
