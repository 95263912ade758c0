"""The provider's jobs: accepted durably, proven under leases, published exactly once."""

from __future__ import annotations

from balance_core.service.jobs.lease import Lease
from balance_core.service.jobs.orders import AnsweredBefore, Event, Job, JobState, Order, QueueLimits, Terms
from balance_core.service.jobs.proving import Prover
from balance_core.service.jobs.queue import JobQueue
from balance_core.service.jobs.workers import Workers

__all__ = [
    "AnsweredBefore",
    "Event",
    "Job",
    "JobQueue",
    "JobState",
    "Lease",
    "Order",
    "Prover",
    "QueueLimits",
    "Terms",
    "Workers",
]
