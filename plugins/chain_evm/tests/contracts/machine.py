"""The contracts in an EVM inside this process: calls by name, typed refusals, and the events of the last call."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eth_abi.abi import decode, encode
from eth_utils import keccak
from pyrevm import EVM, BlockEnv, CfgEnv, Env

if TYPE_CHECKING:
    from balance_evm.artifacts import Artifact

CHAIN_ID = 31337
GAS_LIMIT = 16_777_216
"""Most gas of one transaction on main networks (EIP-7825)."""
START = 1_800_000_000
_OUTPUT = re.compile(r"output: (?:Some\()?0x([0-9a-f]*)")


class Reverted(Exception):
    """A call was taken back: the error's name and arguments, or none."""

    def __init__(self, name: str, arguments: dict[str, Any]):
        super().__init__(f"{name}{arguments}")
        self.name, self.arguments = name, arguments


class Halted(Exception):
    """A call ran out of gas, or worse."""


def _type(entry: dict[str, Any]) -> str:
    """Return an ABI entry's type, structs written out."""
    kind = entry["type"]
    if kind.startswith("tuple"):
        return f"({','.join(map(_type, entry['components']))}){kind.removeprefix('tuple')}"
    return kind


def _types(entries: list[dict[str, Any]]) -> list[str]:
    return [_type(entry) for entry in entries]


def _named(entry: dict[str, Any], value: Any) -> Any:
    if not entry["type"].startswith("tuple"):
        return value
    if entry["type"] != "tuple":
        return [_named({**entry, "type": "tuple"}, one) for one in value]
    return {part["name"]: _named(part, one) for part, one in zip(entry["components"], value, strict=True)}


def _read(entries: list[dict[str, Any]], data: bytes) -> dict[str, Any]:
    values = decode(_types(entries), data)
    return {entry["name"]: _named(entry, value) for entry, value in zip(entries, values, strict=True)}


def _ordered(entry: dict[str, Any], value: Any) -> Any:
    """Turn the dicts of a struct into tuples."""
    if isinstance(value, dict):
        return tuple(_ordered(part, value[part["name"]]) for part in entry["components"])
    return value


@dataclass
class Told:
    """One event."""

    name: str
    values: dict[str, Any]


@dataclass
class Machine:
    """A chain of one EVM; `now` is its clock."""

    now: int = START
    evm: Any = None
    errors: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    gas_used: int = 0

    def __post_init__(self):
        self.evm = EVM(env=Env(cfg=CfgEnv(chain_id=CHAIN_ID)), spec_id="CANCUN")
        self.tick(0)

    def tick(self, seconds: int) -> None:
        self.now += seconds
        self.evm.set_block_env(BlockEnv(number=1, timestamp=self.now, gas_limit=2 * GAS_LIMIT))

    def fund(self, account: str, amount: int = 10**24) -> str:
        self.evm.set_balance(account, amount)
        return account

    def deploy(self, artifact: Artifact, *arguments: Any, sender: str = "0x" + "ee" * 20) -> Contract:
        made = next((entry for entry in artifact.abi if entry["type"] == "constructor"), {"inputs": []})
        address = self.create(artifact.bytecode + encode(_types(made["inputs"]), arguments), sender)
        return Contract(self, address, artifact.abi)

    def create(self, code: bytes, sender: str = "0x" + "ee" * 20) -> str:
        self.fund(sender)
        address = self._guarded(lambda: self.evm.deploy(sender, code, gas=GAS_LIMIT))
        self.gas_used = self.evm.result.gas_used
        return address

    def call(
        self, sender: str, to: str, data: bytes, value: int = 0, gas: int = GAS_LIMIT, *, view: bool = False
    ) -> bytes:
        self.evm.reset_transient_storage()
        output = self._guarded(
            lambda: self.evm.message_call(sender, to, calldata=data, value=value, gas=gas, is_static=view)
        )
        self.gas_used = self.evm.result.gas_used
        return bytes(output)

    def _guarded(self, act):
        try:
            return act()
        except RuntimeError as error:
            found = _OUTPUT.search(str(error))
            if not str(error).startswith("Revert") or found is None:
                raise Halted(str(error)[:200]) from None
            raise self.refusal(bytes.fromhex(found[1])) from None

    def refusal(self, output: bytes) -> Reverted:
        known = self.errors.get(output[:4])
        if known is None:
            return Reverted("0x" + output.hex(), {})
        return Reverted(known["name"], _read(known["inputs"], output[4:]))


class Contract:
    """A deployed contract: `contract.send(sender, "name", ...)` changes it, `contract.get("name", ...)` asks it."""

    def __init__(self, machine: Machine, address: str, abi: list[dict[str, Any]]):
        self.machine, self.address = machine, address
        self.functions = {entry["name"]: entry for entry in abi if entry["type"] == "function"}
        self.events = {_selector(entry): entry for entry in abi if entry["type"] == "event"}
        machine.errors.update({_selector(entry)[:4]: entry for entry in abi if entry["type"] == "error"})

    def data(self, name: str, *arguments: Any) -> bytes:
        entry = self.functions[name]
        values = [_ordered(part, value) for part, value in zip(entry["inputs"], arguments, strict=True)]
        return _selector(entry)[:4] + encode(_types(entry["inputs"]), values)

    def send(self, sender: str, name: str, *arguments: Any, value: int = 0, gas: int = GAS_LIMIT) -> list[Told]:
        self.machine.call(sender, self.address, self.data(name, *arguments), value, gas)
        return [
            self._told(log) for log in self.machine.evm.result.logs if log.address.lower() == self.address.lower()
        ]

    def get(self, name: str, *arguments: Any, sender: str = "0x" + "99" * 20) -> Any:
        entry = self.functions[name]
        output = self.machine.call(sender, self.address, self.data(name, *arguments), gas=2**62, view=True)
        values = decode(_types(entry["outputs"]), output)
        named = [_named(part, value) for part, value in zip(entry["outputs"], values, strict=True)]
        return named[0] if len(named) == 1 else named

    def _told(self, log: Any) -> Told:
        topics, data = log.data
        entry = self.events[bytes(topics[0])]
        indexed = [part for part in entry["inputs"] if part["indexed"]]
        rest = [part for part in entry["inputs"] if not part["indexed"]]
        values = _read(rest, bytes(data))
        for part, topic in zip(indexed, topics[1:], strict=True):
            values[part["name"]] = decode([part["type"]], bytes(topic))[0]
        return Told(entry["name"], values)


def _selector(entry: dict[str, Any]) -> bytes:
    return keccak(text=f"{entry['name']}({','.join(_types(entry['inputs']))})")
