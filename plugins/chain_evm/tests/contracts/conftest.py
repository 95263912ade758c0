"""A registry for each test, and the contracts around it, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest
from balance_evm.compile import FOREIGN_SETTINGS, standard_json

from .office import Office

PROPS = Path(__file__).parent / "Props.sol"


@pytest.fixture(scope="session")
def props():
    """The compiled test contracts: name to interface and creation code."""
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
