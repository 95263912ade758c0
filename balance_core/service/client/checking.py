"""Checking bundles in worker processes, many in one where they are of one registration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from balance_core import errors, registry
from balance_core.errors import BalanceError, StageError
from balance_core.stages import BESIDE, Limits, Task
from balance_core.verification import Verified
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from balance_core.bundle import Bundle
    from balance_core.chain import Voucher
    from balance_core.contracts import Executor
    from balance_core.records import InputOpening

    _Order = tuple[bytes, dict[str, Any] | None]
    """A bundle, and the opening of its inputs as JSON has it."""

DEFAULT_LIMITS = Limits(seconds=600, memory_bytes=4 * 2**30)
"""What checking one batch of a stranger's proofs may take."""
_BATCH = 128


class Checker:
    """Checks bundles from their bytes alone, in processes with limits; close it when done."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or DEFAULT_LIMITS
        self._executor: Executor | None = None

    def prepare(self, backend: str) -> None:
        """Have a process made ready for checking soon."""
        self._running().prepare("verify", backend)

    def check(
        self,
        bundles: Sequence[bytes],
        *,
        backend: str,
        registration_id: str,
        voucher: Voucher | None = None,
        openings: Sequence[InputOpening | None] = (),
    ) -> list[Verified | BalanceError]:
        """Return for each bundle what it proves under this registration, or why it does not.

        `openings` are of the bundles' inputs: those that hide them must open to these.

        A bundle that brings its process down costs the others of its batch nothing but time.
        """
        registry.info("verifiers", backend)
        word = voucher.model_dump(mode="json") if voucher else None
        said: list[Verified | BalanceError] = []
        given = [None if one is None else one.model_dump(mode="json") for one in openings] or [None] * len(bundles)
        orders = list(zip(bundles, given, strict=True))
        for start in range(0, len(bundles), _BATCH):
            batch = orders[start : start + _BATCH]
            arguments = {"registration": registration_id, "voucher": word}
            try:
                said += self._batch(batch, backend, arguments)
            except StageError as error:
                said += [error] if len(batch) == 1 else [self._alone(one, backend, arguments) for one in batch]
        return said

    def by_sample(
        self, bundles: Mapping[int, Bundle], registration_id: str, openings: Mapping[int, InputOpening]
    ) -> dict[int, Verified | BalanceError]:
        """Check an audit's bundles, which all are of one backend, with the openings of those that may hide inputs."""
        if not bundles:
            return {}
        backend = next(iter(bundles.values())).proof.backend
        found = self.check(
            [bundle.to_bytes() for bundle in bundles.values()],
            backend=backend,
            registration_id=registration_id,
            openings=[openings.get(sample) for sample in bundles],
        )
        return dict(zip(bundles, found, strict=True))

    def close(self) -> None:
        """Stop what still runs."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def _running(self) -> Executor:
        if self._executor is None:
            self._executor = registry.create("executors", "local", {"niceness": BESIDE})
        return self._executor

    def _alone(self, order: _Order, backend: str, arguments: dict[str, Any]) -> Verified | BalanceError:
        try:
            return self._batch([order], backend, arguments)[0]
        except StageError as error:
            return error

    def _batch(
        self, orders: Sequence[_Order], backend: str, arguments: dict[str, Any]
    ) -> list[Verified | BalanceError]:
        with Workspace.default().scratch() as folder:
            paths = []
            for number, (data, _) in enumerate(orders):
                path = folder / f"{number}.balance"
                path.write_bytes(data)
                paths.append(str(path))
            given = {**arguments, "bundles": paths, "openings": [opening for _, opening in orders]}
            task = Task(stage="verify", plugin=backend, arguments=given, limits=self._limits)
            return [_said(one) for one in self._running().submit(task).result().value]


def _said(one: dict[str, Any]) -> Verified | BalanceError:
    if "verified" in one:
        return Verified.from_value(one["verified"])
    kind = getattr(errors, str(one.get("error")), errors.InvalidProof)
    known = isinstance(kind, type) and issubclass(kind, BalanceError)
    found: BalanceError = (kind if known else errors.InvalidProof)(str(one.get("message")))
    return found
