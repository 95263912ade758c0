"""Writing a record once: whatever the number of calls, processes, crashes and nodes that forget."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from balance_core.chain_state import Event, decide
from balance_core.errors import ChainError, ConfigError, Rejected
from balance_core.records import Registration
from balance_evm import codec, interfaces
from balance_evm.accounts import open_account, throwaway
from balance_evm.journal import Call, Journal
from balance_evm.reverts import explained, revert_data
from balance_evm.rpc import RpcRefused
from balance_evm.sender import Sender, Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from balance_core.chain import ChainRecord, ChainRef
    from balance_evm.chain import EvmChain
    from balance_evm.chronicle import Chronicle
    from balance_evm.journal import Sent

_CALL_GAS = 30_000_000
_SIGNATURE_BYTES = 64
_TRIAL_MONEY = 10**24


class Spent(NamedTuple):
    """What a mined transaction took."""

    what: str
    gas: int
    calldata: int
    """Bytes."""


class Writer:
    """One account that writes to one registry."""

    def __init__(self, chain: EvmChain) -> None:
        self._chain = chain
        network = chain.network
        if chain.settings.dry_run:
            self.account = throwaway()
            network.rpc.call("anvil_setBalance", self.account.address, hex(_TRIAL_MONEY))
        else:
            self.account = open_account(chain.settings)
        self.journal = Journal(network.journal_path(self.account.address))
        self.spent: list[Spent] = []
        """What each transaction of this instance took, in their order."""
        self.sender = Sender(network.rpc, self.account, self.journal, chain.settings, network.chain_id)

    @cached_property
    def _registry(self) -> str:
        return self._chain.network.registry

    def write(
        self,
        record: ChainRecord,
        key: str,
        build: Callable[[Chronicle], Transaction],
        *,
        names: str | None = None,
        judged_here: bool = True,
        event: Event | None = None,
    ) -> ChainRef:
        """Put a record on the chain, unless it is there, and return its entry.

        `names` is the key that the record says it is by: the account is bound to it first, if it is the user's own.
        `judged_here` asks the reducer before anything is sent; what the chain's clock decides is left to the chain.
        `event` is what readers are told then, where that is not the record by this account.
        """
        if not key or len(key) > 256 or not key.isprintable():
            raise ConfigError(
                "an idempotency key has 1 to 256 printable characters", hint="use a digest of the request"
            )
        read = self._chain.chronicle()
        if names is not None:
            read = self._bound(read, names)
        event = event or Event(record, read.identity(self.account.address))
        name = event.event_id.hex()
        earlier = self._earlier(key, name, record)
        if earlier is not None:
            return earlier
        found = self._present(read, event, judged_here=judged_here)
        if found is None:
            found = self._send(key, name, build(read))
        self.journal.keep_call(self._registry, key, Call(name, None, found.entry))
        return found

    def _earlier(self, key: str, name: str, record: ChainRecord) -> ChainRef | None:
        """Return what this idempotency key gave before; raises Rejected where it stood for another record."""
        known = self.journal.call(self._registry, key)
        if known is None:
            return None
        if known.event != name:
            raise Rejected(
                f"the idempotency key {key!r} was used for another record",
                hint="use a new key for a new record",
            )
        if known.nonce is not None:
            receipt = self.sender.receipt(known.nonce)
            if receipt is None and known.nonce >= self.sender.mined():
                receipt = self.sender.wait(known.nonce, f"the {record.kind}")
            del receipt  # whether it took effect, the log says
        told = self._chain.chronicle().told.get(name)
        return None if told is None else told.ref

    def _present(self, read: Chronicle, event: Event, *, judged_here: bool) -> ChainRef | None:
        """Return the entry of a record that is on the chain; raises Rejected where the rules refuse it."""
        told = read.told.get(event.event_id.hex())
        if told is None:
            if judged_here:
                decide(read.replay.state, event)
            return None
        if isinstance(event.record, Registration):
            decide(read.replay.state, event)  # refuses one that was revoked since
        return told.ref

    def _send(self, key: str, name: str, transaction: Transaction) -> ChainRef:
        def keep(sent: Sent) -> None:
            self.journal.keep_call(self._registry, key, Call(name, sent.nonce, None))

        try:
            nonce = self._sent(transaction, keep).nonce
            mined = self._mined(nonce, transaction)
        except Rejected:
            told = self._chain.chronicle().told.get(name)
            if told is None:
                raise
            return told.ref  # somebody else wrote the same meanwhile
        while True:
            told = self._chain.chronicle().told.get(name)
            if told is not None:
                return told.ref
            again = self.sender.receipt(nonce)
            if again is not None and again["blockHash"] == mined["blockHash"]:
                raise ChainError(
                    f"{transaction.what} is mined, and readers pass it over",
                    hint="the account must stand for whom the record names: balance evm show",
                )
            # The block that held it is gone, with a node that crashed or a chain that went back.
            mined = self._mined(nonce, transaction)

    def perform(self, transaction: Transaction) -> dict[str, Any]:
        """Send a transaction and return its receipt; raises the typed error that a revert stands for."""
        return self._mined(self._sent(transaction).nonce, transaction)

    def _sent(self, transaction: Transaction, kept: Callable[[Sent], None] | None = None) -> Sent:
        try:
            return self.sender.send(transaction, kept=kept)
        except RpcRefused as error:
            raise self.refusal(error, transaction.what) from error

    def _mined(self, nonce: int, transaction: Transaction) -> dict[str, Any]:
        receipt = self.sender.wait(nonce, transaction.what)
        self.spent.append(Spent(transaction.what, int(str(receipt["gasUsed"]), 16), len(transaction.data)))
        if int(str(receipt["status"]), 16) != 1:
            raise self._why(transaction, receipt)
        return receipt

    def _why(self, transaction: Transaction, receipt: dict[str, Any]) -> Exception:
        """Return why a mined transaction failed, by simulating it on what is there now."""
        try:
            call = {**transaction.call(self.account.address), "gas": hex(_CALL_GAS)}
            self._chain.network.rpc.call("eth_call", call, receipt["blockNumber"])
        except RpcRefused as error:
            return self.refusal(error, transaction.what)
        return ChainError(
            f"{transaction.what} failed in transaction {receipt['transactionHash']}, and would not now",
            hint="run it again",
        )

    def refusal(self, error: RpcRefused, what: str) -> Exception:
        """Return the typed error of a call that the node or the contract refused."""
        from balance_evm import fees

        data = revert_data(error)
        if data is not None:
            return explained(data, interfaces.registry(), interfaces.verifier(), what)
        text = error.message.lower()
        if "insufficient funds" in text or "enough funds" in text:
            return fees.out_of_funds(self.account.address, 0, what)
        if "gas" in text and ("exceeds" in text or "limit" in text or "out of" in text or "required" in text):
            return ChainError(
                f"{what} takes more gas than one transaction may use: {error.message}",
                hint="a circuit with fewer columns and public values takes less",
            )
        return ChainError(f"the node refuses {what}: {error.message}")

    def _bound(self, read: Chronicle, names: str) -> Chronicle:
        """Bind the account to the key that the record names, if that is the user's and nothing is bound yet."""
        address = self.account.address
        if read.identity(address) == names or codec.address_in(names) is not None or address in read.bound:
            return read
        if self._chain.settings.dry_run:
            # In the provider's place, whoever that is: nothing is signed, and nobody is told.
            self._send_binding(names, bytes(_SIGNATURE_BYTES))
        elif self._chain.signing_key().public == names:
            self.bind()
        else:
            return read
        return self._chain.chronicle()

    def bind(self) -> dict[str, Any]:
        """Say on the chain that this account writes for the user's key, with that key's signature."""
        key, network = self._chain.signing_key(), self._chain.network
        signature = codec.sign_binding(key, self.account.address, network.chain_id, network.registry)
        return self._send_binding(key.public, signature)

    def _send_binding(self, public: str, signature: bytes) -> dict[str, Any]:
        data = interfaces.registry().call("bindKey", bytes.fromhex(public), signature)
        return self.perform(Transaction(f"binding the account to the key {public[:16]}", self._registry, data))
