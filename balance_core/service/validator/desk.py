"""Verification for others: a bundle, or its address, in; what it proves, or why not, out. A worker does the checking.

A node's own off-chain worker, or anybody without a verifier, asks here. The answer is as good as whoever gives it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from balance_core import errors, registry
from balance_core.bundle import Bundle
from balance_core.judging import Judgement
from balance_core.records import Cid, Digest, Record
from balance_core.service.validator.checking import cut_log
from balance_core.service.validator.fetching import Fetcher
from balance_core.settings import Settings
from balance_core.stages import Limits, Task
from balance_core.verification import NOBODY, vouch
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from balance_core.chain import Voucher
    from balance_core.contracts import ChainAdapter, Executor, Storage

_GRACE_SECONDS = 60.0


class DeskSettings(Settings):
    """What one verification for somebody else may take, and how many are made at a time."""

    at_once: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="verifications at a time; more are told to wait"
    )
    max_bundle_bytes: Annotated[int, Field(ge=1024)] = Field(64 * 2**20, description="largest bundle")
    fetch_seconds: Annotated[float, Field(gt=0)] = Field(20.0, description="how long fetching a bundle may take")
    verify_seconds: Annotated[float, Field(gt=0)] = Field(60.0, description="how long checking a proof may take")
    verify_memory: Annotated[int, Field(ge=2**24)] = Field(
        4 * 2**30, description="how many bytes of memory checking a proof may take"
    )
    told_bytes: Annotated[int, Field(ge=0)] = Field(2**20, description="most bytes of statements in an answer")


class BundleAddress(Record):
    """Where the bundle to be verified lies in the storage."""

    kind: ClassVar[str] = "bundle-address"
    cid: Cid
    registration: Digest | None = None
    """The registration that the caller relies on."""


class Verdict(Record):
    """What a bundle proves, or why it proves nothing."""

    kind: ClassVar[str] = "verdict"
    valid: bool
    reason: str | None = None
    """Why it is not valid."""
    judgement: Judgement | None = None
    """What it proves, where it is valid."""
    complete: bool = True
    """Whether all statements are there; no where they are larger than an answer may be."""
    warnings: tuple[str, ...] = ()
    """What keeps a valid proof from meaning what it seems to."""


class Desk:
    """Verifies for others, so many at a time."""

    def __init__(
        self,
        *,
        storage: Storage | None,
        chain: ChainAdapter | None,
        chain_name: str,
        settings: DeskSettings | None = None,
        workspace: Workspace | None = None,
    ) -> None:
        self.settings = settings or DeskSettings()
        self._chain, self._chain_name = chain, chain_name
        self._workspace = workspace or Workspace.default()
        self._slots = threading.BoundedSemaphore(self.settings.at_once)
        logs = self._workspace.root / "logs"
        self._log = logs / "judge.log"
        self._executor: Executor = registry.create("executors", "local", {"logs": logs})
        self._fetcher = (
            Fetcher(
                storage,
                max_bytes=self.settings.max_bundle_bytes,
                seconds=self.settings.fetch_seconds,
                most_stuck=self.settings.at_once,
            )
            if storage is not None
            else None
        )

    def check(self, data: bytes, *, registration: str | None = None) -> Verdict:
        """Verify a bundle's bytes; raises Busy, ConfigError for too many bytes, and the errors of a failed stage."""
        if len(data) > self.settings.max_bundle_bytes:
            raise errors.ConfigError(f"a bundle has at most {self.settings.max_bundle_bytes} bytes here")
        with self._slot(), self._workspace.scratch() as folder:
            path = folder / "bundle"
            path.write_bytes(data)
            return self._judge(path, registration)

    def check_address(self, where: BundleAddress) -> Verdict:
        """Verify a bundle of the storage; raises as `check`, and the storage's errors."""
        if self._fetcher is None:
            raise errors.ConfigError("there is no storage to fetch from here", hint="send the bundle itself")
        with self._slot(), self._workspace.scratch() as folder:
            path = folder / "bundle"
            self._fetcher.fetch(where.cid, path)
            return self._judge(path, where.registration)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise errors.Busy(f"{self.settings.at_once} verifications are running, and no more may", retry_after=2.0)
        try:
            yield
        finally:
            self._slots.release()

    def _judge(self, path: Path, registration: str | None) -> Verdict:
        settings = self.settings
        try:
            voucher = self._voucher(path, registration)
        except (errors.InvalidProof, errors.Rejected) as error:
            return Verdict(valid=False, reason=error.message)
        arguments = {
            "bundle": str(path),
            "max_size": settings.max_bundle_bytes,
            "registration": registration,
            "voucher": None if voucher is None else voucher.model_dump(mode="json"),
            "told_bytes": settings.told_bytes,
        }
        limits = Limits(seconds=settings.verify_seconds, memory_bytes=settings.verify_memory, threads=1)
        cut_log(self._log)
        future = self._executor.submit(Task(stage="judge", arguments=arguments, limits=limits))
        try:
            judgement = Judgement.from_value(future.result(settings.verify_seconds + _GRACE_SECONDS).value)
        except (errors.InvalidProof, errors.Rejected) as error:
            return Verdict(valid=False, reason=error.message)
        except errors.PluginNotFound as error:
            raise errors.ConfigError(
                "no verifier for this bundle's backend is installed here", hint="ask somebody who has it"
            ) from error
        except TimeoutError as error:
            future.cancel()
            raise errors.StageTimeout("the worker did not come back") from error
        return Verdict(
            valid=True,
            judgement=judgement,
            complete=len(judgement.statements) == judgement.count,
            warnings=tuple(_warnings(judgement)),
        )

    def _voucher(self, path: Path, registration: str | None) -> Voucher | None:
        """Return the chain's word for the registration; without one that was given it is the bundle's, if known."""
        if self._chain is None:
            return None
        wanted = registration or _named(path, self.settings.max_bundle_bytes)
        try:
            return vouch(self._chain, self._chain_name, wanted)
        except errors.Rejected:
            # Nobody vouches for it then; with a registration that the caller pins, that is for the caller to know.
            return None


def _named(path: Path, max_size: int) -> str:
    """Return the registration that a bundle names; raises InvalidProof for what is no bundle."""
    try:
        return Bundle.read(path, max_size=max_size).registration_id
    except errors.ConfigError as error:
        raise errors.InvalidProof(f"it is no bundle: {error.message}") from error


def _warnings(judgement: Judgement) -> Iterator[str]:
    if not judgement.sound:
        yield f"{judgement.backend} is not sound: its proofs prove nothing to anybody"
    if judgement.setup_trust.is_test_only:
        yield "the setup was made for tests: whoever made it could forge proofs"
    if not judgement.vouched_by:
        yield NOBODY
