"""One process that proves some jobs one after another, and what becomes of each of them."""

from __future__ import annotations

import base64
import contextlib
import re
import threading
import time
from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from balance_core.errors import BalanceError, StageOutOfMemory, StageTimeout
from balance_core.stages import Task
from balance_core.work import PROVEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from balance_core.contracts import Executor
    from balance_core.service.jobs.lease import Lease
    from balance_core.service.jobs.material import Material
    from balance_core.stages import Limits, Progress, TaskResult

TICK_SECONDS = 0.1
_EVENT_SECONDS = 1.0
"""Between two events of one job's progress."""
_PROVEN = re.compile(PROVEN.format(number=r"(\d+)", cid=r"(b[a-z2-7]+)"))


@dataclass
class Stop:
    """How workers are told to end: after the proof that is being made, or at once."""

    soon: threading.Event = field(default_factory=threading.Event)
    now: threading.Event = field(default_factory=threading.Event)


class Attempt:
    """Runs the prove stage on leased jobs; `limits` hold for each proof, and the inputs go through a pipe only."""

    def __init__(
        self,
        executor: Executor,
        leases: Sequence[Lease],
        material: Material,
        limits: Limits,
        stop: Stop,
        *,
        more: bool = False,
    ) -> None:
        """`more` says that other jobs wait, so that a process is made ready for them meanwhile."""
        self.made: list[str] = []
        """The proofs, as content of the workspace, in the order of the leases."""
        self._executor = executor
        self._leases = leases
        self._material = material
        self._limits = limits
        self._stop = stop
        self._more = more
        self._said: tuple[str, float | None] | None = None
        self._error: BaseException | None = None
        self._began: float | None = None
        self._latest = 0.0
        self._ended_by_us = False

    def run(self, meanwhile: Callable[[], None]) -> None:
        """Prove until all is done, something fails, or there is a reason to stop; `meanwhile` is called often."""
        backend = self._material.circuit.backend
        seconds = self._limits.seconds
        if seconds is not None:
            seconds *= len(self._leases)
        requests = [
            {
                "inputs": base64.b64encode(lease.inputs).decode(),
                "context": lease.context,
                "blind": None if lease.blind is None else lease.blind.hex(),
            }
            for lease in self._leases
        ]
        task = Task(
            stage="prove",
            plugin=backend,
            settings=dict(self._material.registered.preparation.settings),
            arguments={"requests": requests},
            blobs=dict(self._material.blobs),
            limits=self._limits.model_copy(update={"seconds": seconds}),
        )
        future = self._executor.submit(task, watch=self._see)
        if self._more:
            self._executor.prepare("prove", backend)
        try:
            self._follow(future, meanwhile)
        except BaseException:
            future.cancel()
            raise
        try:
            future.result()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it becomes the reason of the jobs that are left
            self._error = self._error or error

    @property
    def pace(self) -> float | None:
        """The seconds that one proof took, without the start of the process; None where none was made."""
        return (self._latest - self._began) / len(self.made) if self.made and self._began is not None else None

    def settle_rest(self, most_memory: int) -> None:
        """Give back what was not proven: the job at which it failed with the reason, the others untouched.

        `most_memory` is what a job may ask for at the next attempt, if it had too little.
        """
        rest = self._leases[len(self.made) :]
        if rest and self._error is not None and not self._ended_by_us:
            first, rest = rest[0], rest[1:]
            error = self._error
            retry = not isinstance(error, BalanceError) or error.exit_code not in {2, 4}  # no better the next time
            more = min(2 * first.memory_bytes, most_memory) if isinstance(error, StageOutOfMemory) else 0
            first.failed(f"{type(error).__name__}: {error}", retry=retry, memory_bytes=more)
        for lease in rest:
            lease.release()

    def _see(self, progress: Progress) -> None:
        """Take note of a proof that is there, or of how the present one stands; called from another thread."""
        self._began = self._began or time.monotonic()
        found = _PROVEN.fullmatch(progress.message)
        if found is None:
            self._said = (progress.message, progress.fraction)
        elif int(found[1]) == len(self.made):
            self._said = None
            self._latest = time.monotonic()
            self.made.append(found[2])

    def _follow(self, future: Future[TaskResult], meanwhile: Callable[[], None]) -> None:
        """Wait for the end, pass progress on, and end the process where nobody wants its next proof any more."""
        current, told_at, since = 0, 0.0, None
        told: tuple[str, float | None] | None = None
        while not wait([future], TICK_SECONDS).done:
            meanwhile()
            now, number = time.monotonic(), len(self.made)
            if number >= len(self._leases):
                continue
            since = since or self._began
            if number != current:
                current, since = number, now
                if self._stop.soon.is_set() or self._overtaken(number):
                    self._end(future)
            lease = self._leases[number]
            if self._stop.now.is_set() or lease.lost:
                self._end(future)
            elif since is not None and self._limits.seconds is not None and now - since > self._limits.seconds:
                self._error = StageTimeout(f"the proof took more than {self._limits.seconds:g} s")
                future.cancel()
            elif (said := self._said) is not None and said != told and now - told_at > _EVENT_SECONDS:
                told, told_at = said, now
                with contextlib.suppress(BalanceError):
                    lease.progress(*said)

    def _overtaken(self, number: int) -> bool:
        with contextlib.suppress(BalanceError):
            return self._leases[number].overtaken(self._limits.memory_bytes or 0)
        return False

    def _end(self, future: Future[TaskResult]) -> None:
        self._ended_by_us = True
        future.cancel()
