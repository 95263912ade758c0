"""What the tests share: a local chain, a registry of one's own on it, and accounts with money."""

from __future__ import annotations

import os

import pytest
from balance_evm.anvil import Anvil
from balance_evm.chain import EvmChain
from balance_evm.deploy import deploy_registry
from balance_evm.settings import EvmSettings
from eth_account import Account

PEOPLE = {
    who: Account.from_key(number.to_bytes(32, "big"))
    for number, who in enumerate(("alice", "bob", "carol", "dave"), start=0x5EED)
}
"""Keys that everybody knows: for a chain that ends with the tests."""


def variable(who):
    return f"BALANCE_TEST_KEY_{who.upper()}"


os.environ.update({variable(who): account.key.hex() for who, account in PEOPLE.items()})


@pytest.fixture(scope="session")
def node():
    """A chain that ends with the tests."""
    with Anvil() as found:
        for account in PEOPLE.values():
            found.fund(account.address)
        yield found


def settings(node, who="alice", **changes):
    values = {"rpc_url": node.url, "key_variable": variable(who), "patience_seconds": 5.0, "wait_seconds": 30.0}
    return EvmSettings(**{**values, **changes})


def deployed(node):
    """Return the address of a new registry."""
    return deploy_registry(EvmChain(settings(node)), anew=True)
