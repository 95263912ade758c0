"""One proof in hand: it is checked, its verdict is kept, and then said on the chain; the queue knows every step."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from balance_core import errors
from balance_core.chain import Attestation
from balance_core.service.validator.checking import Ended, Later
from balance_core.service.validator.diary import tell
from balance_core.service.validator.reasons import Reason, State

if TYPE_CHECKING:
    from balance_core.contracts import ChainAdapter
    from balance_core.service.validator.checking import Checker
    from balance_core.service.validator.queue import Item, Queue
    from balance_core.service.validator.settings import ValidatorSettings


class Examiner:
    """Works on proofs in hand; any number of threads may use one."""

    def __init__(
        self, chain: ChainAdapter, checker: Checker, queue: Queue, settings: ValidatorSettings, *, validator: str
    ) -> None:
        self._chain, self._checker, self._queue, self._settings = chain, checker, queue, settings
        self._validator = validator
        self.stopping = threading.Event()

    def work(self, item: Item) -> None:
        """Bring a proof as far as it goes now; no error of its own gets out of here."""
        started = time.monotonic()
        try:
            if item.state is State.DECIDED:
                self._say(item, valid=bool(item.verdict))
            else:
                self._examine(item)
        except Exception as error:  # noqa: BLE001 - it is kept and told, and the other proofs go on
            # A fault of ours in one proof must not stop the others, nor be met for ever.
            tell("a proof could not be worked on", level=logging.ERROR, crash=error, proof=item.proof_id)
            why = f"{type(error).__name__}: {error}"
            if item.state is State.DECIDED or item.tries + 1 < self._settings.tries:
                self._queue.postpone(item, why, seconds=self._settings.wait_after(item.tries + 1))
            else:
                self._queue.record(item, Reason.FAILED, why)
        finally:
            if item.state is State.WAITING:
                self._queue.charge(item, time.monotonic() - started)

    def _examine(self, item: Item) -> None:
        try:
            self._checker.check(item)
        except Later as later:
            self._put_back(item, later)
        except Ended as ended:
            if self.stopping.is_set() and ended.verdict is None:
                self._put_back(item, Later("the validator was stopped", seconds=0, tried=False))
            else:
                self._end(item, ended)

    def _put_back(self, item: Item, later: Later) -> None:
        tried = later.tried and not self.stopping.is_set()
        self._queue.postpone(item, later.detail, seconds=later.seconds, tried=tried)
        tell("put back", proof=item.proof_id, provider=item.provider, seconds=later.seconds, why=later.detail)

    def _end(self, item: Item, ended: Ended) -> None:
        found = {"verdict": ended.verdict, "reason": ended.reason, "why": ended.detail}
        tell("checked", proof=item.proof_id, provider=item.provider, found=found)
        if ended.verdict is None or not ended.say:
            self._queue.record(item, ended.reason, ended.detail, verdict=ended.verdict)
        elif not ended.verdict and self._is_over_budget(item.provider):
            self._queue.record(item, Reason.BUDGET, ended.detail, verdict=False)
        elif self._queue.decide(item, ended.reason, ended.detail, valid=ended.verdict):
            self._say(item, valid=ended.verdict)

    def _is_over_budget(self, provider: str) -> bool:
        """Say whether naming more of this provider's junk would only cost this validator money."""
        return self._queue.called_invalid_today(provider) >= self._settings.invalid_per_day

    def _say(self, item: Item, *, valid: bool) -> None:
        """Put the verdict on the chain; the same call again, after whatever happened, adds nothing."""
        proof, statement = item.proof_id, item.record.statement_digest
        word = Attestation(proof_id=proof, statement_digest=statement, valid=valid, validator=self._validator)
        tries = item.tries + 1 if item.state is State.DECIDED else 1
        try:
            entry = self._chain.attest(word, key=f"attest/{word.digest}")
        except errors.Rejected as error:
            if tries >= self._settings.tries:
                self._queue.record(item, Reason.REFUSED, error.message, verdict=valid)
            else:
                self._wait_to_say(item, error, tries)
        except errors.BalanceError as error:
            # Without a limit: the verdict stands, and a chain, or money for it, comes back.
            self._wait_to_say(item, error, tries)
        else:
            self._queue.attested(item, entry)
            tell("attested", proof=proof, valid=valid, entry=entry.entry)

    def _wait_to_say(self, item: Item, error: errors.BalanceError, tries: int) -> None:
        seconds = self._settings.wait_after(tries)
        self._queue.postpone(item, error.message, seconds=seconds)
        why = {"why": error.message, "hint": error.hint}
        tell("the word did not reach the chain", level=logging.ERROR, proof=item.proof_id, seconds=seconds, error=why)
