"""A registry for each test, and the contracts around it, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest
from balance_evm.compile import FOREIGN_SETTINGS, standard_json

from balance_core.errors import ToolNotFound

from .office import Office

PROPS = Path(__file__).parent / "Props.sol"


@pytest.fixture(scope="session")
def compiler():
    """Node and npm; without them everything but the compiler can be tried (see BALANCE_REQUIRE)."""
    try:
        standard_json({"Nothing.sol": "pragma solidity ^0.8.0;"}, FOREIGN_SETTINGS)
    except ToolNotFound as error:
        pytest.skip(f"evm: {error.message}; {error.hint}")


@pytest.fixture(scope="session")
def props(compiler):
    """The compiled test contracts: name to interface and creation code."""
    del compiler
    answer = standard_json({"Props.sol": PROPS.read_text()}, FOREIGN_SETTINGS)
    return {
        name: (found["abi"], bytes.fromhex(found["evm"]["bytecode"]["object"]))
        for name, found in answer["contracts"]["Props.sol"].items()
    }


@pytest.fixture
def office():
    return Office()


@pytest.fixture
def oracle(office, props):
    """The address of a verifier that does what a proof's first byte says."""
    return office.machine.create(props["Oracle"][1])
