"""A chain inside this process, for trying out what transactions would do and cost: nothing is sent anywhere.

It speaks the JSON-RPC that the rest of this plugin speaks, on top of pyrevm, which is the EVM that nodes use, too. Gas
is what its rules (those of Cancun or later, as pyrevm's release has them) take, to the unit.
"""

from __future__ import annotations

import os
import re
import time
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
_TRIES = 64


class DryRun(Rpc):
    """A fresh chain in memory, gone with this object."""

    def __init__(self) -> None:
        super().__init__("http://dry-run", timeout=1, patience=0)
        self._evm = _make()
        self._nonces: dict[str, int] = {}
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
            "eth_getCode": lambda address, _block: "0x" + bytes(self._evm.get_code(address) or b"").hex(),
            "eth_getBalance": lambda address, _block: hex(self._evm.get_balance(address)),
            "eth_getTransactionCount": lambda address, _block: hex(self._nonces.get(address.lower(), 0)),
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_call": lambda call, _block: "0x" + self._try(call)[0].hex(),
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": self._send,
            "eth_getTransactionByHash": self._transactions.get,
            "eth_getTransactionReceipt": self._receipts.get,
            "anvil_setBalance": lambda address, amount: self._evm.set_balance(address, quantity(amount)),
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

    def _block(self, which: str, _full: bool = False) -> dict[str, Any] | None:  # noqa: FBT001, FBT002 - as nodes have it
        number = len(self._blocks) - 1 if which in {"latest", "pending"} else quantity(which)
        return self._blocks[number] if number < len(self._blocks) else None

    def _block_by_hash(self, name: str, _full: bool = False) -> dict[str, Any] | None:  # noqa: FBT001, FBT002
        return next((block for block in self._blocks if block["hash"] == name), None)

    def _get_logs(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        first, last = quantity(wanted["fromBlock"]), quantity(wanted["toBlock"])
        address = str(wanted["address"]).lower()
        return [
            log for log in self._logs if log["address"] == address and first <= quantity(log["blockNumber"]) <= last
        ]

    def _try(self, call: dict[str, Any], gas: int = _CALL_GAS) -> tuple[bytes, int]:
        """Run a call and take it back; returns its output and its gas, raises RpcRefused as nodes do."""
        before = self._evm.snapshot()
        try:
            return self._run(call, gas)
        finally:
            self._evm.revert(before)

    def _run(self, call: dict[str, Any], gas: int) -> tuple[bytes, int]:
        from pyrevm import BlockEnv

        sender = str(call.get("from") or "0x" + 40 * "0")
        data, value = bytes.fromhex(str(call["data"]).removeprefix("0x")), quantity(call.get("value") or 0)
        self._evm.set_block_env(BlockEnv(number=len(self._blocks), timestamp=self._time() + 1, gas_limit=_CALL_GAS))
        self._evm.reset_transient_storage()
        try:
            if call.get("to"):
                output = bytes(self._evm.message_call(sender, call["to"], calldata=data, value=value, gas=gas))
            else:
                output = bytes.fromhex(self._evm.deploy(sender, data, value=value, gas=gas).removeprefix("0x"))
        except RuntimeError as error:
            raise _refusal(str(error)) from None
        result = self._evm.result
        return output, 0 if result is None else int(result.gas_used)

    def _estimate(self, call: dict[str, Any]) -> str:
        gas = self._try(call)[1]
        for _ in range(_TRIES):
            try:
                self._try(call, gas)
            except RpcRefused:
                # A call inside gets 63 of 64 parts of what is left, so that more must be there than is used.
                gas += gas // 64 + 1000
            else:
                break
        return hex(gas)

    def _send(self, raw: str) -> str:
        from eth_utils import keccak

        data = bytes.fromhex(raw.removeprefix("0x"))
        found, sender = read_transaction(data)
        name = "0x" + bytes(keccak(data)).hex()
        if name in self._receipts:
            raise RpcRefused("already known")
        if found["nonce"] != self._nonces.get(sender, 0):
            raise RpcRefused("nonce too low")
        if found["gas"] > MAX_GAS:
            raise RpcRefused("transaction gas limit exceeds the cap")
        to = found["to"]
        call = {"from": sender, "data": found["data"], "value": found["value"], "to": to}
        self._nonces[sender] = found["nonce"] + 1
        output, used, status = b"", int(found["gas"]), "0x0"
        logs: list[Any] = []
        try:
            output, used = self._run(call, int(found["gas"]))
            status, logs = "0x1", list(self._evm.result.logs) if self._evm.result is not None else []
        except RpcRefused:
            pass
        block = self._seal()
        self._keep(name, block, logs)
        self._transactions[name] = {"hash": name, "blockHash": block["hash"], "from": sender}
        self._receipts[name] = {
            "transactionHash": name,
            "blockHash": block["hash"],
            "blockNumber": block["number"],
            "status": status,
            "gasUsed": hex(used),
            "contractAddress": "0x" + output.hex() if to is None and output else None,
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


def _make() -> EVM:
    try:
        from pyrevm import EVM, BlockEnv, CfgEnv, Env
    except ImportError as error:
        raise ToolNotFound(
            "the in-process EVM is not installed", hint="pip install 'balance-evm[dry-run]'"
        ) from error
    cfg = CfgEnv(chain_id=CHAIN_ID)
    return EVM(env=Env(cfg=cfg, block=BlockEnv(number=1, timestamp=int(time.time()), gas_limit=_CALL_GAS)))


def _refusal(text: str) -> RpcRefused:
    """Return the error that a node would answer for one of pyrevm's."""
    found = _OUTPUT.search(text)
    if text.startswith("Revert") and found is not None:
        return RpcRefused("execution reverted", code=3, data=found[1])
    return RpcRefused(f"execution failed: {text[:200]}", code=-32000)


def _hex(value: Any) -> str:
    return value.removeprefix("0x") if isinstance(value, str) else bytes(value).hex()
