"""What the tests share: a local chain, a registry of one's own on it, and accounts with money."""

from __future__ import annotations

import os

import pytest
from balance_evm import codec
from balance_evm.anvil import Anvil
from balance_evm.chain import EvmChain
from balance_evm.deploy import deploy_registry
from balance_evm.settings import EvmSettings
from eth_account import Account

from balance_core import cid
from balance_core.chain import ProofRecord
from balance_core.records import Registration, SetupTrust, Trust

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


ALICE = codec.identity_of(PEOPLE["alice"].address)


def registration(name="digits", provider=ALICE):
    return Registration(
        name=name,
        backend="kit",
        backend_version="1",
        circuit_id="c1" * 32,
        setup_trust=SetupTrust(trust=Trust.TRANSPARENT),
        provider=provider,
    )


def proof(of, number):
    return ProofRecord(
        registration_id=of.registration_id,
        context=f"{number:064x}",
        inputs_digest="a1" * 32,
        statement_digest="b1" * 32,
        bundle=cid.of_bytes(b"bundle %d" % number),
    )


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def own_node(home):
    """A node of the test's own, and a chain with a registry on it."""
    del home
    with Anvil() as node:
        for account in PEOPLE.values():
            node.fund(account.address)
        chain = EvmChain(settings(node))
        deploy_registry(chain)
        yield node, chain


def deployed(node):
    """Return the address of a new registry."""
    return deploy_registry(EvmChain(settings(node)), anew=True)
