"""Proving leased jobs: one supervised process proves a few requests, another one checks them as a stranger would."""

from __future__ import annotations

import contextlib
import logging
import time
from concurrent.futures import wait
from functools import partial
from typing import TYPE_CHECKING, Any

from balance_core import registry
from balance_core.errors import BalanceError, InvalidProof
from balance_core.service.jobs.attempt import TICK_SECONDS, Attempt
from balance_core.service.jobs.material import Materials
from balance_core.service.jobs.publishing import Publisher
from balance_core.service.receipts import matching
from balance_core.stages import BESIDE, Limits, Task
from balance_core.verification import Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from balance_core.bundle import Bundle
    from balance_core.contracts import ChainAdapter, Executor, Storage
    from balance_core.service.jobs.attempt import Stop
    from balance_core.service.jobs.lease import Lease, Memory
    from balance_core.service.jobs.material import Material
    from balance_core.workspace import Workspace

    Publish = Callable[[Callable[[], None], Sequence[Lease]], Future[None]]
    """Has something done for jobs that are proven, one after another."""

_BATCH_SECONDS = 30.0
"""What one process is given to do, at the pace of those before; one that is wanted now ends it after a proof."""
_HAND_OVER_SECONDS = 5.0
"""Between two hand-overs of proofs while others are made: each is checked by a process that has to start."""
_LAST_SECONDS = (1.0, 2.5)
"""How far from the end proofs are handed over once more: while the last ones are checked, nobody proves."""
_BATCH_BYTES = 256 * 2**20
"""What the bundles of one process may take up together."""
_LOG_BYTES = 4 * 2**20
_log = logging.getLogger(__name__)


class Prover:
    """Proves, checks and publishes leased jobs; any number of threads may use one. `close` it.

    It finds registrations in the workspace by their ids. `storage` and `chain` make the plugins that proofs are
    published with, once for each thread.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        storage: Callable[[], Storage],
        chain: Callable[[], ChainAdapter] | None,
        seconds: float = 3600.0,
        threads: int | None = None,
        executor: str = "local",
    ) -> None:
        """`seconds` is the longest time that one proof may take, and `threads` the processors for each process."""
        self._workspace = workspace
        self._materials = Materials(workspace)
        self._publisher = Publisher(storage, chain)
        self._seconds = seconds
        self._threads = threads
        self._logs = workspace.root / "service" / "logs"
        place = {"folder": workspace.root, "logs": self._logs}
        self._executor: Executor = registry.create("executors", executor, place)
        # Checking fills the gaps that proving leaves, and does not hold it up.
        self._checker: Executor = registry.create("executors", "local", {**place, "niceness": BESIDE})
        self._pace: dict[str, float] = {}

    def close(self) -> None:
        """Stop all processes."""
        self._executor.close()
        self._checker.close()

    def portion(self, leases: Sequence[Lease]) -> int:
        """Say how many of these jobs, proven one after another, keep one process busy for a while and not longer."""
        with contextlib.suppress(BalanceError):
            material = self._materials.of(leases[0].registration_id)
            size, expected = material.size, material.registered.preparation.estimate.prove_seconds
            pace = self._pace.get(leases[0].registration_id, expected)
            if pace is None:
                return 1
            return min(len(leases), max(1, min(int(_BATCH_SECONDS / max(pace, 1e-3)), _BATCH_BYTES // size)))
        return 1

    def prove(
        self, leases: Sequence[Lease], publish: Publish, *, memory: Memory, stop: Stop, more: bool = False
    ) -> None:
        """Prove jobs of one registration, and hand over what checks and publishes proofs while others are made.

        Each job is handed over once, also one that was not proven, and ends as done, failed, released or lost. `more`
        says that other jobs wait.
        """
        if leases[0].bundle is not None:
            publish(partial(self._submit, leases), leases)
            return
        try:
            material = self._materials.of(leases[0].registration_id)
        except BalanceError as error:
            for lease in leases:
                lease.failed(f"{type(error).__name__}: {error}")
            publish(partial(self._submit, ()), leases)
            return
        self._trim_logs()
        seconds = leases[0].seconds or self._seconds
        limits = Limits(seconds=seconds, memory_bytes=memory.free, threads=self._threads)
        attempt = Attempt(self._executor, leases, material, limits, stop, more=more)
        handed = 0

        def hand_over(last: int) -> Future[None]:
            nonlocal handed
            first, handed = handed, last
            proven = self._bundles(leases[first:last], attempt.made[first:last], material)
            work = partial(self._check_and_publish, proven, material, limits, stop)
            return publish(work, leases[first:last])

        pending: Future[None] | None = None
        latest = time.monotonic()

        def meanwhile() -> None:
            nonlocal pending, latest
            made, now = len(attempt.made), time.monotonic()
            # the last ones are handed over at the end, with those that were not proven
            if not handed < made < len(leases) or (pending is not None and not pending.done()):
                return
            left = len(leases) - made
            least, most = _LAST_SECONDS
            ending = made - handed > left and least < left * (attempt.pace or 0.0) < most
            if ending or now - latest > _HAND_OVER_SECONDS:
                pending, latest = hand_over(made), now
                self._checker.prepare("verify", material.circuit.backend)

        self._checker.prepare("verify", material.circuit.backend)
        attempt.run(meanwhile)
        self._learn(leases[0].registration_id, attempt)
        attempt.settle_rest(memory.total)
        hand_over(len(leases))

    def _submit(self, leases: Sequence[Lease]) -> None:
        for lease in leases:
            self._publisher.submit(lease)

    def _learn(self, registration_id: str, attempt: Attempt) -> None:
        if attempt.pace is not None:
            self._pace[registration_id] = (self._pace.get(registration_id, attempt.pace) + attempt.pace) / 2

    def _bundles(
        self, leases: Sequence[Lease], made: Sequence[str], material: Material
    ) -> list[tuple[Lease, Bundle]]:
        """Return the bundles of the proofs whose jobs are still ours; the workspace does not keep the proofs."""
        proven = []
        for lease, address in zip(leases, made, strict=False):
            path = self._workspace.blob(address)
            if not lease.lost:
                proven.append((lease, material.bundle(path.read_bytes())))
            path.unlink(missing_ok=True)
        return proven

    def _check_and_publish(
        self, proven: Sequence[tuple[Lease, Bundle]], material: Material, limits: Limits, stop: Stop
    ) -> None:
        if not proven:
            return
        try:
            said = self._verify(proven, material, limits, stop)
        except (BalanceError, RuntimeError) as error:
            for lease, _ in proven:
                if stop.now.is_set():
                    lease.release()
                else:
                    lease.failed(f"checking: {error}")
            return
        for (lease, bundle), word in zip(proven, said, strict=True):
            if "error" in word:
                lease.failed(f"the proof does not verify: {word['message']}")
                continue
            try:
                statement = matching(lease.receipt.receipt, Verified.from_value(word["verified"]))
            except BalanceError as error:
                _log.error("job %s was not published: %s", lease.job_id, error)
                lease.failed(f"not published: {error}", retry=not isinstance(error, InvalidProof))
            else:
                self._publisher.publish(lease, statement, bundle)

    def _verify(
        self, proven: Sequence[tuple[Lease, Bundle]], material: Material, limits: Limits, stop: Stop
    ) -> list[dict[str, Any]]:
        """Check bundles in a fresh process that sees nothing else."""
        backend = material.circuit.backend
        with self._workspace.scratch() as folder:
            paths = []
            for number, (_, bundle) in enumerate(proven):
                path = folder / str(number)
                path.write_bytes(bundle.to_bytes())
                paths.append(str(path))
            registration = material.registered.registration.model_dump(mode="json")
            task = Task(
                stage="verify",
                plugin=backend,
                arguments={"bundles": paths, "registration": registration},
                limits=limits,
            )
            future = self._checker.submit(task)
            while not wait([future], TICK_SECONDS).done:
                if stop.now.is_set():
                    future.cancel()
            said: list[dict[str, Any]] = future.result().value
            return said

    def _trim_logs(self) -> None:
        """Keep the stages' logs from growing for ever."""
        with contextlib.suppress(OSError):
            for path in self._logs.glob("*.log"):
                if path.stat().st_size > _LOG_BYTES:
                    path.write_bytes(b"")
