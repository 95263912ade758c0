"""Sending transactions: once each, in order, by any number of processes with one account.

A transaction is signed with a number (nonce) of its own and kept in the journal before a node sees it. Whatever
happens then (a crash, a node that forgets, a chain that goes back), the journal's bytes are sent again until the
chain has taken that number: by the number, a transaction cannot take effect twice.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from balance_core.errors import ChainError, ChainUnreachable, Reverted
from balance_evm import fees
from balance_evm.fees import Fees, Quote
from balance_evm.journal import Sent, now
from balance_evm.rpc import RpcRefused, quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_evm.accounts import Account
    from balance_evm.journal import Journal
    from balance_evm.rpc import Rpc
    from balance_evm.settings import EvmSettings

log = logging.getLogger("balance_evm")

_POLL, _LONGEST_POLL = 0.02, 1.0
_HEAL_SECONDS = 1.0
"""How long a transaction may be away before the node is asked whether it has it."""
_GRACE_SECONDS = 20.0
"""How long a number may be taken without a receipt before it counts as taken by somebody else."""
_KNOWN = ("already known", "already imported", "known transaction", "alreadyknown")
_TAKEN = ("nonce too low", "nonce is too low", "oldnonce", "invalid nonce")
_UNDERPRICED = ("underpriced", "fee too low")
_FUNDS = ("insufficient funds", "insufficient balance", "exceeds balance", "not enough funds")


@dataclass(frozen=True)
class Transaction:
    """What is to be done; `target` None makes a contract."""

    what: str
    """In words, for messages."""
    target: str | None
    data: bytes
    value: int = 0

    def call(self, sender: str) -> dict[str, Any]:
        """Return it as nodes simulate it."""
        fields: dict[str, Any] = {"from": sender, "data": "0x" + self.data.hex(), "value": hex(self.value)}
        return fields if self.target is None else {**fields, "to": self.target}


class Sender:
    """One account on one chain."""

    def __init__(self, rpc: Rpc, account: Account, journal: Journal, settings: EvmSettings, chain_id: int) -> None:
        self.rpc, self.account, self.journal, self.settings, self.chain_id = rpc, account, journal, settings, chain_id
        self.tell: Callable[[Quote], None] = _log_quote

    def estimate(self, transaction: Transaction) -> int:
        """Return the gas that it takes now; raises RpcRefused with the revert's data where it would fail."""
        return quantity(self.rpc.call("eth_estimateGas", transaction.call(self.account.address)))

    def quote(self, transaction: Transaction) -> Quote:
        """Say what it may cost; raises ChainError where that is above a ceiling or the account's funds."""
        gas = fees.with_margin(self.estimate(transaction), self.settings, transaction.what)
        quote = Quote(transaction.what, gas, fees.current(self.rpc, self.settings))
        balance = quantity(self.rpc.call("eth_getBalance", self.account.address, "latest"))
        fees.check_cost(quote, self.settings, balance=balance, value=transaction.value, address=self.account.address)
        return quote

    def send(self, transaction: Transaction, *, kept: Callable[[Sent], None] | None = None) -> Sent:
        """Sign, keep and send; `kept` is called once it is in the journal, before any node has seen it."""
        quote = self.quote(transaction)
        self.tell(quote)
        while True:
            with self.journal.sending():
                sent = self._sign(transaction, quote.gas, quote.fees, self._next_nonce())
                self.journal.add(sent)
                if kept is not None:
                    kept(sent)
                if self._broadcast(sent, quote):
                    return sent

    def _broadcast(self, sent: Sent, quote: Quote) -> bool:
        """Send for the first time; False where the number is taken, so that another must be given out."""
        try:
            self._push(sent)
        except RpcRefused as error:
            # The node has refused it for good: its number is free for the next one.
            self.journal.forget(sent.hash)
            if _says(error, _TAKEN):
                return False
            if _says(error, _FUNDS):
                raise fees.out_of_funds(self.account.address, 0, quote.what) from error
            raise ChainError(f"the node refuses {quote.what}: {error.message}", hint=error.hint) from error
        except ChainUnreachable as error:
            raise ChainUnreachable(
                f"{error.message}; whether it took {quote.what} is not known",
                hint="run the same again: the journal continues with this transaction, and nothing is done twice",
            ) from error
        return True

    def _push(self, sent: Sent) -> None:
        try:
            self.rpc.call("eth_sendRawTransaction", "0x" + sent.raw.hex())
        except RpcRefused as error:
            if not _says(error, _KNOWN):
                raise

    def _sign(self, transaction: Transaction, gas: int, offered: Fees, nonce: int) -> Sent:
        from eth_utils.crypto import keccak

        to = {} if transaction.target is None else {"to": transaction.target}
        raw = self.account.sign(
            {
                **to,
                "chainId": self.chain_id,
                "nonce": nonce,
                "value": transaction.value,
                "data": "0x" + transaction.data.hex(),
                "gas": gas,
                "maxFeePerGas": offered.max_fee,
                "maxPriorityFeePerGas": offered.priority_fee,
            }
        )
        name = "0x" + keccak(raw).hex()
        fields = (transaction.target, transaction.data, transaction.value, gas)
        return Sent(name, nonce, raw, *fields, offered.max_fee, offered.priority_fee, now())

    def mined(self) -> int:
        """Return how many of the account's transactions the chain has taken."""
        return quantity(self.rpc.call("eth_getTransactionCount", self.account.address, "latest"))

    def _next_nonce(self) -> int:
        """Return the number that neither chain, queue nor journal has; the caller holds the lock."""
        taken = self.mined()
        queued = quantity(self.rpc.call("eth_getTransactionCount", self.account.address, "pending"))
        live = self.journal.behind(taken)
        if live and queued <= live[-1].nonce:
            self._resend(live)
        return max([taken, queued, *(sent.nonce + 1 for sent in live)])

    def _resend(self, live: list[Sent]) -> None:
        """Give back to the node what it has lost: it crashed, or its chain went back."""
        for nonce in sorted({sent.nonce for sent in live}):
            newest = [sent for sent in live if sent.nonce == nonce][-1]
            if self.rpc.call("eth_getTransactionByHash", newest.hash) is None:
                log.info("transaction %s is sent again: the node has lost it", newest.hash)
                try:
                    self._push(newest)
                except RpcRefused as error:
                    if not _says(error, _TAKEN + _UNDERPRICED):
                        log.warning("transaction %s is refused now: %s", newest.hash, error.message)

    def receipt(self, nonce: int) -> dict[str, Any] | None:
        """Return the receipt of whatever was signed with a number, or None where none is mined."""
        for sent in reversed(self.journal.numbered(nonce)):
            found = self.rpc.call("eth_getTransactionReceipt", sent.hash)
            if isinstance(found, dict) and found.get("blockHash"):
                return found
        return None

    def wait(self, nonce: int, what: str) -> dict[str, Any]:
        """Return the receipt once it is mined, healing what stands in its way.

        Raises Reverted where somebody else used the number, ChainError where it stays away too long.
        """
        started = healed = time.monotonic()
        pause, taken_since = _POLL, 0.0
        while True:
            found = self.receipt(nonce)
            if found is not None:
                return found
            at = time.monotonic()
            if self.mined() > nonce:
                taken_since = taken_since or at
                if at - taken_since > _GRACE_SECONDS and self.receipt(nonce) is None:
                    raise Reverted(
                        f"{what} was dropped: another transaction of {self.account.address} has its number {nonce}",
                        hint="the key is used elsewhere, too; run it again",
                    )
            else:
                taken_since = 0.0
            if at - healed > _HEAL_SECONDS:
                self._heal()
                healed = time.monotonic()
            if at - started > self.settings.wait_seconds:
                newest = self.journal.numbered(nonce)[-1]
                raise ChainError(
                    f"{what} is not mined after {self.settings.wait_seconds:g} s: transaction {newest.hash}",
                    hint="run the same again: it goes on waiting for this transaction, and nothing is done twice",
                )
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL)

    def _heal(self) -> None:
        """Send again what the node has lost, and offer more for the one that all others wait for."""
        with self.journal.sending():
            live = self.journal.behind(self.mined())
            if not live:
                return
            self._resend(live)
            first = [sent for sent in live if sent.nonce == live[0].nonce]
            if now() - first[-1].time > self.settings.bump_seconds:
                self._bump(first[-1])

    def _bump(self, stuck: Sent) -> None:
        """Sign it again for a higher fee, as far as the ceilings allow; the caller holds the lock."""
        try:
            offered = Fees(stuck.max_fee, stuck.priority_fee).bumped(fees.current(self.rpc, self.settings))
        except ChainError as error:
            log.warning("transaction %s is stuck: %s", stuck.hash, error.message)
            return
        dear = stuck.gas * offered.max_fee > self.settings.max_cost_ether * fees.ETHER
        if dear or offered.max_fee > self.settings.max_fee_gwei * fees.GWEI:
            log.warning("transaction %s is stuck, and the ceiling does not allow a higher fee", stuck.hash)
            return
        transaction = Transaction("a replacement", stuck.target, stuck.data, stuck.value)
        again = self._sign(transaction, stuck.gas, offered, stuck.nonce)
        self.journal.add(again)
        log.info("transaction %s is stuck: %s offers more", stuck.hash, again.hash)
        try:
            self._push(again)
        except RpcRefused as error:
            log.warning("the node refuses the replacement %s: %s", again.hash, error.message)


def _says(error: RpcRefused, words: tuple[str, ...]) -> bool:
    text = error.message.lower()
    return any(word in text for word in words)


def _log_quote(quote: Quote) -> None:
    # A warning, so that it is seen where nobody set up logging: money is about to be spent.
    log.warning("%s", quote)
