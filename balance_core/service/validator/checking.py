"""A proof's way to a verdict: who stands behind it, its content, and the check in a worker with limits.

Only an InvalidProof makes a verdict of "invalid": it comes of the content alone, wherever it is checked. What went
wrong on this machine (time, memory, a storage that does not answer) is recorded, and nobody is accused of it.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from balance_core import errors, registry
from balance_core.chain import Finality, Standing
from balance_core.judging import Judgement
from balance_core.service.validator.diary import tell
from balance_core.service.validator.fetching import Fetcher
from balance_core.service.validator.reasons import Reason
from balance_core.service.validator.settings import Course
from balance_core.stages import Limits, Task
from balance_core.verification import vouch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from balance_core.chain import Voucher
    from balance_core.contracts import ChainAdapter, Executor, Storage
    from balance_core.service.validator.queue import Item
    from balance_core.service.validator.settings import ValidatorSettings
    from balance_core.workspace import Workspace

_MAGIC = b"PK\x03\x04"
"""What every bundle begins with."""
_FAILURES = 2
"""How often a check that broke down, or took too much, is made: what failed by chance may not fail again."""
_NAMES_SECONDS = 60.0
"""How long the list of installed verifiers is taken to be right."""
_GRACE_SECONDS = 60.0
"""What a worker may take to start and to end, beside the time of the check."""
_MAX_LOG_BYTES = 16 * 2**20


class Ended(Exception):
    """The proof ends here, with a verdict or without; `say` tells whether that belongs on the chain."""

    def __init__(self, reason: Reason, detail: str, *, verdict: bool | None = None, say: bool = False) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.verdict, self.say = reason, detail, verdict, say


class Later(Exception):
    """It has to be taken up again after so many seconds; `tried` says whether this counts as a try."""

    def __init__(self, detail: str, *, seconds: float, tried: bool = True) -> None:
        super().__init__(detail)
        self.detail, self.seconds, self.tried = detail, seconds, tried


@dataclass(frozen=True)
class Surroundings:
    """What a validator works with."""

    chain: ChainAdapter
    chain_name: str
    storage: Storage
    executor: Executor
    workspace: Workspace
    log: Path
    """Where the workers' output goes."""


class Checker:
    """Checks proofs in hand; any number of threads may use one."""

    def __init__(self, around: Surroundings, settings: ValidatorSettings) -> None:
        self._around, self._settings = around, settings
        self.fetcher = Fetcher(
            around.storage,
            max_bytes=settings.max_bundle_bytes,
            seconds=settings.fetch_seconds,
            most_stuck=settings.stuck_fetches,
        )
        self._installed_until, self._installed = 0.0, frozenset[str]()
        self._unsound: set[str] = set()
        """Backends whose verifier said that it proves nothing: known after the first of their proofs."""

    def check(self, item: Item) -> NoReturn:
        """Raise Ended or Later: how the proof stands."""
        self._wait_until_final(item)
        with self._asking():
            voucher = vouch(self._around.chain, self._around.chain_name, item.record.registration_id)
        if voucher.standing is Standing.REVOKED:
            raise Ended(Reason.REVOKED, f"its registration was revoked: {voucher.reason}")
        backend = self._backend(item)
        with self._around.workspace.scratch() as folder:
            path = folder / "bundle"
            self._fetch(item, path)
            judgement = self._judge(item, path, backend, voucher)
        self._conclude(judgement)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say of a chain's errors what they mean to the proof."""
        try:
            yield
        except errors.Rejected as error:
            raise Ended(Reason.REVOKED, error.message) from error
        except errors.ChainError as error:
            raise Later(error.message, seconds=self._settings.retry_seconds, tried=False) from error

    def _wait_until_final(self, item: Item) -> None:
        if not self._settings.final_only:
            return
        with self._asking():
            found = self._around.chain.status(item.entry)
        if found is Finality.PENDING:
            raise Later("its entry is not final yet", seconds=self._settings.poll_seconds, tried=False)
        if found is not Finality.FINAL:
            self._again(item, Reason.REFUSED, f"the chain calls its entry {found}")

    def _backend(self, item: Item) -> str:
        """Return the backend of the chain's registration; ends what would be checked for nothing."""
        with self._asking():
            named = self._around.chain.registration(item.record.registration_id)
        backend, settings = named.backend, self._settings
        if settings.backends and backend not in settings.backends:
            raise Ended(Reason.OTHER_BACKEND, f"the settings do not name the backend {backend!r}")
        if time.monotonic() > self._installed_until:
            self._installed = frozenset(registry.names("verifiers"))
            self._installed_until = time.monotonic() + _NAMES_SECONDS
        if backend not in self._installed:
            raise Ended(Reason.UNKNOWN_BACKEND, f"no verifier for the backend {backend!r} is installed")
        if named.setup_trust.is_test_only and settings.insecure_setup is Course.RECORD:
            raise Ended(Reason.INSECURE_SETUP, "its setup was made for tests: whoever made it could forge proofs")
        if backend in self._unsound and settings.unsound is Course.RECORD:
            raise Ended(Reason.UNSOUND, f"{backend} proves nothing to anybody")
        return backend

    def _fetch(self, item: Item, path: Path) -> None:
        try:
            self.fetcher.fetch(item.record.bundle, path)
        except errors.ContentTooLarge as error:
            raise Ended(Reason.TOO_LARGE, error.message) from error
        except errors.ConfigError as error:  # no storage can have it: its address is none
            raise Ended(Reason.UNAVAILABLE, error.message) from error
        except errors.StageTimeout as error:
            self._again(item, Reason.TOO_SLOW, error.message)
        except errors.StorageUnreachable as error:  # no fault of the proof
            raise Later(error.message, seconds=self._settings.wait_after(item.tries + 1), tried=False) from error
        except (errors.StorageError, OSError) as error:
            self._again(item, Reason.UNAVAILABLE, str(error))
        with path.open("rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                self._invalid("it is no bundle")

    def _judge(self, item: Item, path: Path, backend: str, voucher: Voucher) -> Judgement:
        settings, record = self._settings, item.record
        limits = Limits(
            seconds=settings.verify_seconds, memory_bytes=settings.verify_memory, threads=settings.verify_threads
        )
        arguments = {
            "bundle": str(path),
            "max_size": settings.max_bundle_bytes,
            "record": record.model_dump(mode="json"),
            "registration": record.registration_id,
            "voucher": voucher.model_dump(mode="json"),
        }
        cut_log(self._around.log)
        task = Task(stage="judge", plugin=backend, arguments=arguments, limits=limits)
        future = self._around.executor.submit(task)
        try:
            return Judgement.from_value(future.result(settings.verify_seconds + _GRACE_SECONDS).value)
        except errors.InvalidProof as error:
            self._invalid(error.message)
        except errors.Rejected as error:
            raise Ended(Reason.REVOKED, error.message) from error
        except (errors.StageTimeout, TimeoutError) as error:
            future.cancel()
            self._again(item, Reason.TIMEOUT, str(error) or "the worker did not come back", most=_FAILURES)
        except errors.StageOutOfMemory as error:
            self._again(item, Reason.OUT_OF_MEMORY, error.message, most=_FAILURES)
        except errors.BalanceError as error:
            self._again(item, Reason.FAILED, error.message, most=_FAILURES)

    def _conclude(self, judgement: Judgement) -> NoReturn:
        """Say valid, unless that means less than readers take it to mean and the settings do not ask for it."""
        settings, weak = self._settings, []
        if not judgement.sound:
            self._unsound.add(judgement.backend)
            weak.append((Reason.UNSOUND, f"{judgement.backend} proves nothing to anybody", settings.unsound))
        if judgement.setup_trust.is_test_only:
            weak.append((Reason.INSECURE_SETUP, "its setup was made for tests", settings.insecure_setup))
        for reason, why, course in weak:
            if course is Course.RECORD:
                raise Ended(reason, why, verdict=True)
            tell("called valid, as the settings ask for it", level=logging.WARNING, reason=reason, why=why)
        raise Ended(Reason.VALID, "; ".join(why for _, why, _ in weak), verdict=True, say=True)

    def _invalid(self, why: str) -> NoReturn:
        raise Ended(Reason.INVALID, why, verdict=False, say=self._settings.invalid is Course.ATTEST)

    def _again(self, item: Item, reason: Reason, why: str, *, most: int | None = None) -> NoReturn:
        """Try again later, or give up after so many tries."""
        settings, tries = self._settings, item.tries + 1
        if tries >= min(settings.tries, most or settings.tries):
            raise Ended(reason, why)
        raise Later(why, seconds=settings.wait_after(tries))


def cut_log(path: Path) -> None:
    """Keep strangers from filling the disk with what verifiers print about their proofs."""
    with suppress(FileNotFoundError):
        if path.stat().st_size > _MAX_LOG_BYTES:
            with path.open("r+b") as stream:
                stream.truncate(0)
