"""The promises of every chain, kept by the registry on a local node."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from balance_evm import codec, interfaces, verifiers
from balance_evm.compile import compile_source
from balance_evm.sender import Transaction

from balance_core import cid
from balance_core.testing.chain import ChainConformance
from balance_core.testing.claims import ClaimsConformance

from .chain_town import PEOPLE, deployed, variable

NODE = {}


@pytest.fixture(autouse=True, scope="module")
def _node(node):
    NODE["url"] = node
    yield
    NODE.clear()


class TestEvm(ClaimsConformance):
    """Accounts that stand for themselves."""

    chain = "evm"
    window = 100

    @classmethod
    def place_settings(cls, place, who):
        registry = place / "registry"
        if not registry.exists():
            registry.write_text(deployed(NODE["url"]))
        return {
            "rpc_url": NODE["url"].url,
            "registry": registry.read_text(),
            "key_variable": variable(who),
            "key": who,
            "patience_seconds": 5.0,
        }

    @classmethod
    def public_key(cls, place, who):
        del place
        return codec.identity_of(PEOPLE[who].address)

    @classmethod
    def terms(cls, town):
        del town
        return {}

    @classmethod
    def make_ready(cls, town, registration):
        """Bind the model to a verifier that believes what it is told: it is claims that are tried here."""
        chain = town.chains["alice"]
        model = chain.model(chain.chronicle(), registration.registration_id)
        oracle = verifiers.create(chain, "the tests' verifier", oracle_code())
        data = interfaces.registry().call("bindVerifier", model.name, oracle, bytes(32), cid.of_bytes(b"key"))
        chain.writer.perform(Transaction("binding", chain.network.registry, data))

    @classmethod
    def prove(cls, town, record):
        chain = town.chains["alice"]
        model = chain.model(chain.chronicle(), record.registration_id)
        said = codec.said_struct(record)
        evidence = (b"", b"\x01", [int.from_bytes(digest, "big") for digest in said])
        data = interfaces.registry().call("verify", model.name, said, record.bundle, evidence)
        chain.writer.perform(Transaction("verifying", chain.network.registry, data))

    @classmethod
    def pass_time(cls, town, seconds):
        del town
        rpc = NODE["url"].rpc()
        rpc.call("evm_increaseTime", seconds)
        rpc.call("evm_mine")


@cache
def oracle_code():
    props = Path(__file__).parent / "contracts" / "Props.sol"
    return compile_source("Oracle", props.read_text()).creation


class TestEvmWithKeys(ChainConformance):
    """Accounts that write for the users' own signing keys, which registrations and bundles name."""

    chain = "evm"
    place_settings = TestEvm.place_settings
