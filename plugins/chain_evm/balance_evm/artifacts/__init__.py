"""The plugin's contracts, compiled: what is deployed, how it is called, and what it was made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from balance_core.errors import ConfigError

CONTRACTS = ("BalanceRegistry", "EzklDedicated", "EzklReusable")
"""What is deployed; in alphabetical order."""


@dataclass(frozen=True)
class Artifact:
    """One contract as its compiler left it."""

    name: str
    abi: list[dict[str, Any]]
    bytecode: bytes
    """Creation code, without constructor arguments."""
    deployed: bytes
    """What stands on the chain then, with zeros where `immutables` are."""
    immutables: tuple[tuple[int, int], ...]
    """Start and length of each place of the deployed code that the constructor fills in."""
    compiler: str
    settings: dict[str, Any]
    sources: dict[str, str]
    """The SHA-256 of every file that it was made from."""

    def matches(self, code: bytes) -> bool:
        """Say whether code on a chain is that of this contract, whatever its constructor filled in."""
        if len(code) != len(self.deployed):
            return False
        blank = bytearray(code)
        for start, length in self.immutables:
            blank[start : start + length] = bytes(length)
        return bytes(blank) == self.deployed


@cache
def artifact(name: str) -> Artifact:
    """Return a compiled contract; raises ConfigError for a name that is not one of `CONTRACTS`."""
    if name not in CONTRACTS:
        raise ConfigError(f"there is no contract {name!r}", hint=f"contracts: {', '.join(CONTRACTS)}")
    return from_json(name, (resources.files(__name__) / f"{name}.json").read_bytes())


def from_json(name: str, data: bytes) -> Artifact:
    """Read a compiled contract from the form that it is committed in."""
    found = json.loads(data)
    return Artifact(
        name=name,
        abi=found["abi"],
        bytecode=bytes.fromhex(found["bytecode"]),
        deployed=bytes.fromhex(found["deployed"]),
        immutables=tuple((start, length) for start, length in found["immutables"]),
        compiler=found["compiler"],
        settings=found["settings"],
        sources=found["sources"],
    )
