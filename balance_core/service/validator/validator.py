"""The validator: it follows a chain, checks the proofs that are published there, and says of each what it found."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from balance_core import registry
from balance_core.closing import Closing
from balance_core.contracts import Signs
from balance_core.errors import ChainError, ChainUnreachable, ConfigError
from balance_core.service.validator.checking import Checker, Surroundings
from balance_core.service.validator.diary import tell
from balance_core.service.validator.examiner import Examiner
from balance_core.service.validator.intake import follow
from balance_core.service.validator.queue import Queue
from balance_core.service.validator.settings import ValidatorSettings
from balance_core.service.validator.status import ValidatorStatus, read_status
from balance_core.service.validator.store import Store
from balance_core.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from balance_core.contracts import ChainAdapter, Storage

_IDLE_SECONDS = 1.0
"""The longest that an idle worker waits before it looks again."""
_LONGEST_WAIT = 60.0
_FAILURES = 8
"""How often in a row a chain may answer nonsense before the validator ends: nothing it says then is worth a word."""


class Validator(Closing):
    """One validator on one chain, with a key and a memory of its own; any number of them run beside each other.

    The chain's settings name the key that signs. `memory` is the file with its cursor and verdicts, which no two
    validators share; by default it lies in the data folder, under the name of chain and key.
    """

    def __init__(
        self,
        chain: str = "ledger",
        *,
        storage: str = "local",
        chain_settings: Mapping[str, Any] | None = None,
        storage_settings: Mapping[str, Any] | None = None,
        settings: ValidatorSettings | None = None,
        memory: Path | None = None,
    ) -> None:
        self.settings = settings or ValidatorSettings()
        self._held = ExitStack()
        self.chain_name = chain
        self.chain: ChainAdapter = registry.create("chains", chain, chain_settings)
        self.storage: Storage = registry.create("storage", storage, storage_settings)
        signs: object = self.chain
        if not isinstance(signs, Signs):
            raise ConfigError(
                f"the chain {chain!r} does not say whose records it writes",
                hint="its author lets it inherit from balance_core.contracts.Signs",
            )
        self.public_key = signs.signer()
        workspace = Workspace.default()
        self.store = Store(memory or default_memory(workspace, chain, self.public_key))
        self._held.callback(self.store.close)
        try:
            self._held.enter_context(self.store.alone())
            self.store.belongs_to(self.public_key, chain)
        except BaseException:
            self._held.close()
            raise
        self.queue = Queue(self.store)
        logs = self.store.path.with_suffix(".logs")
        self.executor = registry.create("executors", "local", {"logs": logs})
        around = Surroundings(self.chain, chain, self.storage, self.executor, workspace, log=logs / "judge.log")
        self.checker = Checker(around, self.settings)
        self._examiner = Examiner(self.chain, self.checker, self.queue, self.settings, validator=self.public_key)
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._news = threading.Condition()
        self._broken: BaseException | None = None
        self.followed = 0.0
        """When the chain was last read to its newest entry, by the clock of `time.time`."""
        self.trouble: str | None = None
        """Why the chain cannot be followed at present."""

    @override
    def close(self) -> None:
        """Stop, and let go of the memory; what was in hand is taken up by the next one that has it."""
        self.stop()
        self._held.close()
        close = getattr(self.chain, "close", None)
        if close is not None:
            close()

    def stop(self) -> None:
        """Have `run` come back as soon as what is in hand has been put down."""
        self._examiner.stopping.set()
        self._stop.set()
        with self._news:
            self._news.notify_all()

    def rescan(self) -> None:
        """Read the chain from its first entry again; what was decided and said stays."""
        self.store.rescan()

    def status(self) -> ValidatorStatus:
        """Return how it stands."""
        return read_status(self.store)

    @property
    def is_ready(self) -> bool:
        """Whether it follows the chain."""
        return self.trouble is None and self._caught_up.is_set()

    def run(self, *, until_done: bool = False) -> ValidatorStatus:
        """Follow the chain until `stop`, or until every proof there has come to its end; returns how it stands then.

        Raises ChainError when the chain is not the one that was read before, or talks nonsense for long.
        """
        found = self.queue.recover(self.settings.interruptions)
        tell("started", validator=self.public_key, chain=self.chain_name, taken_up=found)
        workers = [threading.Thread(target=self._labour, name=f"check-{n}") for n in range(self.settings.workers)]
        for worker in workers:
            worker.start()
        try:
            self._follow(until_done=until_done)
        finally:
            self.stop()
            self.executor.close()
            for worker in workers:
                worker.join()
        if self._broken is not None:
            raise self._broken
        tell("ended", validator=self.public_key)
        return self.status()

    def _follow(self, *, until_done: bool) -> None:
        failures = 0
        while not self._stop.is_set():
            wait = self.settings.poll_seconds
            try:
                taken = follow(self.chain, self.store, self.public_key)
            except ChainError as error:
                failures += 1
                self.trouble = error.message
                tell("the chain cannot be followed", level=logging.ERROR, why=error.message, hint=error.hint)
                if not isinstance(error, ChainUnreachable) and (until_done or failures >= _FAILURES):
                    raise
                wait = min(wait * 2.0**failures, _LONGEST_WAIT)
            else:
                failures, self.trouble, self.followed = 0, None, time.time()
                self._caught_up.set()
                if taken:
                    tell("followed", events=taken)
                    with self._news:
                        self._news.notify_all()
                elif until_done and self.queue.is_done():
                    return
            self._stop.wait(wait)

    def _labour(self) -> None:
        try:
            self._work_until_stopped()
        except BaseException as error:  # noqa: BLE001 - without its memory there is no validator: `run` raises it
            self._broken = error
            self._stop.set()

    def _work_until_stopped(self) -> None:
        """Work on one proof after the other, once the chain, and with it what was said before, has been read."""
        while not self._stop.is_set():
            if not self._caught_up.wait(0.1):
                continue
            item = self.queue.lease()
            if item is not None:
                self._examiner.work(item)
                continue
            due = self.queue.next_due()
            seconds = _IDLE_SECONDS if due is None else min(max(due - time.time(), 0.01), _IDLE_SECONDS)
            with self._news:
                if not self._stop.is_set():
                    self._news.wait(seconds)


def default_memory(workspace: Workspace, chain: str, validator: str) -> Path:
    """Return where a validator's memory lies unless it is told."""
    return workspace.root / "validators" / f"{chain}-{validator[:16]}.db"
