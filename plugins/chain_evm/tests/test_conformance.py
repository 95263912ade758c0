"""The promises of every chain, kept by the registry on a local node."""

from __future__ import annotations

import pytest
from balance_evm import codec

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
    def pass_time(cls, town, seconds):
        del town
        rpc = NODE["url"].rpc()
        rpc.call("evm_increaseTime", seconds)
        rpc.call("evm_mine")
