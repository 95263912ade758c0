"""Backpressure: how much waits, told without counting for each request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import sqlalchemy as sa

from balance_core.errors import Busy
from balance_core.service.jobs.tables import inputs, jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.service.jobs.database import Database
    from balance_core.service.jobs.orders import QueueLimits

_FRESH_SECONDS = 1.0
_LOOK_BACK_SECONDS = 60.0
_LONGEST_SECONDS = 300.0


class Pressure:
    """Counts what is open once a second, adds what comes in between, and counts again before it says no."""

    def __init__(self, database: Database, limits: QueueLimits, clock: Callable[[], float]) -> None:
        self._database = database
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._counted = float("-inf")
        self._jobs = 0
        self._bytes = 0

    def admit(self, more_jobs: int, more_bytes: int) -> None:
        """Raise Busy, with the seconds after which to ask again, where that much more would be too much."""
        if not self._full(more_jobs, more_bytes, older_than=_FRESH_SECONDS):
            return
        if self._full(more_jobs, more_bytes, older_than=0.0):
            what = "jobs wait" if self._jobs + more_jobs > self._limits.max_jobs else "bytes of inputs wait"
            raise Busy(f"as many {what} as may", retry_after=self._retry_after())

    def add(self, more_jobs: int, more_bytes: int) -> None:
        """Count what was let in."""
        with self._lock:
            self._jobs += more_jobs
            self._bytes += more_bytes

    def _full(self, more_jobs: int, more_bytes: int, *, older_than: float) -> bool:
        now = self._clock()
        if not 0 <= now - self._counted < older_than:
            with self._database.read() as connection:
                open_jobs = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.rank.is_not(None))
                size = sa.select(sa.func.coalesce(sa.func.sum(inputs.c.size), 0))
                found = connection.execute(open_jobs).scalar_one(), connection.execute(size).scalar_one()
            with self._lock:
                self._jobs, self._bytes = int(found[0]), int(found[1])
                self._counted = now
        too_many = bool(more_jobs) and self._jobs + more_jobs > self._limits.max_jobs
        return too_many or (bool(more_bytes) and self._bytes + more_bytes > self._limits.max_input_bytes)

    def _retry_after(self) -> float:
        """Return how long a tenth of what waits takes at the pace of the last minute; 1 to 300 seconds."""
        since = int((self._clock() - _LOOK_BACK_SECONDS) * 1000)
        with self._database.read() as connection:
            ended = sa.select(sa.func.count()).select_from(jobs).where(jobs.c.finished_at > since)
            pace = connection.execute(ended).scalar_one() / _LOOK_BACK_SECONDS
        return min(max(1.0, self._jobs / 10 / max(pace, 1e-3)), _LONGEST_SECONDS)
