"""What a node tells of the registry's log: nothing is missing or counts twice, and slow nodes are waited for."""

from __future__ import annotations

import pytest
from balance_evm.chain import EvmChain
from balance_evm.rpc import Rpc, RpcRefused

from balance_core.errors import ChainError

from .chain_town import registration, settings


@pytest.mark.parametrize("hidden", [0, 1, -1], ids=["oldest", "middle", "newest"])
def test_events_that_a_node_leaves_out_are_noticed(own_node, hidden, monkeypatch, tmp_path):
    node, chain = own_node
    for number in range(3):
        chain.register(registration(f"m{number}"), key=str(number))
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "other"))
    honest = Rpc.call

    def leaving_out(self, method, *params, **options):
        found = honest(self, method, *params, **options)
        if method == "eth_getLogs" and found:
            del found[hidden]
        return found

    monkeypatch.setattr(Rpc, "call", leaving_out)
    monkeypatch.setattr("balance_evm.chain._PAUSES", (0.0,))
    reader, sharing = (EvmChain(settings(node, registry=chain.network.registry)) for _ in range(2))
    for each in (reader, sharing):
        with pytest.raises(ChainError, match="left out events"):
            list(each.events())
    monkeypatch.setattr(Rpc, "call", honest)
    assert len(list(reader.events())) == len(list(sharing.events())) == 3


@pytest.mark.parametrize("late", ["no events yet", "refused", "no count yet"])
def test_a_node_that_knows_a_block_before_its_events_is_asked_again(own_node, late, monkeypatch, tmp_path):
    node, chain = own_node
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "other"))
    reader = EvmChain(settings(node, registry=chain.network.registry))
    assert list(reader.events()) == []
    for number in range(3):
        chain.register(registration(f"m{number}"), key=str(number))
    honest, asked, counted = Rpc.call, [], []

    def behind(self, method, *params, **options):
        found = honest(self, method, *params, **options)
        if method == "eth_getLogs":
            asked.append(method)
            if len(asked) == 1 and late == "refused":
                raise RpcRefused("block height is 2 but requested was 3")
            if len(asked) == 1 and late == "no events yet":
                return found[:-1]
        if method == "eth_call" and late == "no count yet" and not counted:
            counted.append(method)
            raise RpcRefused("header not found")
        return found

    monkeypatch.setattr(Rpc, "call", behind)
    monkeypatch.setattr("balance_evm.mirror._SPAN", 1)
    assert len(list(reader.events())) == 3
    # What readers were told of is on record, so that they also learn of it when the chain takes it back.
    assert sum(entry.told is not None for entry in reader.mirror.behind(0)) == 3


def test_events_that_a_node_delivers_twice_count_once(own_node, monkeypatch, tmp_path):
    node, chain = own_node
    for number in range(3):
        chain.register(registration(f"m{number}"), key=str(number))
    monkeypatch.setenv("BALANCE_HOME", str(tmp_path / "other"))
    honest = Rpc.call

    def twice(self, method, *params, **options):
        found = honest(self, method, *params, **options)
        return found + found[::-1] if method == "eth_getLogs" else found

    monkeypatch.setattr(Rpc, "call", twice)
    reader = EvmChain(settings(node, registry=chain.network.registry))
    assert len(list(reader.events())) == 3
