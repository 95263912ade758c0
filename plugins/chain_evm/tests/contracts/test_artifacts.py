"""What is deployed is what the sources say, to the byte, and a chain takes it."""

from __future__ import annotations

import hashlib
import json

import pytest
from balance_evm import artifacts
from balance_evm.compile import COMPILER, compile_source
from balance_evm.compile_contracts import CODE_LIMIT, SOURCES, TARGET, compiled

from balance_core.errors import ConfigError, ToolFailed

from .machine import GAS_LIMIT, Machine

PADDING = 33


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_committed_contracts_are_those_of_the_sources_to_the_byte():
    for name, data in compiled().items():
        same = (TARGET / name).read_bytes() == data
        assert same, f"{name}: run python -m balance_evm.compile_contracts"


def test_committed_contracts_name_the_sources_as_they_are():
    """The quick half of the comparison above: it needs no compiler."""
    for name in artifacts.CONTRACTS:
        for source, digest in artifacts.artifact(name).sources.items():
            if not source.startswith("@"):
                assert hashlib.sha256((SOURCES / source).read_bytes()).hexdigest() == digest, source


@pytest.mark.parametrize("name", artifacts.CONTRACTS)
def test_a_chain_takes_the_code(name):
    found, machine = artifacts.artifact(name), Machine()
    arguments = ["0x" + "12" * 20] if name == "EzklReusable" else []
    contract = machine.deploy(found, *arguments)
    assert len(found.deployed) <= CODE_LIMIT
    assert machine.gas_used < GAS_LIMIT
    assert len(found.bytecode) <= 2 * CODE_LIMIT
    code = bytes(machine.evm.get_code(contract.address))[:-PADDING]
    assert found.matches(code)
    for place in (0, len(code) // 2, len(code) - 1):
        changed = bytearray(code)
        changed[place] ^= 1
        assert not found.matches(bytes(changed))
    assert not found.matches(code + b"\0")
    assert not found.matches(b"")


def test_what_the_constructor_fills_in_is_left_out_of_the_comparison():
    found, machine = artifacts.artifact("EzklReusable"), Machine()
    codes = []
    for digit in "12":
        contract = machine.deploy(found, "0x" + digit * 40)
        codes.append(bytes(machine.evm.get_code(contract.address))[:-PADDING])
    assert len(set(codes)) == 2
    assert all(map(found.matches, codes))


def test_names_are_known_and_in_order():
    assert list(artifacts.CONTRACTS) == sorted(artifacts.CONTRACTS)
    assert {path.stem for path in TARGET.glob("*.json")} == set(artifacts.CONTRACTS)
    with pytest.raises(ConfigError, match="no contract"):
        artifacts.artifact("../settings")


def test_the_compiler_is_pinned_and_its_lock_names_no_host():
    lock = json.loads((COMPILER / "package-lock.json").read_text())
    for name, entry in lock["packages"].items():
        if name:
            assert entry["integrity"].startswith("sha512-"), name
            assert "resolved" not in entry, name


@pytest.mark.usefixtures("compiler")
def test_a_source_compiles_to_one_code_and_a_bad_one_says_why():
    source = "pragma solidity ^0.8.0; contract C { uint256 public x = 7; }"
    assert compile_source("C", source) == compile_source("C", source)
    with pytest.raises(ToolFailed, match=r"Expected|ParserError"):
        compile_source("C", "contract C {")
    with pytest.raises(ToolFailed, match="no contract D"):
        compile_source("D", source)
    with pytest.raises(ToolFailed, match="only the pinned library"):
        compile_source("C", 'import "/etc/hostname"; contract C {}')
