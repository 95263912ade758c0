"""A chain inside this process, for trying out what transactions would do and cost: nothing is sent anywhere.

It speaks the JSON-RPC that the rest of this plugin speaks, on top of pyrevm, which is the EVM that nodes use, too.
Gas is what its rules take, to the unit; they are those of Cancun, and newer ones ask more for a few operations.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from balance_core.errors import ToolNotFound
from balance_evm.accounts import read_transaction
from balance_evm.rpc import Rpc, RpcRefused, quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrevm import EVM

CHAIN_ID = 1337
MAX_GAS = 16_777_216
"""Most gas of one transaction on main networks (EIP-7825)."""
_CALL_GAS = 30_000_000
_OUTPUT = re.compile(r"output: (?:Some\()?(0x[0-9a-f]*)")
_BASE_FEE = 10**9
_NOBODY = "0x" + 40 * "0"
_TRIES = 64
_READER_MAKER = "0x" + 40 * "f"
_CHANGED = re.compile(r"StorageChange \{ address: (0x[0-9a-f]{40}), key: (\d+), had_value: Some")
_READER = bytes.fromhex("6a5f35803b805f5f843c5ff35f52600b6015f3")
"""Makes a contract that answers with the code of the address that it is called with: pyrevm itself pads code."""


class DryRun(Rpc):
    """A fresh chain in memory, gone with this object."""

    def __init__(self) -> None:
        super().__init__("http://dry-run", timeout=1, patience=0)
        self._world = World()
        self._blocks: list[dict[str, Any]] = []
        self._logs: list[dict[str, Any]] = []
        self._transactions: dict[str, dict[str, Any]] = {}
        self._receipts: dict[str, dict[str, Any]] = {}
        self._seal()
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(CHAIN_ID),
            "eth_blockNumber": lambda: hex(len(self._blocks) - 1),
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._get_logs,
            "eth_getCode": lambda address, _block: "0x" + self._world.account(address).code.hex(),
            "eth_getBalance": lambda address, _block: hex(self._world.account(address).balance),
            "eth_getTransactionCount": lambda address, _block: hex(self._world.account(address).nonce),
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_call": lambda call, _block: "0x" + self._run(call, _CALL_GAS).output.hex(),
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionByHash": self._transactions.get,
            "eth_getTransactionReceipt": self._receipts.get,
            "anvil_setBalance": self._set_balance,
        }

    @property
    def name(self) -> str:
        """What messages call it."""
        return "dry-run"

    def call(self, method: str, *params: Any, patience: float | None = None) -> Any:
        """Return what a node would."""
        del patience
        found = self._methods.get(method)
        if found is None:
            raise RpcRefused(f"{method}: the dry run does not know this call", code=-32601)
        return found(*params)

    def _seal(self) -> dict[str, Any]:
        """Add a block behind all others."""
        block = {
            "number": hex(len(self._blocks)),
            "hash": "0x" + os.urandom(32).hex(),
            "timestamp": hex(max(int(time.time()), self._time() + 1)),
            "baseFeePerGas": hex(_BASE_FEE),
        }
        self._blocks.append(block)
        return block

    def _time(self) -> int:
        return quantity(self._blocks[-1]["timestamp"]) if self._blocks else 0

    def _block(self, which: str, _full: bool = False) -> dict[str, Any] | None:
        number = len(self._blocks) - 1 if which in {"latest", "pending"} else quantity(which)
        return self._blocks[number] if number < len(self._blocks) else None

    def _block_by_hash(self, name: str, _full: bool = False) -> dict[str, Any] | None:
        return next((block for block in self._blocks if block["hash"] == name), None)

    def _get_logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        first, last = quantity(wanted["fromBlock"]), quantity(wanted["toBlock"])
        address = str(wanted["address"]).lower()
        return [
            log for log in self._logs if log["address"] == address and first <= quantity(log["blockNumber"]) <= last
        ]

    def _set_balance(self, address: str, amount: str) -> None:
        found = self._world.account(address)
        self._world.accounts[address.lower()] = replace(found, balance=quantity(amount))

    def _run(self, call: dict[str, Any], gas: int) -> Outcome:
        """Run a call on the state of now, and leave that as it is; raises RpcRefused as nodes do."""
        return self._world.run(call, gas, number=len(self._blocks), time=self._time() + 1)

    def _estimate(self, call: dict[str, Any]) -> str:
        gas = self._run(call, _CALL_GAS).gas
        for _ in range(_TRIES):
            try:
                self._run(call, gas)
            except RpcRefused:
                # A call inside gets 63 of 64 parts of what is left, so that more must be there than is used.
                gas += gas // 64 + 1000
            else:
                break
        return hex(gas)

    def _send(self, raw: str) -> str:
        from eth_utils.crypto import keccak

        data = bytes.fromhex(raw.removeprefix("0x"))
        found, sender = read_transaction(data)
        name = "0x" + bytes(keccak(data)).hex()
        if name in self._receipts:
            raise RpcRefused("already known")
        account = self._world.account(sender)
        if found["nonce"] != account.nonce:
            raise RpcRefused("nonce too low" if found["nonce"] < account.nonce else "nonce too high")
        if found["gas"] > MAX_GAS:
            raise RpcRefused("transaction gas limit exceeds the cap")
        to = found["to"]
        call = {"from": sender, "data": found["data"], "value": found["value"], "to": to}
        outcome = Outcome(b"", int(found["gas"]), [], {}, {})
        status = "0x0"
        try:
            outcome = self._run(call, int(found["gas"]))
            status = "0x1"
        except RpcRefused:
            pass  # it is mined all the same, and has failed
        self._world.take(outcome)
        self._world.accounts[sender] = replace(self._world.account(sender), nonce=found["nonce"] + 1)
        block = self._seal()
        self._keep(name, block, outcome.logs)
        self._transactions[name] = {"hash": name, "blockHash": block["hash"], "from": sender}
        self._receipts[name] = {
            "transactionHash": name,
            "blockHash": block["hash"],
            "blockNumber": block["number"],
            "status": status,
            "gasUsed": hex(outcome.gas),
            "contractAddress": "0x" + outcome.output.hex() if to is None and outcome.output else None,
        }
        return name

    def _keep(self, name: str, block: dict[str, Any], logs: list[Any]) -> None:
        for position, log in enumerate(logs):
            topics, data = log.data
            self._logs.append(
                {
                    "address": str(log.address).lower(),
                    "topics": ["0x" + _hex(topic) for topic in (log.topics or topics)],
                    "data": "0x" + _hex(data),
                    "blockHash": block["hash"],
                    "blockNumber": block["number"],
                    "blockTimestamp": block["timestamp"],
                    "transactionHash": name,
                    "logIndex": hex(position),
                }
            )


@dataclass(frozen=True)
class Held:
    """What an account has."""

    balance: int = 0
    nonce: int = 0
    code: bytes = b""


@dataclass(frozen=True)
class Outcome:
    """What a call answered and took, and what it changed."""

    output: bytes
    gas: int
    logs: list[Any]
    accounts: dict[str, Held]
    slots: dict[tuple[str, int], int]


class World:
    """All accounts and their storage.

    Every call runs on an EVM of its own, which is given all of it: one that goes on would take what an earlier
    transaction touched for cheap (EIP-2929), and tell less gas than a chain asks for.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Held] = {}
        self.slots: dict[tuple[str, int], int] = {}

    def account(self, address: str) -> Held:
        """Return what an account has."""
        return self.accounts.get(address.lower(), Held())

    def take(self, outcome: Outcome) -> None:
        """Make a call's changes last."""
        self.accounts |= outcome.accounts
        self.slots |= outcome.slots

    def run(self, call: dict[str, Any], gas: int, *, number: int, time: int) -> Outcome:
        """Run a call; raises RpcRefused where it fails."""
        evm = self._evm(number, time)
        sender = str(call.get("from") or _NOBODY)
        data, value = bytes.fromhex(str(call["data"]).removeprefix("0x")), quantity(call.get("value") or 0)
        try:
            if call.get("to"):
                output = bytes(evm.message_call(sender, call["to"], calldata=data, value=value, gas=gas))
            else:
                output = bytes.fromhex(evm.deploy(sender, data, value=value, gas=gas).removeprefix("0x"))
        except RuntimeError as error:
            raise _refusal(str(error)) from None
        result = evm.result
        if result is None:
            raise RpcRefused("execution failed")
        return Outcome(output, int(result.gas_used), list(result.logs), *self._changes(evm))

    def _evm(self, number: int, time: int) -> EVM:
        try:
            from pyrevm import EVM, AccountInfo, BlockEnv, CfgEnv, Env
        except ImportError as error:
            raise ToolNotFound(
                "the in-process EVM is not installed", hint="pip install 'balance-evm[dry-run]'"
            ) from error
        block = BlockEnv(number=number, timestamp=time, gas_limit=_CALL_GAS)
        evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN_ID), block=block))
        for address, held in self.accounts.items():
            info: Any = AccountInfo  # its stub leaves the balance out
            evm.insert_account_info(address, info(balance=held.balance, nonce=held.nonce, code=held.code))
        for (address, key), value in self.slots.items():
            # pyrevm reads what it replaces: taken back, that reading leaves neither account nor slot warm.
            before = evm.snapshot()
            evm.insert_account_storage(address, key, value)
            evm.revert(before)
        return evm

    @staticmethod
    def _changes(evm: EVM) -> tuple[dict[str, Held], dict[tuple[str, int], int]]:
        """Return what a call changed; pyrevm tells of storage only in its journal's text."""
        text = evm.journal_str
        journal = text[text.rindex("journal: [") :]
        slots = {(address, int(key)) for address, key in _CHANGED.findall(journal)}
        values = {(address, key): int(evm.storage(address, key)) for address, key in slots}
        held = {address.lower(): info for address, info in evm.journal_state.items()}
        reader = evm.deploy(_READER_MAKER, _READER)
        accounts = {}
        for address, info in held.items():
            asked = bytes.fromhex(address.removeprefix("0x").rjust(64, "0"))
            code = bytes(evm.message_call(_READER_MAKER, reader, calldata=asked, gas=_CALL_GAS))
            accounts[address] = Held(int(info.balance), int(info.nonce), code)
        return accounts, values


def _refusal(text: str) -> RpcRefused:
    """Return the error that a node would answer for one of pyrevm's."""
    found = _OUTPUT.search(text)
    if text.startswith("Revert") and found is not None:
        return RpcRefused("execution reverted", code=3, data=found[1])
    return RpcRefused(f"execution failed: {text[:200]}", code=-32000)


def _hex(value: Any) -> str:
    return value.removeprefix("0x") if isinstance(value, str) else bytes(value).hex()
